/**
 * The controller under the service account, in the namespace and with the arguments that deploy/install.yaml gives it, against a real API
 * server: it does its work, is refused nothing, and says so on its health port. What its work is, other tests look at.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from '../lab/process.ts';
import { object, type Workload } from '../unit/deploy/files.ts';
import { untilInstalled } from './installed.ts';
import { create, node, pod } from './objects.ts';
import { lastLines, startServerProcess, type ServerProcess } from './process.ts';
import { startCluster, type Cluster } from './server.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'ipvs-controller-'));
const log = join(folder, 'controller.log');
let cluster: Cluster;
let controller: ServerProcess;
let token: string;

before(async () => {
  cluster = await startCluster({ folder, controllerManager: true });
  await cluster.applyFile(join(root, 'deploy/install.yaml'));
  await untilInstalled(cluster, 'ipvs-system/ipvs-operator-controller');
  for (const file of ['pool', 'nat', 'dr', 'tun']) await cluster.applyFile(join(root, `examples/kubernetes/${file}.yaml`));
  const web = pod({ namespace: 'shop', name: 'web-1', labels: { app: 'web' }, node: 'web-1', addresses: ['10.1.0.7'] });
  await create(cluster,
    node('edge-1', ['203.0.113.1'], { 'node-role.kubernetes.io/edge': '' }), node('web-1', ['203.0.113.11'], { 'shop.example/ingress': '', 'media.example/relay': '' }),
    // The Service names its port.
    { ...web, spec: { ...web['spec'] as object, containers: [{ name: 'web', image: 'none', ports: [{ name: 'http', containerPort: 8080 }] }] } });
  token = await cluster.tokenFor('ipvs-system/ipvs-operator-controller');
  const kubeconfig = cluster.writeKubeconfig('controller', token);
  const { args } = object<Workload>('Deployment', 'ipvs-operator-controller').spec.template.spec.containers[0]!;
  const own = [...args.slice(1).map((arg) => (arg.startsWith(':') ? '127.0.0.1:0' : arg)), '--kubeconfig', kubeconfig, '--log-level', 'trace'];
  controller = await startServerProcess([process.execPath, '--input-type=module', '-e',
    `const { controller } = await import(${JSON.stringify(join(root, 'src/controller/run.ts'))});
     const stop = new AbortController();
     process.on('SIGTERM', () => stop.abort());
     process.exit(await controller(${JSON.stringify(own)}, stop.signal, 'test'));`], log, { POD_NAME: 'controller-0', POD_NAMESPACE: 'ipvs-system' });
});
after(async () => {
  await controller?.end(0);
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Tries until it holds. Far longer than it ever takes: the machine may be busy. */
async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const deadline = performance.now() + 180_000; !await holds();) {
    if (!controller.running || performance.now() > deadline) throw new Error(`not within 180 s: ${what}\n${lastLines(log)}`);
    await sleep(100);
  }
}

const jsonpath = async (...args: string[]): Promise<string> => (await cluster.kubectl(['get', ...args])).stdout;

test('it gives every VirtualServer of the examples its address, and writes programs', async () => {
  await eventually('three addresses', async () => (await jsonpath('virtualips', '-o', 'name')).trim().split('\n').length === 3);
  await eventually('a program each', async () => (await jsonpath('virtualserverprograms', '-A', '-o', 'name')).trim().split('\n').length === 3);
  await eventually('the pod is a real server', async () => (await jsonpath('ivsp', '-n', 'shop', '-o', 'jsonpath={.items[*].spec.services}')).includes('10.1.0.7|8080'));
  await eventually('the status of each says so', async () => (await jsonpath('ivs', '-A', '-o', 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Accepted")].status} {end}')).trim() === 'True True True');
  await eventually('the nodes are told', async () => (await jsonpath('ivn', '-o', 'name')).trim().split('\n').length === 2);
});

test('it is live, ready and the leader, and counts its writes', async () => {
  let port = 0;
  await eventually('the health port is in the log', () => { port = Number(/"port":(\d+)/.exec(readFileSync(log, 'utf8'))?.[1] ?? 0); return port > 0; });
  for (const path of ['livez', 'readyz']) assert.equal(await (await fetch(`http://127.0.0.1:${port}/${path}`)).text(), 'ok\n');
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  assert.match(metrics, /^ipvs_operator_controller_leader 1$/m);
  assert.match(metrics, /^ipvs_operator_controller_writes_total\{kind="VirtualServerProgram",verb="create",result="success"\} [1-9]/m);
});

test('in its pod `explain` may look at everything that it asks for', async () => {
  for (const name of ['shop/web', 'ingress/ingress']) {
    const { code, stdout, stderr } = await runCommand([process.execPath, join(root, 'src/main.ts'), 'explain', name, '--kubeconfig', cluster.writeKubeconfig('controller', token), '-o', 'json'], { timeoutMs: 120_000 });
    // No agents run here, so nothing is served.
    assert.equal(code, 1, stderr);
    const { steps } = JSON.parse(stdout) as { steps: { text: string }[] };
    assert.ok(steps.length >= 8);
    assert.deepEqual(steps.filter(({ text }) => /for want of permission/.test(text)), []);
  }
});

test('it was refused nothing', () => {
  assert.doesNotMatch(readFileSync(log, 'utf8'), /FORBIDDEN|[Ff]orbidden|"code":403/);
});

test('asked to end, it gives its Lease back and ends well', async () => {
  controller.signal('SIGTERM');
  assert.equal(await controller.ended, 0, lastLines(log));
  assert.equal(await jsonpath('lease', '-n', 'ipvs-system', 'ipvs-operator-controller', '-o', 'jsonpath={.spec.holderIdentity}'), '');
  const text = readFileSync(log, 'utf8');
  assert.doesNotMatch(text, /FORBIDDEN|[Ff]orbidden|"code":403/);
  assert.ok(text.includes('"level":20') && !text.includes(token), 'everything was logged, and no secret');
});
