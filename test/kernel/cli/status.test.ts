/** `status` after a real `standalone --once`: counters of the kernel, drains, what ended. Runs in a lab guest. */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

assert.ok(process.env.LAB_GUEST, 'this test changes the IPVS table: it runs in a lab guest only (test/lab/main.ts --exec)');

const MAIN = resolve(import.meta.dirname, '../../../src/main.ts');
const folder = mkdtempSync(join(tmpdir(), 'status-'));
const manifests = join(folder, 'manifests');
const state = join(folder, 'state');

function command(program: string, ...args: readonly string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 300_000 });
  return { code: status, stdout, stderr };
}
const operator = (...args: readonly string[]) => command(process.execPath, MAIN, ...args);

async function apply(servers: readonly string[]): Promise<void> {
  writeFileSync(join(manifests, 'shop.yaml'), `apiVersion: ipvs-operator.dev/v1alpha1
kind: VIPPool
metadata: {name: lab}
spec: {blocks: [{cidr: 198.18.0.0/24}], allowedNamespaces: {all: true}, allowStaticBackendCIDRs: [10.0.0.0/8]}
---
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: {name: shop}
spec:
  vip: {addresses: [198.18.0.10]}
  mode: DR
  ports: [{port: 80}]
  backends: [{static: {endpoints: [${servers.map((a) => `{address: ${a}}`).join(', ')}]}}]
`);
  // A file that was written a moment ago counts as being written.
  await sleep(400);
  // Its exit code and what it says are its own tests' matter; here only what it leaves behind.
  operator('standalone', '--once', '--manifests', manifests, '--state', state, '--log-level', 'warn');
}

before(() => {
  mkdirSync(manifests);
  command('modprobe', 'ip_vs');
  command('ip', 'link', 'add', 'st0', 'type', 'dummy');
  command('ip', 'link', 'set', 'st0', 'up');
  command('ip', 'addr', 'add', '198.18.0.1/24', 'dev', 'st0');
});
after(() => {
  operator('standalone', '--cleanup', '--state', state);
  command('ip', 'link', 'del', 'st0');
  rmSync(folder, { recursive: true, force: true });
});

test('before standalone there is no status', () => {
  assert.equal(operator('status', '--state', state).code, 3);
});

test('after it there is one, with the real servers as the kernel has them', async () => {
  await apply(['10.0.0.1', '10.0.0.2']);
  command('ipvsadm', '-e', '-t', '198.18.0.10:80', '-r', '10.0.0.2:80', '-g', '-w', '0');
  const overview = operator('status', '--state', state);
  assert.deepEqual([overview.code, overview.stderr], [0, '']);
  assert.match(overview.stdout, /default\/shop +DR +198\.18\.0\.10 +80\/TCP +2\/2 +director +True +Ready/);
  assert.match(overview.stdout, /has ended/);
  assert.match(overview.stdout, /connections: 0 active, 0 inactive/);
  const shop = operator('status', '--state', state, 'shop');
  assert.equal(shop.code, 0);
  assert.match(shop.stdout, /10\.0\.0\.1:80 +TCP 198\.18\.0\.10:80 +1 +0 +0 +serving/);
  assert.match(shop.stdout, /10\.0\.0\.2:80 +TCP 198\.18\.0\.10:80 +0 +0 +0 +no new connections/);
});

test('a real server that leaves is shown draining, with the time that is left', async () => {
  await apply(['10.0.0.1']);
  const { stdout } = operator('status', '--state', state, '-o', 'json', 'shop');
  const { realServers } = JSON.parse(stdout) as { realServers: { realServer: string; state: string; drainSecondsLeft: number | null }[] };
  const leaving = realServers.find((r) => r.realServer === '10.0.0.2:80');
  // It may be gone already: it has no connections.
  if (leaving) {
    assert.equal(leaving.state, 'draining');
    assert.ok(leaving.drainSecondsLeft! > 200 && leaving.drainSecondsLeft! <= 300);
  }
  assert.equal(realServers.find((r) => r.realServer === '10.0.0.1:80')?.state, 'serving');
});

test('what somebody took out of the kernel is shown missing', () => {
  command('ipvsadm', '-d', '-t', '198.18.0.10:80', '-r', '10.0.0.1:80');
  const { stdout } = operator('status', '--state', state, 'shop');
  assert.match(stdout, /10\.0\.0\.1 +TCP 198\.18\.0\.10:80 +1 +- +- +not in the kernel/);
});

test('without permission it shows the rest, and says what is missing', () => {
  const { code, stdout } = command('setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin', process.execPath, MAIN, 'status', '--state', state, 'shop');
  assert.equal(code, 0);
  assert.match(stdout, /Not shown:\n {2}connections: reading IPVS needs CAP_NET_ADMIN; run this as root/);
  assert.match(stdout, /10\.0\.0\.1 .* not looked at/);
});
