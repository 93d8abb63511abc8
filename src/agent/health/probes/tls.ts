/**
 * TLS for checks: on a connection that is there already, with a name and a CA where the check has them. Without a CA any certificate will do,
 * as it is the connection that is checked; with one the certificate must be signed by it, and be for the host where the check has one.
 * Certificates are not made for addresses of real servers. What is said inside is https.ts's and grpc.ts's.
 */
import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';
import { printable, type Outcome } from '../outcome.ts';

export interface TlsOptions {
  /** PEM; empty: any certificate will do. */
  readonly ca: string;
  /** A name, or an address, with a port perhaps; empty: no name. */
  readonly host: string;
  /** ALPN. */
  readonly protocol: 'http/1.1' | 'h2';
}

/**
 * Begins TLS on the connection that `open` makes a socket of, which it is called for at once, or not at all: then the outcome says why it
 * cannot be asked.
 */
export async function secured(open: () => Socket, { ca, host, protocol }: TlsOptions, signal: AbortSignal): Promise<TLSSocket | Outcome> {
  // Two megabytes that nodes without such checks do not need.
  const tls = await import('node:tls');
  if (signal.aborted) return { reason: 'NotChecked', message: 'given up' };
  let context: SecureContext;
  try {
    context = contextFor(tls, ca);
  } catch (error) {
    return { reason: 'NotChecked', message: printable(`the CA cannot be read: ${(error as Error).message}`) };
  }
  const name = serverName(host);
  return tls.connect({
    socket: open(), secureContext: context, rejectUnauthorized: ca !== '', ALPNProtocols: [protocol], ...(name === '' ? {} : { servername: name }),
    checkServerIdentity: (_, certificate) => (ca === '' || name === '' ? undefined : tls.checkServerIdentity(name, certificate)),
  });
}

export const CLOSED_EARLY: Outcome = { reason: 'Closed', message: 'closed during the TLS handshake' };

/** What an error before `secureConnect` says. */
export function tlsFailed(error: NodeJS.ErrnoException): Outcome {
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

function contextFor(tls: typeof import('node:tls'), ca: string): SecureContext {
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
