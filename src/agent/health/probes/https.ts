/** HTTPS check: the HTTP check inside TLS, which is tls.ts. */
import type { Socket } from 'node:net';
import { destinationOf, type CheckTarget, type HealthCheck } from '../check.ts';
import { printable, type Outcome } from '../outcome.ts';
import { GIVEN_UP, MAX_ANSWER, type Upgrade } from './conversation.ts';
import { httpRequest, judgeHttp } from './http.ts';
import { CLOSED_EARLY, secured, tlsFailed } from './tls.ts';

type HttpsCheck = Extract<HealthCheck, { type: 'HTTPS' }>;

export const HTTPS: Upgrade = { kind: 'upgrade', converse };

async function converse(open: () => Socket, target: CheckTarget, signal: AbortSignal): Promise<Outcome> {
  const https = target.check as HttpsCheck;
  const secure = await secured(open, { ca: https.ca, host: https.host, protocol: 'http/1.1' }, signal);
  if ('reason' in secure) return secure;
  return new Promise((resolve) => {
    let heard: Buffer = Buffer.alloc(0);
    let agreed = false;
    const done = (outcome: Outcome): void => {
      signal.removeEventListener('abort', onAbort);
      secure.destroy();
      resolve(outcome);
    };
    const onAbort = (): void => done(GIVEN_UP);
    signal.addEventListener('abort', onAbort);
    secure.on('error', (error: NodeJS.ErrnoException) => done(agreed
      ? { reason: 'Reset', message: printable(`the connection broke: ${error.code ?? error.message}`) }
      : tlsFailed(error)));
    secure.on('secureConnect', () => {
      agreed = true;
      secure.write(httpRequest(https, destinationOf(target)));
    });
    secure.on('data', (chunk: Buffer) => {
      heard = heard.length === 0 ? chunk : Buffer.concat([heard, chunk]);
      const ended = heard.length >= MAX_ANSWER;
      const outcome = judgeHttp(heard.subarray(0, MAX_ANSWER), ended, https.statuses);
      if (outcome !== null || ended) done(outcome ?? { reason: 'BadAnswer', message: 'no status in the first 16 KB' });
    });
    const onEnd = (): void => done(agreed ? judgeHttp(heard, true, https.statuses) ?? { reason: 'Closed', message: 'closed before the answer' } : CLOSED_EARLY);
    secure.on('end', onEnd);
    secure.on('close', onEnd);
  });
}
