// The interface between a scenario and the lab: what a scenario declares and what `lab` can do for it.
// Types and `scenario()` only; the host side may import it. How it works is in build.ts, host.ts, probes.ts, agent.ts.
//
//   export const dr = scenario({
//     name: 'dr-basic', about: 'DR spreads connections over three real servers', topology: lan,
//     run: async (lab) => {
//       await lab.serve('rs1', { tcp: [80] });
//       await lab.host('dir1').run('ipvsadm -A -t 10.0.1.200:80 -s rr');
//       const answers = await lab.get('c1', { address: '10.0.1.200', port: 80, count: 30 });
//       assert.deepEqual(answers.by, { rs1: 10, rs2: 10, rs3: 10 });
//     },
//   });

import type { Cluster, ClusterOptions } from '../cluster/server.ts';
import type { Topology } from './topology.ts';

export interface ScenarioSpec {
  /** Unique; kebab-case; also the name of the log: .lab/NAME.log. */
  readonly name: string;
  /** One sentence: what is true when this passes. */
  readonly about: string;
  readonly topology: Topology;
  /**
   * `nft` runs on the QEMU backend (Debian's kernel), everything else on User-Mode Linux. `cluster` may call `lab.cluster()`:
   * its guest is larger, and the Kubernetes programs are built before. `long` is left to `npm run test:long`. Others are for selection.
   */
  readonly tags?: readonly string[];
  /** What its guest needs at most, in MB of /dev/shm. Default 512, with the tag `cluster` 1536. */
  readonly memoryMegabytes?: number;
  /** Default 120, times the slowness of the guest (suite.ts). Includes building the topology. */
  readonly timeoutSeconds?: number;
  /** Passes when it resolves. Only the generated kernel scenarios resolve to a count of the tests inside. */
  readonly run: (lab: Lab) => Promise<TestCount | void>;
}

/** How many tests a scenario stands for, when it is more than itself. */
export interface TestCount { readonly passed: number; readonly failed: number; readonly skipped: number }

export interface Scenario extends ScenarioSpec {
  readonly kind: 'scenario';
}

/** Declares a scenario; export what it returns from a module in test/lab/scenarios. */
export function scenario(spec: ScenarioSpec): Scenario {
  return { kind: 'scenario', ...spec };
}

export interface Lab {
  readonly topology: Topology;
  /** Aborted when the scenario times out or ends. */
  readonly signal: AbortSignal;
  /** A host of the topology; throws on an unknown name. */
  host(name: string): Host;
  /** One line in the scenario's log. */
  log(line: string): void;

  /** Listens on a host until it is stopped or the scenario ends. Resolves when all sockets are bound; rejects when one cannot be. */
  serve(host: string, options: ServeOptions): Promise<Server>;
  /** A server of one protocol that misbehaves on command, for health checks to find. Begins well. */
  faulty(host: string, options: FaultyOptions): Promise<Faulty>;
  /** Opens `count` connections (or sends `count` datagrams) one after the other, or `parallel` at a time; never rejects for failed ones. */
  get(host: string, options: GetOptions): Promise<Answers>;
  /** Opens connections and keeps echoing numbered lines on them until closed. Rejects when one cannot be opened. */
  hold(host: string, options: HoldOptions): Promise<HeldConnections>;
  /** Sends one probe every `everyMs` until stopped: what a client sees of an outage. */
  stream(host: string, options: StreamOptions): Promise<ProbeStream>;
  /** Moves bytes over one TCP connection; `stalled` when nothing moved for `stallMs`: finds MTU black holes. */
  big(host: string, options: BigOptions): Promise<BigResult>;
  /** Sends one broadcast ARP request and lists, sorted, every MAC address that answered within `waitMs` (default 500). */
  arp(host: string, address: string, options?: NeighbourOptions): Promise<string[]>;
  /** The same with one multicast neighbour solicitation for an IPv6 address. */
  nd(host: string, address: string, options?: NeighbourOptions): Promise<string[]>;

  /** Starts the product on a host: `ipvs-operator standalone` over a fresh folder with these manifests. */
  agent(host: string, options: AgentOptions): Promise<Agent>;
  /** Runs any sub-command of the product on a host, for example `['plan', '--manifests', agent.manifests]`. */
  cli(host: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;

  /** Starts a sub-command of the product that runs until it is stopped; `host` null: in the root namespace, beside the API server. */
  daemon(host: string | null, args: readonly string[], options?: DaemonOptions): Promise<Daemon>;

  /**
   * A real API server in the root namespace, reached from every host through a NIC `m0` of its own. Started, and `m0` made,
   * by the first call, which takes about 15 s; options belong to that one. Only in scenarios tagged `cluster`.
   */
  cluster(options?: LabClusterOptions): Promise<LabCluster>;

  /** Everything about a host that the product must leave alone, as text: for byte-identical comparisons. */
  snapshot(host: string, options?: SnapshotOptions): Promise<string>;
  /**
   * Tries again every 100 ms, less often where `fn` itself takes long, until it neither throws nor returns false. Rejects with its last error and `what`.
   * `withinMs` on a free CPU: it is multiplied by the slowness of the guest (suite.ts). At least three tries.
   */
  eventually<T>(fn: () => Promise<T> | T, options: { withinMs: number; what: string }): Promise<T>;
  sleep(milliseconds: number): Promise<void>;
}

export interface DaemonOptions {
  /** What the arguments are given to, default the product; must become the product by exec, as `setpriv ...` does. */
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** A process of the product; started when it is made. */
export interface Daemon {
  readonly running: boolean;
  /** Process id, while running. */
  readonly pid: number | null;
  /** Everything it printed, over all its starts. */
  readonly log: string;
  start(): Promise<void>;
  /** SIGTERM; resolves to the exit code, null when it was not running. */
  stop(): Promise<number | null>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

export interface Host {
  readonly name: string;
  /** Runs a command line with sh in this host; never rejects because of its exit code. */
  run(command: string, options?: RunOptions): Promise<RunResult>;
  /** Like run, but rejects (with both outputs) when the exit code is not 0; resolves to stdout. */
  sh(script: string, options?: RunOptions): Promise<string>;
  /** Reads a sysctl (`net.ipv4.ip_forward`); null when it does not exist. Dots in interface names need slashes as separators. */
  sysctl(path: string): Promise<string | null>;
  /** Writes a sysctl. */
  sysctl(path: string, value: string | number): Promise<void>;
  /** `ipvsadm -Ln`. */
  ipvs(): Promise<string>;
  /** Lines of `ipvsadm -Sn`, sorted. */
  ipvsSave(): Promise<string[]>;
  /** Every address as `e0 10.0.1.11/24`, both families, in kernel order; link-local IPv6 left out. */
  addresses(): Promise<string[]>;
  /** Forgets all neighbours, ARP and ND. */
  flushNeighbours(): Promise<void>;
  /** MAC address of a link, `e0` unless told. */
  mac(link?: string): string;
  /** Absolute path below a folder that belongs to this host in this scenario (RAM, gone afterwards). */
  path(name: string): string;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Default two minutes, times the slowness of the guest (suite.ts); then the process group is killed and the promise rejects. */
  readonly timeoutMs?: number;
}
export interface RunResult { readonly code: number; readonly stdout: string; readonly stderr: string }

export interface ServeOptions {
  /** What the server calls itself in answers; the host's name unless told. */
  readonly name?: string;
  /** TCP: it calls itself by the address it was reached at, for a host with hundreds of them. */
  readonly byAddress?: boolean;
  readonly tcp?: readonly number[];
  readonly udp?: readonly number[];
  /** Addresses to bind, default all. UDP of a DR or TUN real server must bind the VIP, or it answers from its own address. */
  readonly bind?: readonly string[];
}

export interface Server {
  /** Stops as a process that exits: nobody listens any more, and its connections are closed. */
  stop(): Promise<void>;
}

export interface FaultyOptions {
  /** GRPC and GRPCS: grpc.health.v1, without and with TLS. UDP: sends back what it gets. DNS: NOERROR. */
  readonly protocol: 'HTTP' | 'HTTPS' | 'GRPC' | 'GRPCS' | 'UDP' | 'DNS';
  readonly port: number;
}

/**
 * `refuses`: nobody listens. `hangs`: accepts, says nothing. `wrong`: answers that it is not well. `late`: answers well after 2.5 s. `half-closes`: closes its
 * half at once; DNS: half an answer. `flaps`: well every other time, hangs in between.
 */
export type Mood = 'well' | 'refuses' | 'hangs' | 'wrong' | 'late' | 'half-closes' | 'flaps';

export interface Faulty {
  /** Resolves when it is so. */
  mood(mood: Mood): Promise<void>;
  /** Connections, or datagrams, since the mood was set. */
  asked(): Promise<number>;
}

export interface GetOptions {
  readonly address: string;
  readonly port: number;
  /** Default 1. */
  readonly count?: number;
  /** Default 1: one after the other. */
  readonly parallel?: number;
  readonly protocol?: 'tcp' | 'udp';
  /** Per connection or datagram; default 5000: a guest that has no CPU for a second or two has lost nothing. Say less where nobody is to answer. */
  readonly timeoutMs?: number;
  readonly sourceAddress?: string;
  /** Only with count 1 or UDP. */
  readonly localPort?: number;
}
export interface Answers {
  /** Answers by server name. */
  readonly by: Record<string, number>;
  /** Failures by code: TIMEOUT, ECONNREFUSED, ECONNRESET, EHOSTUNREACH ... */
  readonly errors: Record<string, number>;
  /** Client addresses that servers saw, sorted, without ports. */
  readonly sources: string[];
  /** Who answered each probe, in order; an error code where nobody did. */
  readonly sequence: string[];
}

export interface HoldOptions {
  readonly address: string;
  readonly port: number;
  readonly count: number;
  /** Time between two lines on one connection. Default 10 ms times `count`, at least 200 ms. */
  readonly everyMs?: number;
  /** How many are opened at a time, default 20. One: for schedulers that count, and count only those that are established. */
  readonly parallel?: number;
  readonly sourceAddress?: string;
}
export interface HeldConnections {
  /** Sends one more line on each and waits up to fifteen seconds: how many still answer, and why the others do not: ECONNRESET, closed, `no answer` ... */
  check(): Promise<{ alive: number; broken: number; maxGapMs: number; by: Record<string, number>; reasons: Record<string, number> }>;
  close(): Promise<void>;
}

export interface StreamOptions {
  readonly address: string;
  readonly port: number;
  readonly protocol?: 'tcp' | 'udp';
  /** Default 50. As many as this means by the clock: a timer that comes late makes up for it, up to half a second. */
  readonly everyMs?: number;
  /** Per probe; default 500. */
  readonly timeoutMs?: number;
}
export interface StreamReport {
  readonly sent: number;
  readonly ok: number;
  readonly lost: number;
  /** Longest time between two answered probes. */
  readonly maxGapMs: number;
  readonly by: Record<string, number>;
  readonly errors: Record<string, number>;
  /** Probes started per second, as it really was. */
  readonly perSecond: number;
  /** When each server answered last, in milliseconds since the epoch. */
  readonly lastBy: Record<string, number>;
}
export interface ProbeStream {
  report(): Promise<StreamReport>;
  /** Waits for open probes, ends the stream, reports. */
  stop(): Promise<StreamReport>;
}

export interface BigOptions {
  readonly address: string;
  readonly port: number;
  readonly bytes: number;
  /** As the client sees it. */
  readonly direction: 'download' | 'upload';
  /** Default 10,000. Say less where it is to stall. */
  readonly stallMs?: number;
}
export interface BigResult { readonly bytes: number; readonly milliseconds: number; readonly stalled: boolean; readonly by: string }

export interface NeighbourOptions { readonly link?: string; readonly waitMs?: number }

export interface AgentOptions {
  /** Files of the manifest folder by name. */
  readonly manifests: Readonly<Record<string, string>>;
  /** `--role`; left out when absent. */
  readonly role?: 'director' | 'real-server' | 'both' | 'auto';
  /** `--node`; the host's name unless told. */
  readonly node?: string;
  readonly args?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** false: prepare folders only, start() later. Default true. */
  readonly start?: boolean;
}
/** What the product writes to STATE/status.json; more fields than these are passed through. */
export interface AgentStatus {
  readonly settled: boolean;
  /** Counts up at each reconcile. */
  readonly sequence: number;
  /** Sequence of the last reconcile that changed something. */
  readonly lastChange: number;
  readonly [field: string]: unknown;
}
export interface Agent {
  readonly host: string;
  /** The manifest folder. */
  readonly manifests: string;
  /** The state folder. */
  readonly state: string;
  /** Writes a manifest file (atomically, by rename). */
  write(file: string, text: string): void;
  remove(file: string): void;
  /** Waits until the product has reconciled what was last written and has nothing left to do. Default two minutes, times the slowness of the guest: a busy machine is no failure. */
  settled(timeoutMs?: number): Promise<AgentStatus>;
  /** status.json; null before the first one is written. */
  status(): AgentStatus | null;
  /** SIGTERM, then waits for the exit; resolves to the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL, then waits for the exit. */
  kill(): Promise<void>;
  /** Starts it again with the same arguments. Rejects when it is running. */
  start(): Promise<void>;
  /** `standalone --cleanup` with the same folders. */
  cleanup(): Promise<RunResult>;
  readonly running: boolean;
  /** Process id, while running. */
  readonly pid: number | null;
  /** Everything it printed so far, all starts. */
  readonly log: string;
}

export interface SnapshotOptions {
  /** Keep only lines for which this is true; a line begins with its section: `address e0 ...`, `sysctl net.ipv4...`, `ipvs -A ...`. */
  readonly filter?: (line: string) => boolean;
}

export type LabClusterOptions = Pick<ClusterOptions, 'controllerManager' | 'users' | 'apiServerFlags'>;
/** See test/cluster/server.ts. Files that it writes are visible on every host under the same path. It ends with the scenario. */
export interface LabCluster extends Omit<Cluster, 'stop'> {
  /** A host's address on the management network 192.168.250.0/24, where the API server is .254. */
  addressOf(host: string): string;
  /** Cuts a host off from the API server; its other networks stay. */
  unplug(host: string): Promise<void>;
  plug(host: string): Promise<void>;
}
