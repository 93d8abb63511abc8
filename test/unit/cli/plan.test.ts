/** `plan` says what standalone would do: the same folder, the same state folder, the same last good forms, over the fake kernel. */
import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent } from '../../../src/agent/agent.ts';
import { formatOperation } from '../../../src/agent/operation.ts';
import { StateFolder } from '../../../src/agent/state-folder.ts';
import { planHost } from '../../../src/cli/plan.ts';
import { Host } from '../../../src/standalone/host.ts';
import { ManifestFolder } from '../../../src/standalone/manifests.ts';
import { readOptions } from '../../../src/standalone/options.ts';
import { makeKernel, silent, tempFolder } from '../agent/setup.ts';

/** Later than any file's time by a minute, and a second later at each look: everything has settled. Tests of other files may come between this line and ours. */
let now = 0;
const clock = () => (now = Math.max(now + 1000, Date.now() + 60_000));
const never = new AbortController().signal;

const pool = `apiVersion: ipvs-operator.dev/v1alpha1
kind: VIPPool
metadata: {name: lab}
spec: {blocks: [{cidr: 10.0.1.192/26}], default: true, allowedNamespaces: {all: true}, allowStaticBackendCIDRs: [10.0.1.0/24]}
`;
const server = (name: string, vip: string, realServer = '10.0.1.21') => `apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: {name: ${name}}
spec: {vip: {addresses: [${vip}]}, mode: NAT, ports: [{port: 80}], backends: [{static: {endpoints: [{address: ${realServer}}]}}]}
`;

class Bench {
  readonly kernel = makeKernel();
  readonly manifests: string;
  readonly state: string;

  constructor(t: TestContext) {
    this.manifests = tempFolder(t);
    this.state = join(tempFolder(t), 'state');
    this.write('pool.yaml', pool);
    this.write('shop.yaml', server('shop', '10.0.1.200'));
    this.write('other.yaml', server('other', '10.0.1.201'));
  }

  write(file: string, text: string): void { writeFileSync(join(this.manifests, file), text); }

  get #options() { return readOptions(['--manifests', this.manifests, '--state', this.state, '--node', 'n1']); }

  async plan(): Promise<{ operations: string[]; problems: readonly string[] }> {
    const { operations, problems } = await planHost(this.#options, this.kernel, never, clock);
    return { operations: operations.map(formatOperation), problems };
  }

  /** A standalone process from its start to its end. Returns what it did. */
  async standalone(): Promise<string[]> {
    const before = this.kernel.log.length;
    const folder = StateFolder.open(this.state);
    try {
      const agent = new Agent(this.kernel, folder, { node: 'n1', role: 'auto', labels: {}, clock, log: silent });
      const host = new Host({ node: 'n1', manifests: new ManifestFolder(this.manifests), agent, folder, log: silent, clock });
      while (host.readManifests().busy);
      host.report(await agent.reconcile('full'), null);
      host.flush();
      return this.kernel.log.slice(before).map(formatOperation);
    } finally {
      folder.close();
    }
  }
}

test('what is printed for a fresh host is what is done, and then there is nothing to print', async (t) => {
  const bench = new Bench(t);
  const planned = await bench.plan();
  assert.ok(planned.operations.length > 0);
  assert.deepEqual(planned.problems, []);
  assert.deepEqual(await bench.standalone(), planned.operations);
  assert.deepEqual(await bench.plan(), { operations: [], problems: [] });
});

const damages: readonly [what: string, damage: (bench: Bench) => void, problem: RegExp][] = [
  ['a manifest that is no YAML any more', (b) => b.write('shop.yaml', 'kind: [unclosed\n'), /shop\.yaml: .*not YAML/],
  ['a manifest that lost all of its bytes', (b) => b.write('shop.yaml', ''), /shop\.yaml: it is empty/],
  ['a manifest with an unknown field', (b) => b.write('shop.yaml', server('shop', '10.0.1.200').replace('mode:', 'mood:')), /shop\.yaml: .*spec\.mood/],
  ['a VirtualServer that is refused now', (b) => b.write('shop.yaml', server('shop', '10.9.9.9')), /default\/shop: AddressOutsidePools/],
  ['a folder that is gone', (b) => renameSync(b.manifests, `${b.manifests}.away`), /cannot be read/],
  ['a folder that is another and empty', (b) => { renameSync(b.manifests, `${b.manifests}.away`); mkdirSync(b.manifests); }, /not the one of the last run/],
];
for (const [what, damage, problem] of damages) {
  test(`${what} is a problem, and deletes nothing that standalone would keep`, async (t) => {
    const bench = new Bench(t);
    await bench.standalone();
    damage(bench);
    const { operations, problems } = await bench.plan();
    assert.deepEqual(operations, []);
    assert.match(problems.join('\n'), problem);
    assert.deepEqual(await bench.standalone(), [], 'and standalone does keep it');
  });
}

test('a real server that may not be one is a problem too, although the rest can be done', async (t) => {
  const bench = new Bench(t);
  bench.write('shop.yaml', server('shop', '10.0.1.200', '203.0.113.9'));
  const { operations, problems } = await bench.plan();
  assert.ok(operations.some((o) => o.startsWith('add service TCP 10.0.1.200:80')));
  assert.match(problems.join('\n'), /^VirtualServer default\/shop: EndpointNotPermitted: .*203\.0\.113\.9.*allowStaticBackendCIDRs/);
});

test('it writes nothing, and makes no folder', async (t) => {
  const bench = new Bench(t);
  const before = JSON.stringify(bench.kernel.snapshot());
  // Asking what the kernel can do loads modules, and with ip_vs come its sysctls.
  const settled = (text: string) => text.replaceAll(/"net\/ipv4\/vs\/[^"]*":"?[^",}]*"?,?/g, '');
  await bench.plan();
  assert.equal(settled(JSON.stringify(bench.kernel.snapshot())), settled(before));
  assert.throws(() => StateFolder.view(bench.state).write('x', 1), /closed, or was opened for looking only/);
  assert.deepEqual(StateFolder.view(bench.state).read('ledger'), { state: 'missing' });
});

test('a suspended VirtualServer is no problem', async (t) => {
  const bench = new Bench(t);
  bench.write('shop.yaml', server('shop', '10.0.1.200').replace('mode: NAT', 'suspend: true, mode: NAT'));
  assert.deepEqual((await bench.plan()).problems, []);
});
