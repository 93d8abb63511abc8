/**
 * KnownNode: what this node has and what its kernel can do, as it was seen last: NICs, subnets, addresses, packet filter, schedulers. Facts,
 * no wishes. What of the kernel is ours (IPVS services, VIPs, sysctls) is read for each pass (observe.ts) and not remembered here.
 */
import type { IpvsCapabilities } from '../kernel/ipvs/contract.ts';
import type { NetObservation } from '../kernel/net/types.ts';
import type { Kernel } from './apply.ts';
import { indexFacts, type NodeFacts, type NodeIndex } from './facts.ts';

/** What decides how an observation is read. */
export interface Reading {
  /** Addresses that we added, by `link address`. */
  readonly ours: NodeFacts['ours'];
  /** Whether something is wanted that needs a packet filter: then one is looked for again. */
  readonly missesNetfilter: boolean;
}

export class KnownNode {
  readonly #kernel: Kernel;
  readonly #self: Pick<NodeFacts, 'name' | 'role' | 'labels'>;
  #index: NodeIndex | null = null;
  #complete = false;
  #key = '';
  #capabilities: IpvsCapabilities | null = null;

  constructor(kernel: Kernel, self: Pick<NodeFacts, 'name' | 'role' | 'labels'>) {
    this.#kernel = kernel;
    this.#self = self;
  }

  /** Null before the first look. */
  get index(): NodeIndex | null { return this.#index; }
  /** False while the facts come from an interrupted read and there are no older, whole ones. */
  get complete(): boolean { return this.#complete; }
  /** Null until asked for. */
  get capabilities(): IpvsCapabilities | null { return this.#capabilities; }
  /** Whether the kernel was asked and has no IPVS. Programs for a director are refused then; everything else goes on. */
  get lacksIpvs(): boolean { return this.#capabilities?.version === null; }

  /** Takes what was observed. True: the facts are others than before, and everything is to be decided anew. */
  take(net: NetObservation, reading: Reading): boolean {
    // An interrupted list must not look like NICs that are gone: the last whole one counts.
    if (!net.complete && this.#complete) return false;
    this.#complete = net.complete;
    const index = this.#read(net, reading);
    const key = keyOf(net, index);
    const changed = key !== this.#key;
    [this.#index, this.#key] = [index, key];
    return changed;
  }

  /** Whether an observation says what is known already. Takes nothing. */
  same(net: NetObservation, reading: Reading): boolean { return keyOf(net, this.#read(net, reading)) === this.#key; }

  /**
   * Asks the kernel what it can do, once a scheduler is `wanted` that it was not asked for, and `again` when something that it lacked is wanted.
   * To be called after a look, and only when this node directs something: asking loads modules.
   */
  probe(wanted: ReadonlySet<string>, again: boolean): void {
    if (wanted.size === 0 && !again) return;
    const capabilities = this.#kernel.ipvs.capabilities([...this.#capabilities?.schedulers ?? [], ...wanted, 'none']);
    if (capabilities === this.#capabilities) return;
    this.#capabilities = capabilities;
    this.#index = indexFacts({ ...this.#index!.facts, capabilities });
  }

  #read(net: NetObservation, { ours, missesNetfilter }: Reading): NodeIndex {
    const netfilter = this.#kernel.net.netfilterBackend(missesNetfilter);
    return indexFacts({ ...this.#self, links: net.links, addresses: net.addresses, ours, capabilities: this.#capabilities, netfilter });
  }
}

/** VIPs that come and go are no new facts; NICs, subnets, the node's own addresses and its packet filter are. */
function keyOf(net: NetObservation, { subnets, endpoints, facts }: NodeIndex): string {
  return JSON.stringify([net.links, subnets, [...endpoints.keys()], facts.netfilter]);
}
