/** A client for Leases without a network: the fake server's objects, and a link to them that may be silent, broken, or lose answers. */
import type { KubeClient } from '../../../src/kube/client.ts';
import { ApiError, errorFromStatus } from '../../../src/kube/errors.ts';
import { LEASES, type Lease } from '../../../src/kube/lease.ts';
import type { KubeObject } from '../../../src/kube/types.ts';
import { AbortError, onAbort } from '../../../src/kube/wait.ts';
import { FakeCluster, Refusal } from './fake-cluster.ts';

export const LEASE_COLLECTION = '/apis/coordination.k8s.io/v1/leases';

/** 'silent': nothing comes back. 'broken': refused at once. 'deaf': what is asked is done, and the answer is lost. */
export type Link = 'up' | 'silent' | 'broken' | 'deaf';

export class FakeLeases {
  readonly cluster: FakeCluster;
  link: Link = 'up';
  /** Gives its answers also to who has given up on them. */
  heedless = false;
  readonly asked: string[] = [];
  /** Called before each request is carried out; it may wait. */
  before: () => Promise<void> | void = () => {};

  constructor(cluster = new FakeCluster()) {
    this.cluster = cluster;
  }

  get client(): Pick<KubeClient, 'get' | 'create' | 'update'> {
    const ask = async <T>(verb: string, name: string, signal: AbortSignal | undefined, work: () => unknown): Promise<T> => {
      this.asked.push(`${verb} ${name}`);
      const { link } = this;
      if (link === 'broken') throw new ApiError({ code: 'UNREACHABLE', message: 'connect ECONNREFUSED', verb, path: name });
      await this.before();
      if (link === 'silent') return await this.#never(signal);
      try {
        // Also when nobody waits for it any more: what was sent arrives.
        const result = structuredClone(work());
        if (signal?.aborted && !this.heedless) throw new AbortError(signal);
        return link === 'deaf' ? await this.#never(signal) : result as T;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        throw errorFromStatus(verb, name, error.status, { code: error.status, reason: error.reason, message: error.message });
      }
    };
    const { cluster } = this;
    return {
      get: async (_resource, name, namespace, { signal } = {}) => await ask('get', name, signal, () => cluster.get(LEASE_COLLECTION, `${namespace}/${name}`)),
      create: async (_resource, object, { signal } = {}) => await ask('create', object.metadata.name, signal, () => cluster.create(LEASE_COLLECTION, object)),
      update: async (_resource, object, { signal } = {}) => await ask('update', object.metadata.name, signal, () => cluster.replace(LEASE_COLLECTION, object as KubeObject)),
    };
  }

  /** The spec of a Lease; undefined when there is none. */
  spec(name: string): Lease['spec'] {
    return (this.cluster.all(LEASE_COLLECTION) as unknown as Lease[]).find((l) => l.metadata.name === name)?.spec;
  }

  take(): string[] { return this.asked.splice(0); }

  #never<T>(signal: AbortSignal | undefined): Promise<T> {
    return new Promise((_, reject) => { onAbort(signal, () => reject(new AbortError(signal!))); });
  }
}

export function lease(name: string, spec: Lease['spec'], fields: Partial<Lease['metadata']> = {}): Lease {
  return { apiVersion: 'coordination.k8s.io/v1', kind: LEASES.kind, metadata: { name, namespace: 'ns', ...fields }, spec };
}
