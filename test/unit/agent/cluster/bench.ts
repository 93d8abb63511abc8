/**
 * Agents of a cluster as processes would be: real caches over real sockets to a fake API server, the real agent, loop, claims and reports over a
 * fake kernel, and a network on which the addresses of all fake kernels answer. Time is real; Leases are short.
 */
import { createHash } from 'node:crypto';
import { Agent } from '../../../../src/agent/agent.ts';
import { ClusterHost } from '../../../../src/agent/cluster/host.ts';
import { Loop } from '../../../../src/agent/loop.ts';
import { StateFolder } from '../../../../src/agent/state-folder.ts';
import { RESOURCES, sliceProgram, virtualIPName, type DirectorGroup, type IPVSNode, type IPVSNodeBind, type VirtualIP, type VirtualServerProgram } from '../../../../src/api/v1alpha1/index.ts';
import type { Program } from '../../../../src/api/v1alpha1/program.ts';
import { familyOf } from '../../../../src/ip/ip.ts';
import type { ProbeOutcome } from '../../../../src/kernel/net/probe.ts';
import { createClient, type KubeClient, type WatchEvent } from '../../../../src/kube/client.ts';
import type { Happening } from '../../../../src/kube/events.ts';
import { collectionPath, type KubeObject, type Log, type Resource } from '../../../../src/kube/types.ts';
import { sleep } from '../../../../src/kube/wait.ts';
import type { FakeKernel } from '../../fake-kernel.ts';
import { connect, FakeServer } from '../../kube/fake-server.ts';
import { makeKernel, program, silent, tempFolder, type ProgramFields } from '../setup.ts';

interface TestContext { after(fn: () => void | Promise<void>): void }

const API = 'ipvs-operator.dev/v1alpha1';

/** The fake server knows no field selectors: what does not match is, for a watch, as good as deleted. */
function withFieldSelectors(client: KubeClient): KubeClient {
  const matches = (selector: string | undefined) => (object: unknown): boolean => {
    if (!selector) return true;
    const [path, value] = selector.split('=') as [string, string];
    return path.split('.').reduce<unknown>((o, key) => (o as Record<string, unknown> | undefined)?.[key], object) === value;
  };
  return {
    ...client,
    list: async (resource, options = {}) => {
      const list = await client.list(resource, options);
      return { ...list, items: list.items.filter(matches(options.fieldSelector)) };
    },
    watch: async function* (resource, options): AsyncGenerator<WatchEvent> {
      const match = matches(options.fieldSelector);
      for await (const event of client.watch(resource, options)) {
        yield event.type === 'BOOKMARK' || event.type === 'ERROR' || match(event.object) ? event : { ...event, type: 'DELETED' };
      }
    },
  };
}

/** What a node is connected to. */
export interface Surroundings {
  connect(): { readonly client: KubeClient; readonly close: () => void };
  /** Who answers for an address on the network. */
  answerFor(address: string, asker: BenchNode): ProbeOutcome;
  readonly log: Log;
}

/** Whether another of these nodes has an address on a NIC. */
export function neighbour(nodes: readonly BenchNode[], address: string, asker: BenchNode): ProbeOutcome {
  for (const node of nodes) {
    const answering = node.kernel.net.addresses.find((a) => a.address === address && node.kernel.net.links.some((l) => l.name === a.link && l.mac !== ''));
    if (node !== asker && answering) return { state: 'answered', mac: node.kernel.net.links.find((l) => l.name === answering.link)!.mac, says: 'holds' };
  }
  return { state: 'silent' };
}

/** One node: its kernel and its disk. */
export class BenchNode {
  readonly name: string;
  readonly kernel: FakeKernel;
  readonly path: string;
  readonly events: Happening[] = [];
  readonly #bench: Surroundings;
  #process: { readonly stop: () => Promise<void>; readonly host: ClusterHost; readonly agent: Agent } | null = null;
  /** Names of processes that the agent sees. */
  commands: readonly string[] = [];
  /** Added to the clock that files and binds go by. */
  later = 0;
  /** Added to the monotonic clock: time that passed without the process having its turn. */
  lost = 0;

  constructor(bench: Surroundings, t: TestContext, name: string, kernel: FakeKernel = makeKernel()) {
    this.#bench = bench;
    this.name = name;
    this.kernel = kernel;
    this.path = tempFolder(t);
    t.after(() => this.stop());
  }

  get host(): ClusterHost { return this.#process!.host; }
  get agent(): Agent { return this.#process!.agent; }

  /** A new process on this disk and kernel. */
  start({ patienceMs = 1_500, lingerMs = 600_000 } = {}): void {
    const folder = StateFolder.open(this.path);
    const { kernel, name } = this;
    kernel.revive();
    const stop = new AbortController();
    const now = () => performance.now() + this.lost;
    const clock = () => Date.now() + this.later;
    const agent = new Agent(kernel, folder, { node: name, role: 'auto', labels: {}, clock, log: silent, adoptMarked: true });
    const { client, close } = this.#bench.connect();
    const host = new ClusterHost({
      node: name, namespace: 'ipvs-system', client, agent, net: kernel.net, folder, log: this.#bench.log, clock, now, random: Math.random, version: '1.2.3', kernel: '6.1.0-fake', patienceMs, lingerMs,
      events: { record: (happening) => { this.events.push(happening); } }, readCommands: () => this.commands,
      // Attempts come after 0.1, 0.2, 0.4 s instead of eight times that: what is tested is that they come.
      sleep: (ms, signal) => sleep(ms / 8, signal),
      probe: async (vips, _links, { signal } = {}) => {
        await new Promise((resolve) => { setTimeout(resolve, 60); });
        signal?.throwIfAborted();
        return new Map(vips.map((v): [string, ProbeOutcome] => [v.address, this.#bench.answerFor(v.address, this)]));
      },
    });
    const loop = new Loop({ agent, net: kernel.net, log: silent, now, lookEveryMs: 200, fullEveryMs: 1_000, onReport: (report, error) => host.report(report, error) });
    let reconciling: Promise<void> | undefined;
    const running = host.run(stop.signal, () => {
      host.loop = loop;
      reconciling = loop.run(stop.signal);
    });
    this.#process = {
      host, agent,
      stop: async () => {
        stop.abort();
        await running;
        await reconciling;
        close();
        folder.close();
      },
    };
  }

  async stop(): Promise<void> {
    const process = this.#process;
    this.#process = null;
    await process?.stop();
  }

  /** Everything in the kernel goes, as with the power. */
  reboot(): void {
    this.kernel.ipvs.services.clear();
    for (const a of [...this.kernel.net.addresses]) if (a.protocol !== 0) this.kernel.net.removeAddress(a.link, a.address);
    for (const l of [...this.kernel.net.links]) if (l.kind !== '') this.kernel.net.removeLink(l.name);
  }

  has(address: string, link?: string): boolean { return this.kernel.net.addresses.some((a) => a.address === address && (link === undefined || a.link === link)); }
  services(): string[] { return [...this.kernel.ipvs.services.keys()].sort(); }
}

export class ClusterBench implements Surroundings {
  readonly server: FakeServer;
  readonly nodes: BenchNode[] = [];
  /** Who else is on the network: address to MAC. */
  readonly strangers = new Map<string, string>();
  readonly log = { debug: () => {}, info: () => {}, warn: (fields: object, message: string) => { this.warnings.push(`${message} ${JSON.stringify(fields)}`); }, error: (fields: object, message: string) => { this.warnings.push(`${message} ${JSON.stringify(fields)}`); } };
  readonly warnings: string[] = [];
  readonly #t: TestContext;
  #generation = 1;

  private constructor(t: TestContext, server: FakeServer) {
    this.#t = t;
    this.server = server;
  }

  /** With one director, `n1`, that was told of one program and has started. */
  static async startDirector(t: Parameters<typeof ClusterBench.start>[0]): Promise<{ readonly bench: ClusterBench; readonly n1: BenchNode }> {
    const bench = await ClusterBench.start(t);
    bench.group();
    bench.tell('n1');
    bench.program();
    const n1 = bench.node('n1');
    n1.start();
    return { bench, n1 };
  }

  static async start(t: TestContext): Promise<ClusterBench> {
    const server = await new FakeServer().start();
    t.after(() => server.close());
    return new ClusterBench(t, server);
  }

  node(name: string, kernel: FakeKernel = makeKernel()): BenchNode {
    const node = new BenchNode(this, this.#t, name, kernel);
    this.nodes.push(node);
    return node;
  }

  connect(): { client: KubeClient; close: () => void } {
    const transport = connect({ after: () => {} }, this.server, { requestTimeoutMs: 3_000 });
    return { client: withFieldSelectors(createClient(transport)), close: () => transport.close() };
  }

  /** Every request is refused, and what is open breaks, until the returned function is called. */
  away(): () => void {
    const fault = { on: () => true, times: Infinity, answer: (response: { destroy(): unknown }) => { response.destroy(); } };
    this.server.faults.push(fault);
    this.server.breakConnections();
    return () => { this.server.faults.splice(this.server.faults.indexOf(fault), 1); };
  }

  answerFor(address: string, asker: BenchNode): ProbeOutcome {
    const stranger = this.strangers.get(address);
    if (stranger !== undefined) return { state: 'answered', mac: stranger, says: 'holds' };
    return neighbour(this.nodes, address, asker);
  }

  /** Creates an object, or replaces all of it but its status. */
  put(resource: Resource, object: KubeObject): void {
    const { cluster } = this.server;
    const collection = collectionPath(resource);
    const old = cluster.all(collection).find((o) => o.metadata.name === object.metadata.name && o.metadata.namespace === object.metadata.namespace);
    const metadata = { ...object.metadata, generation: this.#generation++ };
    if (old) cluster.replace(collection, { ...object, metadata, ...(old.status !== undefined && { status: old.status }) } as KubeObject);
    else cluster.create(collection, { ...object, metadata });
  }

  drop(resource: Resource, key: string): void { this.server.cluster.delete(collectionPath(resource), key); }

  get<T>(resource: Resource, key: string): T { return this.server.cluster.get(collectionPath(resource), key) as unknown as T; }

  tell(node: string, spec: { directorGroups?: string[]; binds?: IPVSNodeBind[]; reservedAddresses?: string[] } = {}): void {
    const { directorGroups = ['edge'], binds = [], reservedAddresses = [] } = spec;
    this.put(RESOURCES.IPVSNode, { apiVersion: API, kind: 'IPVSNode', metadata: { name: node }, spec: { directorGroups, realServer: { binds }, reservedAddresses } } as IPVSNode);
  }

  group(name = 'edge', spec: Partial<DirectorGroup['spec']> = {}): void {
    this.put(RESOURCES.DirectorGroup, {
      apiVersion: API, kind: 'DirectorGroup', metadata: { name },
      spec: { interface: { match: 'SubnetOf' }, failover: { leaseDurationSeconds: 3, renewSeconds: 1 }, connectionSync: { enabled: false, syncId: 51 }, ...spec },
    } as DirectorGroup);
  }

  vip(address: string, directorGroup = 'edge'): void {
    this.put(RESOURCES.VirtualIP, {
      apiVersion: API, kind: 'VirtualIP', metadata: { name: virtualIPName(address) }, spec: { address, family: familyOf(address)!, poolRef: { name: 'public' }, directorGroup, claims: [] },
    } as VirtualIP);
  }

  vipStatus(address: string): NonNullable<VirtualIP['status']> { return this.get<VirtualIP>(RESOURCES.VirtualIP, virtualIPName(address)).status ?? {}; }
  nodeStatus(node: string): NonNullable<IPVSNode['status']> { return this.get<IPVSNode>(RESOURCES.IPVSNode, node).status ?? {}; }

  /** Writes the program of a VirtualServer, and the VirtualIPs of its addresses where there are none. Returns its hash. */
  program(fields: ProgramFields = {}): string {
    const p = hashed(program({ directorGroup: 'edge', ...fields }));
    for (const { address } of p.spec.addresses) if (!this.server.cluster.all(collectionPath(RESOURCES.VirtualIP)).some((o) => o.metadata.name === virtualIPName(address))) this.vip(address, p.spec.directorGroup);
    for (const object of this.slices(p)) this.put(RESOURCES.VirtualServerProgram, object as unknown as KubeObject);
    return p.spec.contentHash;
  }

  slices(p: Program): VirtualServerProgram[] { return sliceProgram(p, { uid: 'u', generation: 1 }); }
}

export function hashed(p: Program): Program {
  return { ...p, spec: { ...p.spec, contentHash: createHash('sha256').update(JSON.stringify(p.spec)).digest('hex').slice(0, 16) } };
}

/** Resolves when `is` holds; rejects with `what` and what `is` said last after a while: far longer than it takes, also where twenty others want the CPU. */
export async function until(what: string, is: () => boolean, ms = 60_000): Promise<void> {
  const deadline = performance.now() + ms;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      if (is()) return;
      last = 'it does not hold';
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
  throw new Error(`${what}: not within ${ms} ms`, { cause: last });
}

/** Lets time pass in which nothing is to happen. */
export async function quiet(ms: number): Promise<void> {
  await new Promise((resolve) => { setTimeout(resolve, ms); });
}
