/**
 * gRPC check: grpc.health.v1.Health/Check over HTTP/2, inside TLS where the check says so, on a connection of its own. The messages are in
 * grpc-message.ts.
 */
import type { Socket } from 'node:net';
import type { ClientHttp2Session } from 'node:http2';
import { destinationOf, type CheckTarget, type HealthCheck } from '../check.ts';
import { printable, type Outcome } from '../outcome.ts';
import { GIVEN_UP, MAX_ANSWER, type Upgrade } from './conversation.ts';
import { decodeHealthResponse, encodeHealthRequest, SERVING_STATUS } from './grpc-message.ts';
import { CLOSED_EARLY, secured, tlsFailed } from './tls.ts';

type GrpcCheck = Extract<HealthCheck, { type: 'GRPC' }>;

export const GRPC: Upgrade = { kind: 'upgrade', converse };

async function converse(open: () => Socket, target: CheckTarget, signal: AbortSignal): Promise<Outcome> {
  // A megabyte that nodes without such checks do not need.
  const http2 = await import('node:http2');
  if (signal.aborted) return GIVEN_UP;
  const check = target.check as GrpcCheck;
  const secure = check.tls ? await secured(open, { ca: '', host: '', protocol: 'h2' }, signal) : null;
  if (secure !== null && 'reason' in secure) return secure;
  const address = destinationOf(target);
  const authority = `${check.tls ? 'https' : 'http'}://${address.includes(':') ? `[${address}]` : address}:${check.port}`;
  return new Promise((resolve) => {
    const session = http2.connect(authority, { createConnection: secure === null ? open : () => secure, maxSessionMemory: 1, settings: { enablePush: false } });
    let finished = false;
    const done = (outcome: Outcome): void => {
      if (finished) return;
      finished = true;
      signal.removeEventListener('abort', onAbort);
      session.destroy();
      resolve(outcome);
    };
    const onAbort = (): void => done(GIVEN_UP);
    signal.addEventListener('abort', onAbort);
    // The session tells of it, too; the socket is heard first.
    let agreed = secure === null;
    secure?.on('secureConnect', () => { agreed = true; }).on('error', (error: NodeJS.ErrnoException) => { if (!agreed) done(tlsFailed(error)); });
    session.on('error', (error: NodeJS.ErrnoException) => done(agreed ? broken(error) : tlsFailed(error)));
    session.on('close', () => done(agreed ? { reason: 'Closed', message: 'closed before the answer' } : CLOSED_EARLY));
    ask(session, check.service, (outcome) => done(agreed || outcome.reason !== 'Closed' && outcome.reason !== 'Reset' ? outcome : CLOSED_EARLY));
  });
}

function ask(session: ClientHttp2Session, service: string, done: (outcome: Outcome) => void): void {
  const stream = session.request({
    ':method': 'POST', ':path': '/grpc.health.v1.Health/Check', 'content-type': 'application/grpc', te: 'trailers', 'user-agent': 'ipvs-operator',
  });
  const found: { status: number | null; type: string; grpc: string } = { status: null, type: '', grpc: '' };
  let body: Buffer = Buffer.alloc(0);
  const grpcStatus = (headers: Record<string, unknown>): void => {
    if (headers['grpc-status'] !== undefined) found.grpc = printable(String(headers['grpc-status']));
  };
  stream.on('response', (headers) => {
    found.status = Number(headers[':status']);
    found.type = String(headers['content-type'] ?? '');
    grpcStatus(headers);
  });
  stream.on('trailers', grpcStatus);
  stream.on('data', (chunk: Buffer) => {
    body = Buffer.concat([body, chunk]);
    if (body.length > MAX_ANSWER) done({ reason: 'BadAnswer', message: 'the answer is longer than 16 KB' });
  });
  stream.on('error', (error: NodeJS.ErrnoException) => done(broken(error)));
  stream.on('end', () => done(judge(found, body)));
  stream.end(encodeHealthRequest(service));
}

function judge({ status, type, grpc }: { status: number | null; type: string; grpc: string }, body: Uint8Array): Outcome {
  if (status === null) return { reason: 'Closed', message: 'closed before the answer' };
  if (status !== 200 || !type.startsWith('application/grpc')) return { reason: 'BadAnswer', message: `the answer is not gRPC: HTTP status ${status}` };
  // 12 is UNIMPLEMENTED: no health service there; 5 is NOT_FOUND: it does not know the service that is asked for.
  if (grpc === '12') return { reason: 'WrongAnswer', message: 'the server has no health service (grpc-status 12)' };
  if (grpc === '5') return { reason: 'WrongAnswer', message: 'the server does not know the service (grpc-status 5)' };
  if (grpc !== '0') return { reason: 'WrongAnswer', message: grpc === '' ? 'no grpc-status' : `grpc-status ${grpc}` };
  const serving = decodeHealthResponse(body);
  if (serving === null) return { reason: 'BadAnswer', message: 'the message is no HealthCheckResponse' };
  return serving === SERVING_STATUS.SERVING ? { reason: 'Answered', message: 'SERVING' } : { reason: 'WrongAnswer', message: nameOf(serving) };
}

function nameOf(serving: number): string {
  return Object.entries(SERVING_STATUS).find(([, value]) => value === serving)?.[0] ?? `status ${serving}`;
}

function broken(error: NodeJS.ErrnoException): Outcome {
  const code = error.code ?? '';
  if (code === 'ECONNRESET' || code === 'EPIPE') return { reason: 'Reset', message: 'the connection broke' };
  return { reason: 'BadAnswer', message: printable(`no HTTP/2: ${code || error.message}`) };
}
