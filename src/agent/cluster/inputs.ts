/**
 * Inputs: the caches of everything an agent reads from the API server: its IPVSNode; on a director also DirectorGroups, VirtualIPs, Leases of
 * directors, and the programs of the groups that it directs for, which come and go. Most nodes are only real servers and watch one object.
 * It starts and stops reflectors; what a change means is host.ts's.
 */
import { RESOURCES, type DirectorGroup, type IPVSNodeStatus, type VirtualIP, type VirtualServerProgram } from '../../api/v1alpha1/index.ts';
import type { KubeClient } from '../../kube/client.ts';
import { LEASES, type Lease } from '../../kube/lease.ts';
import { Reflector, type Change, type ReflectorOptions } from '../../kube/reflector.ts';
import { nameOf, type KubeObject, type Log, type Resource } from '../../kube/types.ts';
import { childOf, type Sleep } from '../../kube/wait.ts';
import { DIRECTOR_LEASE_LABEL } from '../ownership/membership.ts';
import { OwnNode } from './own-node.ts';

export interface InputsOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch' | 'get'>;
  readonly node: string;
  /** Where the Leases of directors are. */
  readonly namespace: string;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  /** How the reflectors wait between two attempts. */
  readonly sleep?: Sleep;
  readonly listener: InputsListener;
  /** Whether a status of this node is what this agent wrote. */
  readonly recognises: (status: IPVSNodeStatus) => boolean;
}

/** Told of changes after the caches have them. */
export interface InputsListener {
  /** The IPVSNode, or whether there is such a kind. */
  node(): void;
  group(name: string): void;
  virtualIP(): void;
  lease(change: Change<Lease>): void;
  /** A slice of a VirtualServer's program; its key. */
  program(virtualServer: string): void;
  /** A cache is complete for the first time. `programs`: the group whose programs they are, or null. */
  synced(programs: string | null): void;
}

const BY_SERVER = 'virtualServer';
const BY_GROUP = 'directorGroup';

interface ProgramsOfGroup {
  readonly reflector: Reflector<VirtualServerProgram>;
  readonly stop: () => void;
}

export class Inputs {
  readonly #options: InputsOptions;
  readonly node: OwnNode;
  readonly groups: Reflector<DirectorGroup>;
  readonly virtualIPs: Reflector<VirtualIP>;
  readonly leases: Reflector<Lease>;
  readonly #programs = new Map<string, ProgramsOfGroup>();
  readonly #running: Promise<void>[] = [];
  #signal: AbortSignal | null = null;
  /** Whether what only directors read is read. */
  #directing = false;

  constructor(options: InputsOptions) {
    this.#options = options;
    const { listener, namespace } = options;
    this.node = new OwnNode({ ...options, onChange: () => listener.node(), onSynced: () => listener.synced(null) });
    this.groups = this.#make(RESOURCES.DirectorGroup, { onChange: ({ key }) => listener.group(key), onSynced: () => listener.synced(null) });
    this.virtualIPs = this.#make(RESOURCES.VirtualIP, {
      indexes: { [BY_GROUP]: (vip) => [vip.spec.directorGroup] }, onChange: () => listener.virtualIP(), onSynced: () => listener.synced(null),
    });
    this.leases = this.#make(LEASES, {
      namespace, labelSelector: `${DIRECTOR_LEASE_LABEL.name}=${DIRECTOR_LEASE_LABEL.value}`,
      onChange: (change) => listener.lease(change), onSynced: () => listener.synced(null),
    });
  }

  /** Resolves when the signal aborts and every reflector has ended. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    this.#running.push(this.node.run(signal));
    for (let i = 0; i < this.#running.length; i++) await this.#running[i];
  }

  /** Watches what a director of these groups reads, and the programs of no other. To be called after run(). */
  follow(groups: ReadonlySet<string>): void {
    if (groups.size > 0 && !this.#directing) {
      this.#directing = true;
      for (const reflector of [this.groups, this.virtualIPs, this.leases]) this.#running.push(reflector.run(this.#signal!));
    }
    for (const [name, { stop }] of this.#programs) {
      if (groups.has(name)) continue;
      stop();
      this.#programs.delete(name);
    }
    for (const name of groups) if (!this.#programs.has(name)) this.#watch(name);
  }

  /** The API server can be reached again: whatever happened meanwhile is asked for now. */
  reopen(): void {
    const programs = [...this.#programs.values()].map((p) => p.reflector);
    for (const cache of [this.leases, this.virtualIPs, this.node, this.groups, ...programs]) cache.reopen();
  }

  /** The objects of one VirtualServer's program. */
  slicesOf(virtualServer: string): VirtualServerProgram[] {
    return [...this.#programs.values()].flatMap(({ reflector }) => [...reflector.store.by(BY_SERVER, virtualServer)]);
  }

  /** VirtualServers that have a program in a group, readable or not. */
  ownersIn(group: string): Set<string> {
    const reflector = this.#programs.get(group)?.reflector;
    const owners = new Set([...reflector?.store.values() ?? []].map(ownerOf));
    // A slice is named after its VirtualServer, whose name has no dot.
    for (const key of reflector?.badObjects.keys() ?? []) owners.add(key.split('.', 1)[0]!);
    return owners;
  }

  virtualIPsOf(group: string): readonly VirtualIP[] { return this.virtualIPs.store.by(BY_GROUP, group); }

  programsSynced(group: string): boolean { return this.#programs.get(group)?.reflector.synced ?? false; }

  /** Whether everything that this node is told was read once. */
  get synced(): boolean {
    const director = [this.groups, this.virtualIPs, this.leases, ...[...this.#programs.values()].map((p) => p.reflector)];
    return this.node.synced && (!this.#directing || director.every((r) => r.synced));
  }

  /** For metrics and health: every reflector with the plural of its kind. */
  get reflectors(): readonly NamedReflector[] {
    const node = { resource: nameOf(RESOURCES.IPVSNode), reflector: this.node };
    if (!this.#directing) return [node];
    return [
      node, { resource: nameOf(RESOURCES.DirectorGroup), reflector: this.groups },
      { resource: nameOf(RESOURCES.VirtualIP), reflector: this.virtualIPs }, { resource: nameOf(LEASES), reflector: this.leases },
      ...[...this.#programs.values()].map(({ reflector }) => ({ resource: nameOf(RESOURCES.VirtualServerProgram), reflector })),
    ];
  }

  #watch(group: string): void {
    const { listener } = this.#options;
    const { controller, detach } = childOf(this.#signal!);
    const alive = (): boolean => this.#programs.get(group)?.reflector === reflector;
    const reflector: Reflector<VirtualServerProgram> = this.#make(RESOURCES.VirtualServerProgram, {
      fieldSelector: `spec.directorGroup=${group}`, indexes: { [BY_SERVER]: (program) => [ownerOf(program)] },
      onChange: ({ object }) => { if (alive()) listener.program(ownerOf(object)); },
      onSynced: () => { if (alive()) listener.synced(group); },
    });
    this.#programs.set(group, { reflector, stop: () => controller.abort() });
    this.#running.push(reflector.run(controller.signal).finally(detach));
  }

  #make<T extends KubeObject>(resource: Resource<T>, rest: OwnOptions<T>): Reflector<T> {
    const { client, log, now, random, sleep } = this.#options;
    return new Reflector<T>({ client, resource, log, now, random, ...(sleep && { sleep }), ...rest });
  }
}

interface NamedReflector {
  readonly resource: string;
  readonly reflector: Pick<Reflector<KubeObject>, 'stats' | 'synced' | 'badObjects'> & { readonly store: { readonly size: number } };
}

/** What each reflector has for itself. */
type OwnOptions<T extends KubeObject> = Pick<
  ReflectorOptions<T>,
  'namespace' | 'fieldSelector' | 'labelSelector' | 'indexes' | 'trim' | 'onChange' | 'onKindMissing'
> & { onSynced: () => void };

/** `namespace/name` of the VirtualServer. */
function ownerOf({ metadata: { namespace }, spec }: VirtualServerProgram): string {
  return `${namespace}/${spec.virtualServer.name}`;
}
