// One sample: `node test/bench/sample.ts NAME ARGUMENTS` runs in a fresh network namespace, in a fresh process (first-run
// compilation included, process start not), and prints one line of JSON with `ms` and whatever else it found out.
// What it measures is the product's own code; what it measured is checked against the kernel before it says so.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { planIpvs, type IpvsPlan } from '../../src/agent/plan-ipvs.ts';
import type { ServiceEntry } from '../../src/agent/ledger.ts';
import type { DesiredService } from '../../src/agent/state.ts';
import { openIpvs } from '../../src/kernel/ipvs/client.ts';
import type { IpvsClient, IpvsObservation, IpvsWork } from '../../src/kernel/ipvs/contract.ts';
import { CLONE_NEWNET, unshare } from '../../src/kernel/netlink/libc.ts';
import { changeSamples } from './change.ts';
import { spread } from './statistics.ts';
import { desiredTable, ledgerOf, type Size } from './workload.ts';

type Table = ReadonlyMap<string, DesiredService>;
export type Sample = Readonly<Record<string, number>> & { readonly ms: number };

const [name = '', first = '0', second = '0', scheduler = 'rr', option = ''] = process.argv.slice(2);
const size: Size = { services: Number(first), reals: Number(second) };

function planFor(desired: Table, observed: IpvsObservation, ledger: Record<string, ServiceEntry>, noneScheduler = true): IpvsPlan {
  return planIpvs({ desired, observed, ledger, fresh: false, drains: {}, now: Date.now(), scope: null, noneScheduler });
}

/** In the order of agent/plan.ts. */
function operationsOf(p: IpvsPlan): IpvsWork[] {
  return [...p.create, ...p.addDestinations, ...p.setServices, ...p.setDestinations, ...p.delDestinations, ...p.setSchedulers, ...p.delServices];
}

/** What the sample itself left behind must not be collected while the product is timed. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/** From what is in the kernel to what is wanted: read, plan, apply. Milliseconds. */
async function reconcile(client: IpvsClient, desired: Table, ledger: Record<string, ServiceEntry>, noneScheduler = true): Promise<number> {
  collectGarbage();
  const start = performance.now();
  const operations = operationsOf(planFor(desired, await client.readAll(), ledger, noneScheduler));
  const failures = await client.apply(operations);
  const ms = performance.now() - start;
  if (failures.length > 0) throw new Error(`${failures.length} operations failed, first: ${failures[0]!.error.message}`);
  await verify(client, desired);
  return ms;
}

/** Throws unless the kernel has exactly this: by the product's reading and diff, and by counting /proc/net/ip_vs. */
async function verify(client: IpvsClient, desired: Table): Promise<void> {
  const left = operationsOf(planFor(desired, await client.readAll(), ledgerOf(desired)));
  if (left.length > 0) throw new Error(`${left.length} differences after apply, first: ${JSON.stringify(left[0])}`);
  let reals = 0;
  for (const { destinations } of desired.values()) reals += destinations.length;
  verifyCount(desired.size, reals);
}

function verifyCount(services: number, reals: number): void {
  const table = readFileSync(`/proc/net/ip_vs`, 'latin1');
  const found = { services: table.match(/^(TCP|UDP|FWM) /gm)?.length ?? 0, reals: table.match(/^ {2}-> [0-9A-F]{8}:/gm)?.length ?? 0 };
  if (found.services !== services || found.reals !== reals) throw new Error(`/proc/net/ip_vs has ${found.services} services and ${found.reals} real servers instead of ${services} and ${reals}`);
}

/** An empty namespace for what follows in this process: with `lo` up, or the kernel refuses every IPv4 destination. */
function enterFreshNamespace(): void {
  unshare(CLONE_NEWNET);
  const up = spawnSync('ip', ['link', 'set', 'lo', 'up']);
  if (up.status !== 0) throw new Error(`ip link set lo up: ${String(up.stderr)}`);
}

async function withClient<T>(use: (client: IpvsClient) => Promise<T>): Promise<T> {
  const client = openIpvs();
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

const SAMPLES: Record<string, () => Promise<Sample>> = {
  /** SERVICES REALS SCHEDULER none|plain: from an empty table. */
  apply: async () => {
    const desired = desiredTable(size, scheduler);
    return withClient(async (client) => ({ ms: await reconcile(client, desired, {}, option === 'none') }));
  },

  /** SERVICES REALS SCHEDULER FILE: ipvsadm -R from a file, fork and exec included. */
  restore: async () => {
    const file = openSync(option, 'r');
    const start = performance.now();
    const { status, stderr } = spawnSync('ipvsadm', ['-R'], { stdio: [file, 'ignore', 'pipe'] });
    const ms = performance.now() - start;
    if (status !== 0) throw new Error(`ipvsadm -R: exit ${status}: ${String(stderr).slice(0, 500)}`);
    verifyCount(size.services, size.services * size.reals);
    return { ms };
  },

  /** SERVICES REALS SCHEDULER: every real server by another one, after the first load of the same process and namespace. */
  replace: async () => {
    const before = desiredTable(size, scheduler);
    const after = desiredTable(size, scheduler, true);
    const cold = await withClient(async (client) => {
      const times = { load: await reconcile(client, before, {}), replace: await reconcile(client, after, ledgerOf(before)) };
      // While two namespaces have services, /proc/net/ip_vs of either shows too few.
      await client.apply([...after.values()].map(({ service }) => ({ kind: 'delService', service })));
      return times;
    });
    enterFreshNamespace();
    const warm = await withClient(async (client) => ({ load: await reconcile(client, before, {}), replace: await reconcile(client, after, ledgerOf(before)) }));
    return { ms: warm.replace, load: warm.load, coldMs: cold.replace, coldLoad: cold.load };
  },

  /**
   * SERVICES REALS SCHEDULER: reads back a table that is loaded already, as the agent does every ten seconds: again and again, with
   * an expectation; the median of the fifth to the ninth time counts: single ones meet the compilers and collectors of a young process.
   * The slowest of them, and the first call of the process, with nothing expected, are reported besides.
   */
  read: async () => withClient(async (client) => {
    const desired = desiredTable(size, scheduler);
    const timed = async (expected?: Table): Promise<number> => {
      collectGarbage();
      const start = performance.now();
      const observed = await client.readAll(undefined, expected);
      const ms = performance.now() - start;
      if (!observed.complete || observed.services.size !== size.services) throw new Error('the read was not complete');
      return ms;
    };
    const cold = await timed();
    for (let i = 1; i < 5; i++) await timed(desired);
    const settled: number[] = [];
    for (let i = 0; i < 5; i++) settled.push(await timed(desired));
    await verify(client, desired);
    const { median, max } = spread(settled);
    return { ms: median, slowest: max, cold };
  }),

  /** SERVICES REALS: ipvsadm -Sn of the same, fork and exec included, output to /dev/null. */
  save: async () => {
    const start = performance.now();
    const { status } = spawnSync('ipvsadm', ['-Sn'], { stdio: ['ignore', openSync('/dev/null', 'w'), 'ignore'] });
    const ms = performance.now() - start;
    if (status !== 0) throw new Error(`ipvsadm -Sn: exit ${status}`);
    verifyCount(size.services, size.services * size.reals);
    return { ms };
  },

  /** SERVICES REALS: the diff of a table with an equal one, in memory. */
  diff: async () => {
    const desired = desiredTable(size, scheduler);
    const ledger = ledgerOf(desired);
    const services = new Map([...desiredTable(size, scheduler)].map(([key, { service, destinations }]) => [key, { service, destinations, complete: true }]));
    const times: number[] = [];
    collectGarbage();
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      const operations = operationsOf(planFor(desired, { services, complete: true }, ledger));
      times.push(performance.now() - start);
      if (operations.length > 0) throw new Error('equal tables differ');
    }
    return { ms: times[0]!, warm: times.at(-1)! };
  },

  /** SERVICES REALS: one real server changed, again and again, on a table that the product's own agent loaded. */
  change: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ipvs-bench-'));
    try {
      return await changeSamples(size, folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

const run = SAMPLES[name];
if (run === undefined) throw new Error(`no sample ${name}; there are ${Object.keys(SAMPLES).join(', ')}`);
process.stdout.write(`${JSON.stringify(await run())}\n`);
process.exit();
