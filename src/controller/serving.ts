/**
 * Serving: which VirtualServers bind nodes for their VIPs in modes DR and TUN, and where the programs in force send packets. State that
 * follows the compiler's; it decides nothing.
 */
import type { Program } from '../api/v1alpha1/program.ts';
import type { Compiler } from './compiler.ts';
import type { Binding } from './reconcile/nodes.ts';

/** What of a program says where packets go. */
export interface Sending { readonly spec: Pick<Program['spec'], 'services'> }

export class Serving {
  readonly #bindings = new Map<string, Binding>();
  /** Programs in modes DR and TUN, by VIP and by VirtualServer. */
  readonly #byVIP = new Map<string, Map<string, Program>>();
  readonly #programs = new Map<string, Program>();
  readonly #written: (owner: string) => readonly Sending[];

  /** `written`: the programs of a VirtualServer that are there, whoever wrote them. */
  constructor(written: (owner: string) => readonly Sending[]) {
    this.#written = written;
  }

  get bindings(): ReadonlyMap<string, Binding> { return this.#bindings; }

  /** VirtualServers that have a program for a VIP. */
  ownersOf(vip: string): Iterable<string> { return this.#byVIP.get(vip)?.keys() ?? []; }

  /** Whether a program in force sends packets for a VIP to a node: then it goes on. Two controllers at once must agree in that, so what is written counts too. */
  sendsTo(node: string, vip: string): boolean {
    return [...this.#byVIP.get(vip) ?? []].some(([owner, program]) => sends(program, node) || this.#written(owner).some((p) => sends(p, node)));
  }

  /** Takes the program of before, or of another form than the newest. */
  program(owner: string, program: Program | null): void {
    const old = this.#programs.get(owner);
    if (old === program) return;
    for (const { address } of old?.spec.addresses ?? []) {
      const programs = this.#byVIP.get(address);
      programs?.delete(owner);
      if (programs?.size === 0) this.#byVIP.delete(address);
    }
    this.#programs.delete(owner);
    if (program === null || program.spec.mode === 'NAT') return;
    this.#programs.set(owner, program);
    for (const { address } of program.spec.addresses) {
      const programs = this.#byVIP.get(address);
      if (programs) programs.set(owner, program);
      else this.#byVIP.set(address, new Map([[owner, program]]));
    }
  }

  /** Forgets VirtualServers that are gone, whatever was known of them last. Returns whether that frees nodes. */
  prune(compiler: Pick<Compiler, 'servers' | 'programs'>): boolean {
    const gone = (owner: string) => !compiler.servers.has(owner) && !compiler.programs.has(owner);
    for (const owner of this.#programs.keys()) if (gone(owner)) this.program(owner, null);
    let freed = false;
    for (const owner of this.#bindings.keys()) if (gone(owner)) freed = this.#bindings.delete(owner) || freed;
    return freed;
  }

  /** Takes what the compiler says of a VirtualServer now. Returns whether other nodes have to receive, or in another way. */
  update(owner: string, compiler: Pick<Compiler, 'verdicts' | 'programs'>): boolean {
    const verdict = compiler.verdicts.get(owner);
    const program = compiler.programs.get(owner) ?? null;
    this.program(owner, program);
    // Refused and served on: as it was.
    if (!verdict?.accepted && program !== null) return false;
    const binds = verdict && program && program.spec.mode !== 'NAT' && verdict.binds.length > 0;
    const next: Binding | null = binds ? { binds: verdict.binds, addresses: verdict.addresses, mode: program.spec.mode as Binding['mode'], tunnel: program.spec.tunnel } : null;
    const before = this.#bindings.get(owner) ?? null;
    if (JSON.stringify(before) === JSON.stringify(next)) return false;
    if (next) this.#bindings.set(owner, next);
    else this.#bindings.delete(owner);
    return true;
  }
}

/** Whether a program has a real server on a node. */
export function sends({ spec }: Sending, node: string): boolean {
  return spec.services.some((s) => s.realServers.some((r) => r.endsWith(`|${node}`)));
}
