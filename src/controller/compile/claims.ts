/**
 * claims: who gets which address. Pure: VirtualServers + pools + memory in, one result a VirtualServer out.
 * Nobody loses an address or a port to a newcomer: what a VirtualServer held and still asks for is reserved for it before anybody is
 * asked. Then old claims come first, then pinned addresses, then allocations, then those who share; within each, by name.
 */
import type { VirtualServer } from '../../api/v1alpha1/index.ts';
import { MAX_CLAIMS } from '../../api/v1alpha1/vocabulary.ts';
import { familyOf, toBigInt, type Family } from '../../ip/ip.ts';
import type { Cluster } from './cluster.ts';
import type { Memory } from './memory.ts';
import { Occupancy, portsOf, rangeText, readPorts, type PortRange } from './occupancy.ts';
import { admission, familiesOf, lowestFree, poolHolds, type Cursor, type Pool } from './pools.ts';

export type ClaimReason =
  | 'PoolNotFound' | 'NamespaceNotAllowed' | 'AddressOutsidePools' | 'AddressReserved' | 'AddressInUse' | 'PoolExhausted' | 'PortConflict'
  | 'Pending' | 'InvalidSpec';

export type Claim =
  /** `pools[i]` holds `addresses[i]`; `pool` is the first. */
  | { readonly ok: true; readonly addresses: readonly string[]; readonly pool: Pool; readonly pools: readonly Pool[] }
  | Refusal;

interface Refusal { readonly ok: false; readonly reason: ClaimReason; readonly message: string }

export interface Claims {
  readonly byServer: ReadonlyMap<string, Claim>;
  /** Every claimed address and one holder. */
  readonly vips: ReadonlyMap<string, string>;
  /** What is to be remembered of this. */
  readonly memory: Pick<Memory, 'claims' | 'ports'>;
}

export interface ClaimInput {
  readonly servers: ReadonlyMap<string, VirtualServer>;
  readonly pools: ReadonlyMap<string, Pool>;
  readonly memory: Memory;
  readonly cluster: Pick<Cluster, 'present' | 'namespaceLabels' | 'reserved' | 'reservedTo'>;
  /** Why nobody can direct for the addresses of a pool; null where somebody can, or nobody has to. */
  readonly groupProblem: (pool: Pool) => string | null;
  /** `namespace/name` of VirtualServers that cannot be read now and are served as they were: what memory says of them stays theirs. */
  readonly unread: ReadonlySet<string>;
}

/** Refusals that withdraw a right: serving on would be wrong. */
export const WITHDRAWN: ReadonlySet<string> = new Set<ClaimReason>(['NamespaceNotAllowed', 'PoolNotFound']);

/** Looks at most; each lets in somebody for whom the one before made room. */
const LOOKS = 8;

/**
 * What one leaves another may take, so the world is looked at again with what was decided, until nobody who was refused gets in.
 * Whoever was accepted stays accepted: it holds by then what it got.
 */
export function claimAll(input: ClaimInput): Claims {
  let memory = input.memory;
  for (let i = 1; ; i++) {
    const byRound = settleMoves({ ...input, memory });
    const claims = { ...byRound, memory: remember(byRound.byServer, { ...input, memory }) };
    const refused = [...claims.byServer.values()].some((c) => !c.ok);
    if (!refused || i === LOOKS || JSON.stringify(claims.memory) === JSON.stringify({ claims: memory.claims, ports: memory.ports })) return claims;
    memory = { ...memory, ...claims.memory };
  }
}

/**
 * A VirtualServer that wants to move and cannot goes on being served where it was (controller/compiler.ts), so then that place was
 * not free after all: those who may have been given it are asked again. Each round settles at least one such VirtualServer.
 */
function settleMoves(input: ClaimInput): Pick<Claims, 'byServer' | 'vips'> {
  const staying = new Set<string>();
  for (;;) {
    const claims = new Round(input, staying).run();
    const failed = [...claims.byServer].filter(([key, claim]) => !claim.ok && key in input.memory.claims && !staying.has(key));
    if (failed.length === 0) return claims;
    for (const [key] of failed) staying.add(key);
  }
}

function remember(byServer: ReadonlyMap<string, Claim>, { servers, memory, unread }: ClaimInput): Claims['memory'] {
  const claims: Record<string, readonly string[]> = {};
  const ports: Record<string, readonly string[]> = {};
  // Sorted, so that equal memories are equal texts.
  for (const key of [...byServer.keys(), ...unread].sort()) {
    const claim = byServer.get(key);
    const old = memory.claims[key];
    if (claim?.ok) {
      claims[key] = claim.addresses;
      ports[key] = portsOf(servers.get(key)!).map(rangeText);
    } else if (old) {
      claims[key] = old;
      const was = memory.ports[key] ?? (claim ? portsOf(servers.get(key)!).map(rangeText) : undefined);
      if (was) ports[key] = was;
    }
  }
  return { claims, ports };
}

class Round {
  readonly #input: ClaimInput;
  readonly #byServer = new Map<string, Claim>();
  /** What was given in this round. */
  readonly #held = new Occupancy();
  /** What was held before and is asked for again. */
  readonly #reserved = new Occupancy();
  readonly #used = new Map<string, Set<string>>();
  readonly #cursors = new Map<string, Cursor>();

  constructor(input: ClaimInput, staying: ReadonlySet<string>) {
    this.#input = input;
    for (const [key, server] of input.servers) {
      const was = rememberedPorts(input.memory, key, server);
      const asked = new Set(portsOf(server).map(rangeText));
      const ports = staying.has(key) ? was : was.filter((p) => asked.has(rangeText(p)));
      for (const address of input.memory.claims[key] ?? []) {
        if (staying.has(key) || asksFor(server, address)) this.#reserved.take(address, key, server.metadata.namespace, ports);
      }
    }
    for (const key of input.unread) {
      const ports = input.memory.ports[key];
      for (const address of input.memory.claims[key] ?? []) this.#held.take(address, key, key.slice(0, key.indexOf('/')), ports ? readPorts(ports) : EVERY_PORT);
    }
  }

  run(): Pick<Claims, 'byServer' | 'vips'> {
    for (const key of inOrder(this.#input)) {
      const server = this.#input.servers.get(key)!;
      const claim = this.#claim(key, server);
      this.#byServer.set(key, claim);
      if (claim.ok) this.#take(key, server, claim);
      else this.#keep(key, server);
    }
    return { byServer: this.#byServer, vips: this.#held.holders() };
  }

  #take(key: string, server: VirtualServer, { addresses, pools }: Claim & { ok: true }): void {
    const { namespace } = server.metadata;
    for (const [i, address] of addresses.entries()) {
      this.#held.take(address, key, namespace, portsOf(server));
      const quota = `${pools[i]!.name} ${namespace}`;
      this.#used.set(quota, (this.#used.get(quota) ?? new Set()).add(address));
    }
  }

  /** What a refused VirtualServer held it may still serve: nobody else gets it meanwhile. */
  #keep(key: string, server: VirtualServer): void {
    const { memory } = this.#input;
    for (const address of memory.claims[key] ?? []) this.#held.take(address, key, server.metadata.namespace, rememberedPorts(memory, key, server));
  }

  #claim(key: string, server: VirtualServer): Claim {
    const vip = server.spec.vip ?? {};
    if (vip.sharedFrom) return this.#shared(key, server, vip.sharedFrom.name);
    const claim = vip.addresses ? this.#pinned(key, server, vip.addresses) : this.#allocated(key, server);
    // Part of the claim: who waits for a group stays where it is served, and nobody else gets that place.
    const problem = claim.ok ? this.#input.groupProblem(claim.pool) : null;
    return problem === null ? claim : no('Pending', problem);
  }

  #allocated(key: string, server: VirtualServer): Claim {
    const { namespace } = server.metadata;
    const vip = server.spec.vip ?? {};
    const pool = this.#poolFor(vip.poolRef?.name);
    if ('ok' in pool) return pool;
    const refusal = this.#entry(pool, namespace);
    if (refusal) return refusal;
    const before = (this.#input.memory.claims[key] ?? []).filter((a) => poolHolds(pool, a));
    const families: readonly Family[] = vip.families ?? (before.length > 0 ? before.map((a) => familyOf(a)!) : familiesOf(pool).slice(0, 1));
    const addresses: string[] = [];
    for (const family of new Set(families)) {
      const old = before.find((a) => familyOf(a) === family);
      // With a port in its way it waits where it is: an address that moves by itself would be worse.
      const taken = old === undefined ? null : this.#conflict(key, old, server);
      if (taken) return taken;
      if (!old && pool.object.spec.disabled) {
        return no('PoolExhausted', `VIPPool ${pool.name} is disabled: it gives no new addresses; name another in spec.vip.poolRef`);
      }
      if (!old && !pool.object.spec.autoAssign) return no('PoolExhausted', `VIPPool ${pool.name} has autoAssign: false; pin an address of it in spec.vip.addresses`);
      const takenTo = (a: string): bigint | null => (this.#held.isTaken(a, '') || this.#reserved.isTaken(a, key) ? toBigInt(a) : this.#input.cluster.reservedTo(a));
      const address = old ?? lowestFree(pool, family, takenTo, this.#cursor(pool, family));
      if (!address) return no('PoolExhausted', `VIPPool ${pool.name} has no free ${family} address; add a block to it, or free one`);
      addresses.push(address);
    }
    return this.#overQuota(key, namespace, addresses, addresses.map(() => pool)) ?? { ok: true, addresses, pool, pools: addresses.map(() => pool) };
  }

  #pinned(key: string, server: VirtualServer, addresses: readonly string[]): Claim {
    const { namespace } = server.metadata;
    const { pools, memory } = this.#input;
    const named = server.spec.vip?.poolRef?.name;
    if (named && !pools.has(named)) return no('PoolNotFound', `VIPPool ${named} does not exist; create it, or correct spec.vip.poolRef`);
    const from: Pool[] = [];
    for (const address of addresses) {
      const holders = [...pools.values()].filter((p) => (!named || p.name === named) && poolHolds(p, address)).sort(byName);
      if (holders.length === 0) {
        const where = named ? `no block of VIPPool ${named}` : 'no VIPPool';
        return no('AddressOutsidePools', `${address} lies in ${where}; add a block that holds it, or choose another address`);
      }
      const pool = holders.find((p) => !this.#entry(p, namespace));
      if (!pool) return this.#entry(holders[0]!, namespace)!;
      if (pool.object.spec.disabled && !(memory.claims[key] ?? []).includes(address)) {
        return no('PoolExhausted', `VIPPool ${pool.name} is disabled: it takes no new claims`);
      }
      const first = from[0] ?? pool;
      if (groupOf(first) !== groupOf(pool)) {
        return no('InvalidSpec', `spec.vip.addresses lie in pools of different director groups (${first.name}, ${pool.name}); use addresses of one group`);
      }
      from.push(pool);
      // An address that became somebody's after it was claimed stays: the agent of the node that has it refuses it there.
      const whose = (memory.claims[key] ?? []).includes(address) ? null : this.#input.cluster.reserved(address);
      if (whose) return no('AddressReserved', `${address} is ${whose}: it is never a VIP; choose another address`);
      const taken = this.#conflict(key, address, server);
      if (taken) return taken;
    }
    return this.#overQuota(key, namespace, addresses, from) ?? { ok: true, addresses, pool: from[0]!, pools: from };
  }

  #shared(key: string, server: VirtualServer, name: string): Claim {
    const source = `${server.metadata.namespace}/${name}`;
    const claim = this.#input.servers.get(source)?.spec.vip?.sharedFrom ? undefined : this.#byServer.get(source);
    if (!claim) {
      return this.#outOf(this.#input.memory.claims[key] ?? [], server.metadata.namespace) ?? no('Pending',
        `spec.vip.sharedFrom: VirtualServer ${source} does not exist or shares its address itself; create it, or name the one that holds the address`);
    }
    // A right that the one has no more the other has not either (controller/compiler.ts).
    if (!claim.ok) return no(WITHDRAWN.has(claim.reason) ? claim.reason : 'Pending', `spec.vip.sharedFrom: VirtualServer ${source} has no address: ${claim.message}`);
    for (const address of claim.addresses) {
      const taken = this.#conflict(key, address, server);
      if (taken) return taken;
    }
    return claim;
  }

  /** Why an address cannot be had by this VirtualServer although its pool has it. */
  #conflict(key: string, address: string, server: VirtualServer): Refusal | null {
    const { namespace } = server.metadata;
    const ports = portsOf(server);
    const obstacle = this.#held.obstacle(address, key, namespace, ports) ?? this.#reserved.obstacle(address, key, namespace, ports);
    if (!obstacle) return null;
    if (obstacle.kind === 'namespace') return no('AddressInUse', `${address} is in use by another namespace; choose another address`);
    if (obstacle.kind === 'full') {
      // Only a VirtualIP is bounded; a host without a cluster has none.
      if (!this.#input.cluster.present) return null;
      return no('AddressInUse', `${address} has ${MAX_CLAIMS} VirtualServers, and a VirtualIP has no room for more; choose another address`);
    }
    const { range, owner } = obstacle;
    const span = range.first === range.last ? range.first : `${range.first}-${range.last}`;
    return no('PortConflict', `${address} ${range.protocol} port ${span} is served by VirtualServer ${owner} already; choose another port or address`);
  }

  #poolFor(name: string | undefined): Pool | Refusal {
    const { pools } = this.#input;
    if (name) return pools.get(name) ?? no('PoolNotFound', `VIPPool ${name} does not exist; create it, or correct spec.vip.poolRef`);
    const defaults = [...pools.values()].filter((p) => p.object.spec.default).sort(byName);
    return defaults[0] ?? no('PoolNotFound', 'there is no default VIPPool; set spec.default on one, or name one in spec.vip.poolRef');
  }

  #entry(pool: Pool, namespace: string): Refusal | null {
    const word = admission(pool, namespace, this.#input.cluster);
    if (word === 'Admitted') return null;
    if (word === 'Unknown') return no('Pending', `namespace ${namespace} is not known yet`);
    return no('NamespaceNotAllowed', `VIPPool ${pool.name} does not admit namespace ${namespace}; ask its owner to add it to spec.allowedNamespaces`);
  }

  /** Why a namespace may not have addresses that it had; null where some pool of each admits it, or none holds it. */
  #outOf(addresses: readonly string[], namespace: string): Refusal | null {
    for (const address of addresses) {
      const refusals = [...this.#input.pools.values()].filter((p) => poolHolds(p, address)).sort(byName).map((p) => this.#entry(p, namespace));
      if (refusals.length > 0 && !refusals.includes(null)) return refusals[0]!;
    }
    return null;
  }

  /** Old claims stay when a quota shrinks below them, but they count. */
  #overQuota(key: string, namespace: string, addresses: readonly string[], pools: readonly Pool[]): Refusal | null {
    const old = this.#input.memory.claims[key] ?? [];
    for (const pool of new Set(pools)) {
      const limit = pool.object.spec.quotaPerNamespace;
      if (limit === undefined) continue;
      const have = this.#used.get(`${pool.name} ${namespace}`) ?? new Set();
      const more = addresses.filter((a, i) => pools[i] === pool && !have.has(a));
      if (more.some((a) => !old.includes(a)) && have.size + more.length > limit) {
        return no('PoolExhausted', `namespace ${namespace} holds ${have.size} of ${limit} addresses of VIPPool ${pool.name} (quotaPerNamespace)`);
      }
    }
    return null;
  }

  #cursor(pool: Pool, family: Family): Cursor {
    const key = `${pool.name} ${family}`;
    let cursor = this.#cursors.get(key);
    if (!cursor) this.#cursors.set(key, cursor = { range: 0, value: null });
    return cursor;
  }
}

const EVERY_PORT: readonly PortRange[] = ['TCP', 'UDP', 'SCTP'].map((protocol) => ({ protocol, first: 0, last: 65_535 }));

/** Whether a VirtualServer still wants an address that it held. */
export function asksFor({ spec: { vip } }: VirtualServer, address: string): boolean {
  return vip?.addresses ? vip.addresses.includes(address) : true;
}

/** The ports it held; all it has now, where memory is silent. */
function rememberedPorts(memory: Memory, key: string, server: VirtualServer): PortRange[] {
  const texts = memory.ports[key];
  return texts ? readPorts(texts) : portsOf(server);
}

function inOrder({ servers, memory }: ClaimInput): string[] {
  const rank = (key: string) => {
    const vip = servers.get(key)!.spec.vip;
    const old = memory.claims[key];
    if (vip?.sharedFrom) return 3;
    if (old && (!vip?.addresses || vip.addresses.every((a) => old.includes(a)))) return 0;
    return vip?.addresses ? 1 : 2;
  };
  return [...servers.keys()].map((key) => ({ key, rank: rank(key) }))
    .sort((a, b) => a.rank - b.rank || (a.key < b.key ? -1 : 1)).map(({ key }) => key);
}

export function groupOf(pool: Pool): string | null {
  return pool.object.spec.directorGroupRef?.name ?? null;
}

function byName(a: Pool, b: Pool): number {
  return a.name < b.name ? -1 : 1;
}

function no(reason: ClaimReason, message: string): Refusal {
  return { ok: false, reason, message };
}
