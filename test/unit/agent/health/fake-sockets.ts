/** A network of made-up hosts and a clock that tests move: what the checker does at which moment, without waiting for it. */
import { Checker, type CheckerOptions, type Timers } from '../../../../src/agent/health/checker.ts';
import type { SocketAddress, SocketEvent, Sockets } from '../../../../src/kernel/net/sockets.ts';

/** What a host does with a connection: accepts it, refuses it, says nothing, or an errno at once (as when descriptors are out). */
export type Behaviour = 'accepts' | 'refuses' | 'silent' | number;

const ECONNREFUSED = 111;

export class FakeNetwork implements Sockets, Timers {
  now = 1_000_000;
  /** By address; absent: accepts. */
  readonly hosts = new Map<string, Behaviour>();
  /** Every connection that was begun. */
  readonly log: { readonly at: number; readonly to: SocketAddress }[] = [];
  readonly open$ = new Map<number, Behaviour>();
  mostOpen = 0;
  ended = false;
  #events: SocketEvent[] = [];
  #nextFd = 10;
  readonly #timers = new Map<object, { at: number; run: () => void }>();

  open(to: SocketAddress): number {
    const behaviour = this.hosts.get(to.address) ?? 'accepts';
    this.log.push({ at: this.now, to });
    if (typeof behaviour === 'number') return -behaviour;
    const fd = this.#nextFd++;
    this.open$.set(fd, behaviour);
    this.mostOpen = Math.max(this.mostOpen, this.open$.size);
    if (behaviour === 'accepts') this.#events.push({ fd, writable: true, readable: false, error: 0 });
    if (behaviour === 'refuses') this.#events.push({ fd, writable: true, readable: true, error: ECONNREFUSED });
    return fd;
  }

  take(): SocketEvent[] {
    const events = this.#events.filter(({ fd }) => this.open$.has(fd));
    this.#events = [];
    return events;
  }

  close(fd: number): void {
    if (!this.open$.delete(fd)) throw new Error(`fd ${fd} is closed twice`);
  }

  send(): number { throw new Error('not in these tests'); }
  receive(): number { throw new Error('not in these tests'); }
  release(): void { throw new Error('not in these tests'); }
  end(): void { this.ended = true; }

  set(run: () => void, ms: number): object {
    const timer = {};
    this.#timers.set(timer, { at: this.now + ms, run });
    return timer;
  }

  clear(timer: unknown): void {
    this.#timers.delete(timer as object);
  }

  get timers(): number { return this.#timers.size; }

  /** Moves the clock on, timer by timer. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const [next] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at);
      if (next === undefined || next[1].at > until) break;
      this.#timers.delete(next[0]);
      this.now = next[1].at;
      next[1].run();
    }
    this.now = until;
  }

  /** Moments at which an address was asked. */
  asked(address: string): number[] {
    return this.log.filter(({ to }) => to.address === address).map(({ at }) => at);
  }
}

/** A checker on it, that runs. */
export function checkerOn(network: FakeNetwork, options: Partial<CheckerOptions> = {}): { checker: Checker; stop: () => void; ran: Promise<void> } {
  const checker = new Checker({ sockets: network, now: () => network.now, timers: network, salt: 'edge-1', onChange: () => {}, ...options });
  const controller = new AbortController();
  const ran = checker.run(controller.signal);
  return { checker, stop: () => controller.abort(), ran };
}
