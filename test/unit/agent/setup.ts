/** What the tests of the agent start from: a node, programs, desired states. Builders only; no assertion. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Agent, type AgentOptions } from '../../../src/agent/agent.ts';
import { desired } from '../../../src/agent/desired.ts';
import { indexFacts, type NodeFacts, type NodeIndex } from '../../../src/agent/facts.ts';
import { emptyLedger, type Ledger } from '../../../src/agent/ledger.ts';
import { observeNode } from '../../../src/agent/observe.ts';
import { plan, type Plan } from '../../../src/agent/plan.ts';
import { StateFolder } from '../../../src/agent/state-folder.ts';
import { joinNeeds, joinServices, type Fragment, type NodeState } from '../../../src/agent/state.ts';
import type { GroupSettings, Program, ProgramService, ProgramSpec } from '../../../src/api/v1alpha1/program.ts';
import { familyOf } from '../../../src/ip/ip.ts';
import type { Destination, Service } from '../../../src/kernel/ipvs/types.ts';
import { FakeKernel } from '../fake-kernel.ts';

/** This node: 10.0.1.11 and fd00:1::11 on e0, 10.0.2.11 on e1. */
export function makeKernel(): FakeKernel {
  const kernel = new FakeKernel();
  kernel.net.addLink({ name: 'e0', mac: '02:00:00:00:01:11' });
  kernel.net.addLink({ name: 'e1', mac: '02:00:00:00:02:11' });
  kernel.net.address('e0', '10.0.1.11', 24);
  kernel.net.address('e1', '10.0.2.11', 24);
  kernel.net.address('e0', 'fd00:1::11', 64);
  kernel.net.address('e0', 'fe80::11', 64);
  return kernel;
}

export interface ProgramFields extends Partial<Omit<ProgramSpec, 'addresses' | 'services' | 'scheduler'>> {
  owner?: string;
  vips?: readonly string[];
  /** `ip|port|weight|`; or an address alone, with port 80 and weight 1. */
  realServers?: readonly string[];
  port?: number;
  protocol?: 'TCP' | 'UDP' | 'SCTP';
  services?: readonly ProgramService[];
  scheduler?: Partial<ProgramSpec['scheduler']>;
}

export function program(fields: ProgramFields = {}): Program {
  const { owner = 'default/shop', vips = ['10.0.1.200'], realServers = ['10.0.1.21', '10.0.1.22'], port = 80, protocol = 'TCP', services, scheduler, ...rest } = fields;
  const mode = fields.mode ?? 'NAT';
  const list = realServers.map((r) => (r.includes('|') ? r : `${r}|${port}|1|`));
  return {
    owner,
    spec: {
      directorGroup: '', contentHash: '', mode, sourceAddress: 'Preserve',
      tunnel: mode === 'TUN' ? { encapsulation: 'IPIP', port: 0, checksum: 'None' } : null,
      persistence: null, connectionLimits: { upper: 0, lower: 0 }, drainTimeoutSeconds: 60,
      ...rest,
      addresses: vips.map((address) => ({ address, family: familyOf(address)! })),
      scheduler: { name: 'rr', fallback: false, portAware: false, onePacket: false, ...scheduler },
      services: services ?? [{ ports: [{ name: '', protocol, port, endPort: port }], mark: 0, realServers: list }],
    },
  };
}

export function group(fields: Partial<GroupSettings> = {}): GroupSettings {
  return { name: 'edge', nodeSelector: null, interface: { match: 'SubnetOf' }, timeouts: null, connectionSync: null, ...fields };
}

export function service(fields: Partial<Service> = {}): Service {
  const family = fields.family ?? 'IPv4';
  return {
    family, protocol: 'TCP', address: '10.0.1.200', port: 80, fwmark: 0, scheduler: 'rr', flags: 0, timeoutSeconds: 0,
    prefixLength: family === 'IPv4' ? 32 : 128, engine: '', ...fields,
  };
}

export function destination(address: string, fields: Partial<Destination> = {}): Destination {
  return { family: familyOf(address)!, address, port: 80, method: 'masq', weight: 1, upper: 0, lower: 0, tunnelType: 'ipip', tunnelPort: 0, tunnelFlags: 0, ...fields };
}

export function facts(kernel: FakeKernel, fields: Partial<NodeFacts> = {}): NodeIndex {
  const { links, addresses } = kernel.net.observe();
  return indexFacts({
    name: 'n1', role: 'director', labels: {}, links, addresses, ours: new Set(), capabilities: kernel.ipvs.capabilities(), netfilter: kernel.net.backend, ...fields,
  });
}

export function fragments(kernel: FakeKernel, programs: readonly Program[], fields: Partial<NodeFacts> = {}, groups: readonly GroupSettings[] = []): Fragment[] {
  const index = facts(kernel, fields);
  return programs.map((p) => desired(p, groups.find((g) => g.name === p.spec.directorGroup) ?? null, index));
}

export function state(list: readonly Fragment[], groups: readonly GroupSettings[] = []): NodeState {
  return { services: joinServices(list).services, shared: joinNeeds(list, groups) };
}

export interface PlanFields {
  ledger?: Ledger;
  drains?: Plan['drainsAfter'];
  now?: number;
  refused?: ReadonlyMap<string, ReadonlySet<string>>;
  conflicts?: ReadonlyMap<string, string>;
  additive?: boolean;
}

/** A full plan over everything that the fake kernel reports. */
export async function fullPlan(kernel: FakeKernel, wanted: NodeState, { ledger = emptyLedger(false), drains = {}, now = 0, refused = new Map(), conflicts = new Map(), additive = false }: PlanFields = {}): Promise<Plan> {
  const node = observeNode(kernel, wanted.shared, ledger, kernel.net.observe());
  return plan({ desired: wanted, observed: { ipvs: await kernel.ipvs.readAll(), node }, ledger, drains, now, scope: null, noneScheduler: true, refused, conflicts, additive });
}

export const silent = pino({ level: 'silent' });

/** A fresh folder, removed when the test's callback is through. */
export function tempFolder(t: { after(fn: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'ipvs-operator-test-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A node with its state folder, and agents that live and die on it. */
export class TestNode {
  readonly kernel: FakeKernel;
  readonly path: string;
  now = 1_000_000;
  #folder: StateFolder | null = null;
  options: Partial<AgentOptions>;

  constructor(t: { after(fn: () => void): void }, options: Partial<AgentOptions> = {}, kernel: FakeKernel = makeKernel()) {
    this.kernel = kernel;
    this.path = tempFolder(t);
    this.options = options;
    t.after(() => this.#folder?.close());
  }

  get folder(): StateFolder { return this.#folder!; }

  /** A new process on the same state folder and kernel. */
  start(programs: readonly Program[], groups: readonly GroupSettings[] = []): Agent {
    this.#folder?.close();
    this.#folder = StateFolder.open(this.path);
    this.kernel.revive();
    const agent = new Agent(this.kernel, this.#folder, { node: 'n1', role: 'director', labels: {}, clock: () => this.now, log: silent, ...this.options });
    agent.update(new Map(programs.map((p) => [p.owner, p])), new Map(groups.map((g) => [g.name, g])));
    return agent;
  }
}

/** What an update of one program looks like. */
export function only(p: Program): Map<string, Program> { return new Map([[p.owner, p]]); }
