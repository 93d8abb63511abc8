// The cluster bench inside a guest: takes the rows it is told, one after the other, and leaves the numbers in its folder's results.json after
// each. It judges nothing.
//   node test/bench/cluster/guest.ts QUICK ROW ...       QUICK: true or false

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { scenario, type Lab, type Scenario, type ScenarioSpec } from '../../lab/lab.ts';
import { buildManagement, managementServer, removeManagement } from '../../lab/management.ts';
import { prepareGuest } from '../../lab/prepare-guest.ts';
import { runScenario } from '../../lab/run-scenario.ts';
import type { Topology } from '../../lab/topology.ts';
import { REALS, type Results } from './measures.ts';
import { agentMemory, controllerMemory } from './memory.ts';
import { applySample, connectionSamples, small, startReal } from './real.ts';
import { nodeAddress, NETWORK } from './workload.ts';
import { writesSample } from './writes.ts';

prepareGuest();
for (const module of ['ip_vs', 'ip_vs_rr', 'dummy']) execFileSync('modprobe', [module]);
const [quickly = 'false', ...chosen] = process.argv.slice(2);
const quick = quickly === 'true';
const rows = new Set(chosen.map(Number));
const folder = join(process.env['LAB_WORK']!, process.env['LAB_NAME']!);

const CONNECTIONS = quick ? 25 : 60;
const CHURN_MS = quick ? 15_000 : 30_000;
const MEMORY_SAMPLES = quick ? 1 : 2;
const DIRECTORS = quick ? 3 : 10;

const results: { -readonly [K in keyof Results]: Results[K] } = { kernel: `${readFileSync('/proc/sys/kernel/ostype', 'utf8').trim()} ${release()}`, node: process.version, pipeline: {} };

async function take(name: string, topology: Topology, what: (lab: Lab) => Promise<Partial<Results>>): Promise<void> {
  const log = (line: string): void => { process.stdout.write(`${(performance.now() / 1000).toFixed(1).padStart(6)}  ${line}\n`); };
  const spec: ScenarioSpec = { name, about: name, topology, timeoutSeconds: 900, run: async (lab) => { Object.assign(results, await what(lab)); } };
  const { error } = await runScenario(scenario(spec) as Scenario, log, 1);
  // Its network is beside the topology, and the scenario knows nothing of it.
  await removeManagement(topology);
  if (error !== null) throw new Error(error);
  save();
}

function save(): void { writeFileSync(join(folder, 'results.json'), JSON.stringify(results)); }

const nothing: Topology = { name: 'nothing', bridges: [], hosts: {} };

/** Directors in one LAN, which has the VIPs too. */
function directors(count: number): Topology {
  const names = Array.from({ length: count }, (_, n) => `dir${n + 1}`);
  return { name: 'directors', bridges: ['lan'], hosts: Object.fromEntries(names.map((name, n) => [name, { links: { e0: { bridge: 'lan', addresses: [`${nodeAddress(n)}/${NETWORK.prefix}`] } } }])) };
}

async function onDirectors<T>(lab: Lab, work: (where: { readonly hosts: readonly string[]; readonly address: string }) => Promise<T>): Promise<T> {
  await buildManagement(lab.topology, lab.signal);
  return work({ hosts: Object.keys(lab.topology.hosts), address: managementServer });
}

/** LAB_PROF=real: profiles of the agents in rows 3 and 4, below the guest's folder, which then stays. */
const profiling = (): string[] => ['--cpu-prof', `--cpu-prof-dir=${folder}/profiles`];
if (rows.has(6)) {
  await take('agents-1', directors(MEMORY_SAMPLES), (lab) => onDirectors(lab, async (where) => ({ idleAgents: await agentMemory(lab, { services: 1, reals: REALS, ...where }) })));
  if (!rows.has(5)) await take('agents-1000', directors(MEMORY_SAMPLES), (lab) => onDirectors(lab, async (where) => ({ loadedAgents: await agentMemory(lab, { services: 1_000, reals: REALS, ...where }) })));
}
if (rows.has(7)) {
  await take('controller', nothing, async (lab) => {
    const controllers = [];
    for (let i = 0; i < MEMORY_SAMPLES; i++) controllers.push(await controllerMemory(lab, 1_000, 100));
    return { controllers };
  });
}
if (rows.has(3) || rows.has(4)) {
  await take('real', small, async (lab) => {
    const bed = await startReal(lab, process.env['LAB_PROF'] === 'real' ? profiling() : []);
    if (rows.has(3)) results.connections = await connectionSamples(bed, CONNECTIONS);
    save();
    const sample = rows.has(4) ? { apply: await applySample(bed, quick ? 400 : 1_000, REALS) } : {};
    if (process.env['LAB_PROF'] === 'real') for (const agent of bed.agents) await agent.kill();
    return sample;
  });
}
if (rows.has(5)) {
  await take('writes', directors(DIRECTORS), (lab) => onDirectors(lab, async (where) => {
    const writes = await writesSample(lab, { services: 1_000, reals: REALS, ...where, idleMs: CHURN_MS, churnMs: CHURN_MS });
    // The same processes in the same state.
    return { writes, loadedAgents: writes.agents };
  }));
}
process.exit(0);
