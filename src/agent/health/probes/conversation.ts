/**
 * What is said on a connection, by type of check: the contract between those who know a protocol (the files beside this one) and the one
 * that owns sockets and deadlines (flights.ts).
 */
import type { Socket } from 'node:net';
import type { CheckTarget } from '../check.ts';
import type { Outcome } from '../outcome.ts';

export type Conversation =
  /** A connection that is accepted says it all. */
  | { readonly kind: 'accept' }
  | Exchange
  | Upgrade;

/** One request, and an answer that is judged as it comes in. */
export interface Exchange {
  readonly kind: 'exchange';
  readonly transport: 'stream' | 'datagram';
  readonly request: Uint8Array;
  /**
   * The outcome, or null when more must come. `heard` is everything so far of a stream, at most MAX_ANSWER bytes, or one datagram. `ended`: no
   * more will come, because the peer closed or said too much; then null means Closed.
   */
  judge(heard: Uint8Array, ended: boolean): Outcome | null;
  /** What it means when nothing was heard until the deadline. Absent: a failure. */
  readonly silence?: Outcome;
}

/** A connection that Node's own modules speak on: TLS, HTTP/2. */
export interface Upgrade {
  readonly kind: 'upgrade';
  /**
   * Resolves with what was found; a rejection means that it could not be asked. `open` makes a socket of the connection: once, and handed on
   * at once, as what is read in between would be lost. When `signal` is aborted nobody waits for the answer any more. The caller destroys the
   * socket.
   */
  converse(open: () => Socket, target: CheckTarget, signal: AbortSignal): Promise<Outcome>;
}

/** Bytes of an answer that are read at most: what counts stands in the first line. */
export const MAX_ANSWER = 16_384;

export const ANSWERED: Outcome = { reason: 'Answered', message: 'answered' };
/** Of a conversation that was aborted: nobody reads it. */
export const GIVEN_UP: Outcome = { reason: 'NotChecked', message: 'given up' };
