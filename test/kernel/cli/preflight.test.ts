/** `preflight` on a real kernel: what it reads is so, it changes nothing, and it agrees with `plan`. Runs in a lab guest. */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Finding } from '../../../src/cli/preflight-finding.ts';

assert.ok(process.env.LAB_GUEST, 'this test changes links and the IPVS table: it runs in a lab guest only (test/lab/main.ts --exec)');

const MAIN = resolve(import.meta.dirname, '../../../src/main.ts');
const folder = mkdtempSync(join(tmpdir(), 'preflight-'));
const manifests = join(folder, 'manifests');
const state = join(folder, 'state');

function command(program: string, ...args: readonly string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 300_000 });
  return { code: status, stdout, stderr };
}

function preflight(...args: readonly string[]): { code: number | null; findings: Finding[]; of: (check: string, level?: Finding['level']) => Finding | undefined } {
  const { code, stdout, stderr } = command(process.execPath, MAIN, 'preflight', '--state', state, '-o', 'json', ...args);
  assert.notEqual(stdout, '', stderr);
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] };
  assert.equal(code, ok ? 0 : 1);
  return { code, findings, of: (check, level) => findings.find((f) => f.check === check && (level === undefined || f.level === level)) };
}

const manifest = (mode: string, scheduler: string) => `apiVersion: ipvs-operator.dev/v1alpha1
kind: VIPPool
metadata: {name: lab}
spec: {blocks: [{cidr: 198.18.0.0/24}], allowedNamespaces: {all: true}, allowStaticBackendCIDRs: [198.18.0.0/16]}
---
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: {name: shop}
spec:
  vip: {addresses: [198.18.0.10]}
  mode: ${mode}
  scheduler: {name: ${scheduler}}
  ports: [{port: 80}]
  backends: [{static: {endpoints: [{address: 198.18.0.21}]}}]
`;

before(() => {
  mkdirSync(manifests);
  command('modprobe', 'ip_vs');
  command('ip', 'link', 'add', 'pf0', 'type', 'dummy');
  command('ip', 'link', 'set', 'pf0', 'up');
  command('ip', 'addr', 'add', '198.18.0.1/24', 'dev', 'pf0');
});
after(() => {
  command('ip', 'link', 'del', 'pf0');
  rmSync(folder, { recursive: true, force: true });
});

test('a lab guest has what it takes', () => {
  const { code, findings, of } = preflight();
  assert.deepEqual(findings.filter((f) => f.level === 'fail'), []);
  assert.equal(code, 0);
  assert.match(of('ip_vs')!.message, /^version 1\.2\.1, Linux 6\./);
  assert.equal(of('schedulers')!.message.split(' ').length, 13);
  assert.equal(of('tunnel devices')!.message, 'ipip sit ip6_tunnel ip_gre ip6_gre fou fou6');
  assert.match(of('connection table', 'warn')!.message, /4096 buckets/);
  assert.equal(of('packet filter')!.message, 'iptables');
  assert.equal(of('IPVS table')!.message, 'empty');
});

test('it changes no setting, no link and no rule', () => {
  const snapshot = () => [command('sysctl', '-a', '--pattern', '^net\\.ipv[46]').stdout, command('ip', '-d', 'addr').stdout, command('iptables-legacy-save', '-t', 'mangle').stdout, readFileSync('/proc/net/ip_vs', 'utf8')]
    .map((text) => text.replaceAll(/^#.*$|\[\d+:\d+\]|valid_lft \S+ preferred_lft \S+/gm, ''));
  writeFileSync(join(manifests, 'shop.yaml'), manifest('NAT', 'mh'));
  preflight('--manifests', manifests);
  const first = snapshot();
  preflight('--manifests', manifests);
  assert.deepEqual(snapshot(), first);
});

for (const mode of ['NAT', 'DR', 'TUN']) {
  test(`it names exactly the settings that plan would change: ${mode}`, async () => {
    writeFileSync(join(manifests, 'shop.yaml'), manifest(mode, 'rr'));
    await sleep(400);
    const { findings, of } = preflight('--manifests', manifests);
    assert.equal(of('manifests')!.message, '1 VirtualServer; this host is a director');
    const named = findings.flatMap((f) => (f.check.startsWith('sysctl ') ? [f.check.slice(7)] : [])).sort();
    const { stdout } = command(process.execPath, MAIN, 'plan', '--manifests', manifests, '--state', state, '-o', 'json');
    const { operations } = JSON.parse(stdout) as { operations: { kind: string; sysctl?: { path: string } }[] };
    // The kernel changes accept_redirects together with ip_forward, and plan puts it back: in the end it stands as before.
    const planned = operations.flatMap((o) => (o.kind === 'setSysctl' && !o.sysctl!.path.endsWith('/accept_redirects') ? [o.sysctl!.path] : [])).sort();
    assert.ok(named.length > 0);
    assert.deepEqual(named, planned);
  });
}

test('services of others are named', () => {
  command('ipvsadm', '-A', '-t', '203.0.113.1:80', '-s', 'rr');
  command('ipvsadm', '-A', '-f', '5', '-6', '-s', 'rr');
  try {
    assert.match(preflight().of('IPVS table', 'warn')!.message, /TCP 203\.0\.113\.1:80, FWM 5/);
  } finally {
    command('ipvsadm', '-C');
  }
});

test('the device of kube-proxy in ipvs mode stands in the way', () => {
  command('ip', 'link', 'add', 'kube-ipvs0', 'type', 'dummy');
  try {
    assert.ok(preflight().of('kube-proxy', 'fail'));
  } finally {
    command('ip', 'link', 'del', 'kube-ipvs0');
  }
});

test('neighbours are found by their processes, in this network namespace only', async () => {
  const here = spawn('sleep', ['60'], { argv0: '/usr/sbin/keepalived' });
  const elsewhere = spawn('unshare', ['-n', 'sh', '-c', 'exec -a kube-router sleep 60 2>/dev/null || exec busybox sh -c "exec -a kube-router sleep 60"']);
  try {
    await sleep(1000);
    const { of } = preflight();
    assert.match(of('keepalived')!.message, /VRRP only/);
    assert.equal(of('kube-router'), undefined);
  } finally {
    here.kill();
    elsewhere.kill();
  }
});

test('lo down stands in the way', () => {
  const { code, stdout } = command('unshare', '-n', process.execPath, MAIN, 'preflight', '--state', state);
  assert.equal(code, 1);
  assert.match(stdout, /^fail {2}lo +down.*\n +-> ip link set lo up$/m);
});

test('without capabilities it says so, and looks at the rest', () => {
  const { code, stdout } = command('setpriv', '--reuid', '65534', '--clear-groups', '--inh-caps', '-all', process.execPath, MAIN, 'preflight', '--state', state);
  assert.equal(code, 1);
  assert.match(stdout, /^fail {2}permissions +CAP_NET_ADMIN and CAP_NET_RAW are missing$/m);
  assert.match(stdout, /^fail {2}\/proc\/sys\/net +cannot be written \(EACCES\)$/m);
  assert.match(stdout, /^ok {4}schedulers/m);
});
