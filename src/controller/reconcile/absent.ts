/**
 * Absent: whether a VirtualServer that has a claim and is not in the cache is really gone. Caches of two kinds are of two moments: another
 * controller may have claimed an address for a VirtualServer that this one has not heard of yet. Nobody loses an address by that.
 */
import { RESOURCES, type VirtualIP } from '../../api/v1alpha1/index.ts';
import type { KubeClient } from '../../kube/client.ts';
import { isNotFound } from '../../kube/errors.ts';
import { partsOf, type KubeObject, type Log, type Resource } from '../../kube/types.ts';
import { inParallel } from './parallel.ts';

export interface AbsentOptions {
  readonly client: Pick<KubeClient, 'get'>;
  /** Whether the cache knows of a VirtualServer, as namespace/name, in whatever form. */
  readonly known: (owner: string) => boolean;
  readonly log: Log;
}

const WIDTH = 16;

export class Absent {
  readonly #options: AbsentOptions;
  /** Claims whose VirtualServer the server does not have: `namespace/name uid`. */
  #gone: ReadonlySet<string> = new Set();
  readonly #owners = new WeakMap<VirtualIP['spec']['claims'], readonly string[]>();
  #complete = false;

  constructor(options: AbsentOptions) {
    this.#options = options;
  }

  /** Whether the last look found every VirtualServer that has a claim: while none of either comes or goes, nobody need look. */
  get complete(): boolean { return this.#complete; }

  /** Asks the server about those of whom nothing is known. What fails is not known. */
  async ask(vips: Iterable<VirtualIP>, signal: AbortSignal): Promise<void> {
    const missing = this.#missing(vips);
    const gone = new Set([...missing.keys()].filter((claim) => this.#gone.has(claim)));
    this.#gone = gone;
    await inParallel([...missing].filter(([claim]) => !gone.has(claim)), WIDTH, signal, async ([claim, owner]) => {
      if (!await this.#exists(owner, signal)) gone.add(claim);
    }, ([, owner], error) => this.#options.log.warn({ object: owner, err: error }, 'whether it exists is not known; its addresses stay its own'));
  }

  /** VirtualServers, as namespace/name, that have a claim, are in no cache, and may exist all the same. */
  unconfirmed(vips: Iterable<VirtualIP>): string[] {
    const missing = [...this.#missing(vips)];
    this.#complete = missing.length === 0;
    return missing.filter(([claim]) => !this.#gone.has(claim)).map(([, owner]) => owner);
  }

  /** VirtualServers of claims, as namespace/name: put together once for each form of a VirtualIP, for all are looked at twice a pass. */
  #ownersOf(claims: VirtualIP['spec']['claims']): readonly string[] {
    let owners = this.#owners.get(claims);
    if (!owners) this.#owners.set(claims, owners = claims.map(({ namespace, name }) => `${namespace}/${name}`));
    return owners;
  }

  /** Owners of claims that the cache does not know, by claim. */
  #missing(vips: Iterable<VirtualIP>): Map<string, string> {
    const missing = new Map<string, string>();
    for (const { spec } of vips) {
      const owners = this.#ownersOf(spec.claims);
      for (const [i, owner] of owners.entries()) if (!this.#options.known(owner)) missing.set(`${owner} ${spec.claims[i]!.uid}`, owner);
    }
    return missing;
  }

  async #exists(owner: string, signal: AbortSignal): Promise<boolean> {
    // Whatever it says: only that it is there counts.
    const { parse: _, ...resource } = RESOURCES.VirtualServer;
    const { namespace, name } = partsOf(owner);
    try {
      await this.#options.client.get(resource as Resource<KubeObject>, name, namespace, { signal });
      return true;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      return false;
    }
  }
}
