/**
 * Serving: which VirtualServers bind nodes for their VIPs in modes DR and TUN, and where the programs in force send packets. State that
 * follows the compiler's; it decides nothing.
 */
import type { Program } from '../api/v1alpha1/program.ts';
import { sameWay, type Way } from './compile/cluster.ts';
import type { Compiler } from './compiler.ts';
import type { Binding } from './reconcile/nodes.ts';

/** What of a program says where packets go. */
export interface Sending { readonly spec: Pick<Program['spec'], 'services' | 'mode'> & { readonly tunnel?: Program['spec']['tunnel'] | undefined } }

export class Serving {
  readonly #bindings = new Map<string, Binding>();
  /** VirtualServers that bind nodes for a VIP. */
  readonly #binding = new Map<string, Set<string>>();
  /** Programs in modes DR and TUN, by VIP and by VirtualServer. */
  readonly #byVIP = new Map<string, Map<string, Program>>();
  readonly #programs = new Map<string, Program>();
  readonly #written: (owner: string) => readonly Sending[];

  /** `written`: the programs of a VirtualServer that are there, whoever wrote them. */
  constructor(written: (owner: string) => readonly Sending[]) {
    this.#written = written;
  }

  get bindings(): ReadonlyMap<string, Binding> { return this.#bindings; }

  /** VirtualServers that have a program for a VIP, or are to have one as soon as nodes receive for it. */
  ownersOf(vip: string): Iterable<string> { return new Set([...this.#byVIP.get(vip)?.keys() ?? [], ...this.#binding.get(vip) ?? []]); }

  /**
   * Whether a program in force sends packets for a VIP to a node, in this way: then it goes on. Two controllers at once must agree in that,
   * so what is written counts too.
   */
  sendsTo(node: string, vip: string, way: Way): boolean {
    const does = (p: Sending) => sameWay(p.spec, way) && sends(p, node);
    return [...this.#byVIP.get(vip) ?? []].some(([owner, program]) => does(program) || this.#written(owner).some(does));
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
    for (const owner of this.#bindings.keys()) if (gone(owner)) freed = this.#bind(owner, null) || freed;
    return freed;
  }

  /** Takes what the compiler says of a VirtualServer now. Returns whether other nodes have to receive, or in another way. */
  update(owner: string, compiler: Pick<Compiler, 'verdicts' | 'programs'>): boolean {
    const verdict = compiler.verdicts.get(owner);
    const program = compiler.programs.get(owner) ?? null;
    this.program(owner, program);
    // Refused and served on: as it was, where its real servers are those of before.
    if (program !== null && (!verdict || (!verdict.accepted && verdict.binds.length === 0))) return false;
    // As it is to be served, which may be another form than what is served until nodes receive.
    const wanted = verdict?.program ?? program;
    const binds = verdict && wanted && wanted.spec.mode !== 'NAT' && verdict.binds.length > 0;
    if (!binds) return this.#bind(owner, null);
    const { mode, tunnel } = wanted.spec;
    return this.#bind(owner, { binds: verdict.binds, addresses: verdict.addresses, mode: mode as Binding['mode'], tunnel });
  }

  /** Returns whether that is new. */
  #bind(owner: string, next: Binding | null): boolean {
    const before = this.#bindings.get(owner) ?? null;
    if (JSON.stringify(before) === JSON.stringify(next)) return false;
    for (const address of before?.addresses ?? []) {
      const owners = this.#binding.get(address);
      owners?.delete(owner);
      if (owners?.size === 0) this.#binding.delete(address);
    }
    this.#bindings.delete(owner);
    if (next === null) return true;
    this.#bindings.set(owner, next);
    for (const address of next.addresses) {
      const owners = this.#binding.get(address);
      if (owners) owners.add(owner);
      else this.#binding.set(address, new Set([owner]));
    }
    return true;
  }
}

/** Whether a program has a real server on a node. */
export function sends({ spec }: Sending, node: string): boolean {
  return spec.services.some((s) => s.realServers.some((r) => r.endsWith(`|${node}`)));
}
