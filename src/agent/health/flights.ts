/**
 * Checks under way: each has a socket, a conversation and a deadline, and ends exactly once, whatever the other side does. Who is checked
 * when, and what a result is worth, is checker.ts's.
 */
import { Socket } from 'node:net';
import { ERRNO } from '../../kernel/netlink/errors.ts';
import type { SocketEvent, Sockets } from '../../kernel/net/sockets.ts';
import { destinationOf, type CheckTarget } from './check.ts';
import { DueQueue, type Due } from './due-queue.ts';
import { outcomeOf } from './errno.ts';
import { printable, type Outcome, type Result } from './outcome.ts';
import { conversationOf } from './probes/index.ts';
import { ANSWERED, MAX_ANSWER, type Conversation, type Exchange } from './probes/conversation.ts';

/** One check under way. `dueAt` is its deadline. */
interface Flight<Owner> extends Due {
  readonly owner: Owner;
  readonly target: CheckTarget;
  readonly conversation: Conversation;
  readonly at: number;
  /** -1 when Node's own modules have the socket. */
  fd: number;
  connected: boolean;
  /** Of a stream: what was heard so far and is not enough. */
  heard: Uint8Array | null;
  /** Tells a conversation of Node's modules that nobody waits any more. */
  readonly abort: AbortController | null;
}

export interface FlightsOptions<Owner> {
  readonly sockets: Sockets;
  /** Monotonic milliseconds; for those that end by themselves. */
  readonly now: () => number;
  /** Called once for each start() that was not cancelled: from within start(), look() or expire(), or from the event loop. */
  readonly onEnd: (owner: Owner, result: Result) => void;
}

const buffer = new Uint8Array(MAX_ANSWER);

export class Flights<Owner extends object> {
  readonly #options: FlightsOptions<Owner>;
  readonly #byFd = new Map<number, Flight<Owner>>();
  readonly #byOwner = new Map<Owner, Flight<Owner>>();
  readonly #deadlines = new DueQueue<Flight<Owner>>();
  /** The moment of the call that is going on: a look at the clock is a system call where there is no vDSO, and it would be two a check. */
  #moment: number | null = null;

  constructor(options: FlightsOptions<Owner>) {
    this.#options = options;
  }

  /** Checks under way, which is open sockets too. */
  get size(): number { return this.#byOwner.size; }
  /** Those whose sockets must be looked at: the others report by themselves. */
  get watched(): number { return this.#byFd.size; }
  get nextDeadline(): number { return this.#deadlines.next; }

  /** Begins a check; `at` is now, within a few milliseconds. An owner has one at a time. */
  start(owner: Owner, target: CheckTarget, at: number): void {
    this.#moment = at;
    this.#start(owner, target, at);
    this.#moment = null;
  }

  #start(owner: Owner, target: CheckTarget, at: number): void {
    const { sockets } = this.#options;
    const { check, path, family } = target;
    const conversation = conversationOf(target);
    const flight: Flight<Owner> = {
      owner, target, conversation, at, fd: -1, connected: false, heard: null, dueAt: 0, place: -1,
      abort: conversation.kind === 'upgrade' ? new AbortController() : null,
    };
    this.#byOwner.set(owner, flight);
    const fd = sockets.open({
      kind: conversation.kind === 'exchange' ? conversation.transport : 'stream', family, address: destinationOf(target), port: check.port,
      ...(path.kind === 'Forwarded' ? { mark: path.mark, source: path.source } : { mark: 0, source: '' }),
    });
    if (fd < 0) return this.#end(flight, outcomeOf(-fd));
    flight.fd = fd;
    this.#byFd.set(fd, flight);
    this.#deadlines.put(flight, at + check.timeoutMs);
    // Nobody says when a datagram may be sent: at once.
    if (conversation.kind === 'exchange' && conversation.transport === 'datagram') this.#connected(flight);
  }

  /** Takes what has happened to the sockets. */
  look(now: number): void {
    if (this.#byFd.size === 0) return;
    this.#moment = now;
    for (const event of this.#options.sockets.take()) {
      const flight = this.#byFd.get(event.fd);
      if (flight) this.#happened(flight, event);
    }
    this.#moment = null;
  }

  /** Ends what is over its deadline. */
  expire(now: number): void {
    this.#moment = now;
    for (let flight = this.#deadlines.take(now); flight !== null; flight = this.#deadlines.take(now)) this.#end(flight, silenceOf(flight));
    this.#moment = null;
  }

  /** Ends the check of an owner without a result. Nothing happens when there is none. */
  cancel(owner: Owner): void {
    const flight = this.#byOwner.get(owner);
    if (flight) this.#forget(flight);
  }

  cancelAll(): void {
    for (const flight of this.#byOwner.values()) this.#forget(flight);
  }

  #happened(flight: Flight<Owner>, { writable, readable, error }: SocketEvent): void {
    if (error !== 0) return this.#end(flight, outcomeOf(error));
    if (!flight.connected && writable && !this.#connected(flight)) return;
    if (readable && flight.connected && flight.conversation.kind === 'exchange') this.#listen(flight, flight.conversation);
  }

  /** Returns whether the flight goes on with its socket in our hands. */
  #connected(flight: Flight<Owner>): boolean {
    const { conversation, fd } = flight;
    flight.connected = true;
    if (conversation.kind === 'accept') {
      this.#end(flight, ANSWERED);
      return false;
    }
    if (conversation.kind === 'upgrade') {
      this.#handOver(flight, conversation);
      return false;
    }
    const sent = this.#options.sockets.send(fd, conversation.request);
    // The buffer of a new connection holds any of our requests: less than all of it is a failure of this node.
    if (sent === conversation.request.length) return true;
    this.#end(flight, outcomeOf(sent < 0 ? -sent : ERRNO.ENOBUFS));
    return false;
  }

  #handOver(flight: Flight<Owner>, conversation: Extract<Conversation, { kind: 'upgrade' }>): void {
    const { fd, target, abort } = flight;
    const { sockets } = this.#options;
    sockets.release(fd);
    this.#byFd.delete(fd);
    flight.fd = -1;
    let socket: Socket | null = null;
    const open = (): Socket => {
      socket = new Socket({ fd, readable: true, writable: true });
      // Errors are told to the conversation; those that come when it is over are nobody's.
      return socket.on('error', () => {});
    };
    const failed = (error: unknown): Outcome => ({ reason: 'NotChecked', message: printable(String(error)) });
    void conversation.converse(open, target, abort!.signal).catch(failed).then((outcome) => {
      if (socket === null) sockets.close(fd);
      else socket.destroy();
      this.#end(flight, outcome);
    });
  }

  #listen(flight: Flight<Owner>, exchange: Exchange): void {
    for (;;) {
      const got = this.#options.sockets.receive(flight.fd, buffer);
      if (got === -ERRNO.EAGAIN || got === -ERRNO.EINTR) return;
      if (got < 0) return this.#end(flight, outcomeOf(-got));
      if (exchange.transport === 'datagram') {
        const outcome = exchange.judge(buffer.subarray(0, got), true);
        if (outcome !== null) return this.#end(flight, outcome);
        continue;
      }
      const heard = flight.heard === null ? buffer.subarray(0, got) : joined(flight.heard, buffer.subarray(0, got));
      const ended = got === 0 || heard.length >= MAX_ANSWER;
      const outcome = exchange.judge(heard, ended);
      if (outcome !== null) return this.#end(flight, outcome);
      if (got === 0) return this.#end(flight, { reason: 'Closed', message: 'closed before the answer' });
      if (ended) return this.#end(flight, { reason: 'BadAnswer', message: 'no end to the beginning of the answer' });
      // A copy, because the buffer is everybody's.
      flight.heard = Buffer.from(heard);
    }
  }

  /** A flight that was ended or cancelled before stays so: Node's modules may report late. */
  #end(flight: Flight<Owner>, outcome: Outcome): void {
    if (this.#byOwner.get(flight.owner) !== flight) return;
    this.#forget(flight);
    const tookMs = Math.max((this.#moment ?? this.#options.now()) - flight.at, 0);
    this.#options.onEnd(flight.owner, { ...outcome, at: flight.at, tookMs });
  }

  #forget(flight: Flight<Owner>): void {
    this.#byOwner.delete(flight.owner);
    this.#deadlines.remove(flight);
    if (flight.fd >= 0) {
      this.#byFd.delete(flight.fd);
      this.#options.sockets.close(flight.fd);
      flight.fd = -1;
    }
    flight.abort?.abort();
  }
}

function joined(before: Uint8Array, more: Uint8Array): Uint8Array {
  return Buffer.concat([before, more.subarray(0, MAX_ANSWER - before.length)]);
}

function silenceOf({ conversation, connected, target }: Flight<object>): Outcome {
  const within = `within ${target.check.timeoutMs} ms`;
  if (conversation.kind === 'exchange' && conversation.transport === 'datagram') {
    return conversation.silence ?? { reason: 'Timeout', message: `no answer ${within}` };
  }
  return connected ? { reason: 'Hangs', message: `accepted, and no answer ${within}` } : { reason: 'Timeout', message: `no connection ${within}` };
}
