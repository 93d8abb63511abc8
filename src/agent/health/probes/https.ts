/**
 * HTTPS check: the HTTP check inside TLS. Without a CA any certificate will do, as it is the connection that is checked; with one the
 * certificate must be signed by it, and be for the host where the check has one. Certificates are not made for addresses of real servers.
 */
import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';
import { destinationOf, type CheckTarget, type HealthCheck } from '../check.ts';
import { printable, type Outcome } from '../outcome.ts';
import { GIVEN_UP, MAX_ANSWER, type Upgrade } from './conversation.ts';
import { httpRequest, judgeHttp } from './http.ts';

type HttpsCheck = Extract<HealthCheck, { type: 'HTTPS' }>;
type Tls = typeof import('node:tls');

export const HTTPS: Upgrade = { kind: 'upgrade', converse };

async function converse(open: () => Socket, target: CheckTarget, signal: AbortSignal): Promise<Outcome> {
  const https = target.check as HttpsCheck;
  // Two megabytes that nodes without such checks do not need.
  const tls = await import('node:tls');
  if (signal.aborted) return GIVEN_UP;
  let context: SecureContext;
  try {
    context = contextFor(tls, https.ca);
  } catch (error) {
    return { reason: 'NotChecked', message: printable(`the CA cannot be read: ${(error as Error).message}`) };
  }
  const name = serverName(https.host);
  return new Promise((resolve) => {
    const secure: TLSSocket = tls.connect({
      socket: open(), secureContext: context, rejectUnauthorized: https.ca !== '', ALPNProtocols: ['http/1.1'], ...(name === '' ? {} : { servername: name }),
      checkServerIdentity: (_, certificate) => (https.ca === '' || name === '' ? undefined : tls.checkServerIdentity(name, certificate)),
    });
    let heard: Buffer = Buffer.alloc(0);
    let agreed = false;
    const done = (outcome: Outcome): void => {
      signal.removeEventListener('abort', onAbort);
      secure.destroy();
      resolve(outcome);
    };
    const onAbort = (): void => done(GIVEN_UP);
    signal.addEventListener('abort', onAbort);
    secure.on('error', (error: NodeJS.ErrnoException) => done(agreed ? { reason: 'Reset', message: printable(`the connection broke: ${error.code ?? error.message}`) } : tlsFailed(error)));
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

const CLOSED_EARLY: Outcome = { reason: 'Closed', message: 'closed during the TLS handshake' };

function tlsFailed(error: NodeJS.ErrnoException): Outcome {
  // Node says ECONNRESET of an orderly close as well.
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return CLOSED_EARLY;
  return { reason: 'TLSFailed', message: printable(`${error.code ?? 'TLS'}: ${error.message}`) };
}

/** SNI carries names only: no port, no address. */
function serverName(host: string): string {
  const name = host.replace(/:\d+$/, '');
  return /^[0-9.]+$/.test(name) || name.startsWith('[') ? '' : name;
}

/** A context costs milliseconds to make, with all the world's roots in it; one for each CA is enough. */
const contexts = new Map<string, SecureContext>();
const MAX_CONTEXTS = 64;

function contextFor(tls: Tls, ca: string): SecureContext {
  let context = contexts.get(ca);
  if (context === undefined) {
    if (contexts.size >= MAX_CONTEXTS) contexts.clear();
    // createSecureContext() takes text without any certificate for no certificates.
    if (ca !== '') void new X509Certificate(ca);
    context = tls.createSecureContext({ ca: ca === '' ? [] : ca, minVersion: 'TLSv1.2' });
    contexts.set(ca, context);
  }
  return context;
}
