/**
 * FakeKernel: IpvsClient and NetClient over plain maps, behaving as Linux does where the agent can tell: conversions of contract.ts,
 * what a deletion takes with it, what one sysctl does to others. It can fail an operation, die after some (SIGKILL), lie in a read-back,
 * and count what it was asked. It is NOT a packet path and checks no field that src/kernel/ipvs/validate.ts checks.
 * The IPVS half is fake-ipvs.ts, the rest of the node fake-net.ts; here is what they share.
 */
import type { Operation } from '../../src/agent/operation.ts';
import { KernelError, type KernelErrorCode } from '../../src/kernel/netlink/errors.ts';
import { FakeIpvs } from './fake-ipvs.ts';
import { FakeNet } from './fake-net.ts';

/** What a killed process sees: nothing. In a test, the promise it was waiting for rejects with this. */
export class Killed extends Error {
  override readonly name = 'Killed';
}

/** Called by both halves around each operation. */
export interface Trap {
  /** Throws Killed, or returns the error that the kernel answers with. */
  before(operation: Operation): KernelError | null;
  after(operation: Operation): void;
}

export class FakeKernel {
  readonly ipvs: FakeIpvs;
  readonly net: FakeNet;
  /** Every operation that was executed (not those that failed), in order. */
  readonly log: Operation[] = [];
  /** Called after each executed operation: for invariants at every intermediate step. */
  onStep: (operation: Operation) => void = () => {};
  #countdown = Infinity;
  #dead = false;
  #failing: ((operation: Operation, n: number) => KernelError | null) | null = null;
  #seen = 0;

  constructor() {
    const trap: Trap = { before: (o) => this.#before(o), after: (o) => this.#after(o) };
    this.net = new FakeNet(trap);
    this.ipvs = new FakeIpvs(trap, this.net);
  }

  /** Kills whoever calls after `n` more operations; 0: before the first one. The kernel itself lives on: see revive. */
  killAfter(n: number): void { this.#countdown = n; }

  /** A new process comes. */
  revive(): void {
    this.#countdown = Infinity;
    this.#dead = false;
  }

  /** Lets the kernel refuse operations from now on: `n` counts from 0. null: obey again. */
  refuse(decide: ((operation: Operation, n: number) => KernelError | null) | null): void {
    this.#failing = decide;
    this.#seen = 0;
  }

  /** Everything that anybody could see, as a plain value to compare. Connections are left out unless asked for. */
  snapshot(): unknown {
    return JSON.parse(JSON.stringify({ ipvs: this.ipvs.snapshot(), net: this.net.snapshot() }));
  }

  #before(operation: Operation): KernelError | null {
    if (this.#dead || this.#countdown <= 0) {
      this.#dead = true;
      throw new Killed('SIGKILL');
    }
    return this.#failing?.(operation, this.#seen++) ?? null;
  }

  #after(operation: Operation): void {
    this.log.push(operation);
    this.onStep(operation);
    if (--this.#countdown <= 0) {
      this.#dead = true;
      throw new Killed('SIGKILL');
    }
  }
}

export function refusal(operation: string, errno: number, code: KernelErrorCode = 'KERNEL_REFUSED', object = ''): KernelError {
  return new KernelError({ code, errno, operation, object });
}
