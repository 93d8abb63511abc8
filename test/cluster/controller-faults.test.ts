/**
 * The controller when the cluster fails it: objects that an older CRD let in, an API server and an etcd that are killed in the middle.
 * Whoever can be served is, what was served goes on, and in the end everything is as if nothing had happened.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VirtualIP, VirtualServerStatus } from '../../src/api/v1alpha1/index.ts';
import { endpointSlice, group, pool, startBench, toService, toStatic, virtualServer, type Any, type Bench, type Running } from './controller-bench.ts';
import { namespace, node, service } from './objects.ts';

const folder = mkdtempSync(join(tmpdir(), 'ipvs-controller-faults-'));
let bench: Bench;
let controller: Running;

before(async () => {
  bench = await startBench({ folder });
  await bench.post(namespace('shop'), namespace('bad'), node('e1', ['192.0.2.1'], { edge: '' }), group('edge', { edge: '' }), pool('public', { blocks: [{ cidr: '198.18.0.0/16' }], default: true, directorGroupRef: { name: 'edge' }, allowStaticBackendCIDRs: ['10.0.0.0/8'] }));
  await bench.lives('e1');
  controller = await bench.start('one', '--no-leader-election');
});
after(async () => {
  await bench?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const program = async (key: string): Promise<string | undefined> => (await bench.program(key))?.services[0]?.realServers.join();
const restarted = async (): Promise<void> => {
  await controller.process.end(0);
  controller = await bench.start('one', '--no-leader-election');
};

interface Crd extends Any { spec: { versions: { schema: object }[] } }

/** The CRD of VirtualServers without a schema, as an older one could be; returns how to bring back the one of now. */
async function loosen(name: string): Promise<() => Promise<void>> {
  const crd = (await bench.get<Crd>('CustomResourceDefinition', name))!;
  const replace = async (schema: object): Promise<void> => {
    const now = (await bench.get<Crd>('CustomResourceDefinition', name))!;
    await bench.send('PUT', `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`, { ...now, spec: { ...now.spec, versions: [{ ...now.spec.versions[0]!, schema }] } });
  };
  await replace({ openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } });
  return () => replace(crd.spec.versions[0]!.schema);
}

const wrong = (key: string): Any => ({ ...virtualServer(key, {}), spec: { mode: 'WRONG' } });

test('VirtualServers that an older CRD let in are told what is wrong with them; a thousand of them delay nobody', async () => {
  await bench.post(virtualServer('shop/kept', toStatic('10.0.0.1')), virtualServer('shop/good', toStatic('10.0.0.2')));
  await bench.eventually('two are served', async () => {
    await bench.report('e1');
    return await bench.condition('shop/kept') === 'True Ready' && await bench.condition('shop/good') === 'True Ready';
  });
  const tighten = await loosen('virtualservers.ipvs-operator.dev');
  await bench.eventually('the server takes anything', async () => {
    await bench.post(wrong('bad/first'));
    return true;
  });
  await bench.eventually('it is told', async () => await bench.condition('bad/first', 'Accepted') === 'False InvalidSpec');
  assert.match(await bench.message('bad/first', 'Accepted'), /spec\.mode: .*WRONG/);
  assert.deepEqual([await bench.condition('bad/first'), await bench.condition('bad/first', 'Stalled')], ['False NotAccepted', 'True InvalidSpec']);

  // One that is served becomes invalid: it goes on, also over a restart.
  await bench.patch('VirtualServer', 'shop/kept', { spec: { mode: 'WRONG' } });
  await bench.eventually('it is told', async () => await bench.condition('shop/kept', 'Accepted') === 'False InvalidSpec');
  assert.deepEqual([await bench.condition('shop/kept'), await bench.condition('shop/kept', 'Degraded'), await program('shop/kept')], ['True Ready', 'True UsingLastGood', '10.0.0.1|80|1|']);
  const { addresses } = (await bench.program('shop/kept'))!;

  await controller.process.end(0);
  await bench.post(...Array.from({ length: 1_000 }, (_, i) => wrong(`bad/b${i}`)), virtualServer('shop/valid', { ...toStatic('10.0.0.3'), scheduler: { name: 'rr' } }));
  // Without a schema nothing has defaults, so this one has to bring its own.
  await bench.patch('VirtualServer', 'shop/valid', { spec: { ports: [{ port: 80, protocol: 'TCP' }], backends: [{ weight: 1, static: { endpoints: [{ address: '10.0.0.3' }] } }] } });
  controller = await bench.start('one', '--no-leader-election');
  await bench.eventually('the valid one is served', async () => await program('shop/valid') === '10.0.0.3|80|1|');
  await bench.eventually('all are told', async () => (await bench.list<{ status?: VirtualServerStatus }>('VirtualServer', 'bad')).filter((s) => s.status?.conditions?.[0]?.reason === 'InvalidSpec').length === 1_001);
  const times = (await bench.list<{ status?: VirtualServerStatus; metadata: { name: string } }>('VirtualServer', 'bad')).filter((s) => s.metadata.name !== 'first').map((s) => s.status!.conditions![0]!.lastTransitionTime);
  const served = (await bench.status('shop/valid')).conditions!.find((c) => c.type === 'Accepted')!.lastTransitionTime;
  assert.ok(times.filter((t) => t < served).length < 200, `${times.filter((t) => t < served).length} of 1,000 were told before it was served`);
  assert.deepEqual([await program('shop/kept'), (await bench.program('shop/kept'))?.addresses, await program('shop/good')], ['10.0.0.1|80|1|', addresses, '10.0.0.2|80|1|'], 'what cannot be read is served on');
  assert.deepEqual((await bench.get<VirtualIP>('VirtualIP', addresses[0]!.address))?.spec.claims.map((c) => c.name), ['kept']);

  await tighten();
  await bench.send('DELETE', '/apis/ipvs-operator.dev/v1alpha1/namespaces/bad/virtualservers');
  await bench.eventually('the server is strict again', async () => {
    await bench.patch('VirtualServer', 'shop/kept', { spec: { mode: 'NAT' } });
    return true;
  });
  await bench.eventually('it is well again', async () => {
    await bench.report('e1');
    return await bench.condition('shop/kept') === 'True Ready' && await bench.condition('shop/kept', 'Accepted') === 'True Accepted' && await bench.condition('shop/kept', 'Stalled') === 'none';
  });
  assert.deepEqual((await bench.program('shop/kept'))?.addresses, addresses);
});

test('a pool and a group that cannot be read take nothing away, over a restart', async () => {
  const was = await bench.program('shop/good');
  for (const [kind, name, spec] of [['VIPPool', 'public', { blocks: 'all' }], ['DirectorGroup', 'edge', { interface: 7 }]] as const) {
    const crd = `${kind.toLowerCase()}s.ipvs-operator.dev`;
    const good = (await bench.get(kind, name))!;
    const tighten = await loosen(crd);
    await bench.eventually('the server takes anything', async () => {
      await bench.patch(kind, name, { spec });
      return true;
    });
    await restarted();
    await bench.eventually('it is told', async () => (await bench.get<{ status?: { conditions?: { reason: string }[] } }>(kind, name))?.status?.conditions?.[0]?.reason === 'InvalidSpec');
    assert.deepEqual([await bench.program('shop/good'), ((await bench.get('IPVSNode', 'e1'))?.spec as { directorGroups: string[] }).directorGroups], [was, ['edge']], kind);
    await tighten();
    await bench.eventually('the server is strict again', async () => {
      const now = (await bench.get(kind, name))!;
      await bench.send('PUT', `/apis/ipvs-operator.dev/v1alpha1/${kind.toLowerCase()}s/${name}`, { ...now, spec: good.spec });
      return true;
    });
    await bench.eventually('it is well again', async () => (await bench.get<{ status?: { conditions?: { reason: string }[] } }>(kind, name))?.status?.conditions?.[0]?.reason === 'Ready');
  }
});

test('the API server and etcd are killed in the middle, again and again; afterwards all is as it should be', async () => {
  await bench.post(service('shop', 'web', {}, [{ port: 80 }]), endpointSlice('shop/web-1', 'web', ['10.1.0.1']));
  for (const [round, part] of (['apiserver', 'etcd', 'apiserver', 'etcd'] as const).entries()) {
    // The controller is in the middle of this when the server goes.
    await bench.post(...Array.from({ length: 25 }, (_, i) => virtualServer(`shop/k${round}-${i}`, toService('web'))));
    if (round > 0) for (let i = 0; i < 10; i++) await bench.drop('VirtualServer', `shop/k${round - 1}-${i}`);
    const lines = controller.log().length;
    await bench.without(part, async () => {
      // Its watches break when the API server goes; when etcd goes, only who writes notices.
      if (part === 'apiserver') await bench.eventually('the controller has noticed', () => controller.log().slice(lines).some((l) => l.level >= 40 && /UNREACHABLE/.test(JSON.stringify(l))));
      else await assert.rejects(bench.cluster.request('POST', '/api/v1/namespaces', namespace('lost'), { timeoutMs: 3_000 }).then(({ status }) => { if (status !== 201) throw new Error(`${status}`); }));
    });
    await bench.eventually('the server writes again', async () => {
      await bench.patch('EndpointSlice', 'shop/web-1', { endpoints: [{ addresses: [`10.1.0.${round + 2}`], conditions: { ready: true } }] });
      return true;
    });
  }
  const expected = [...Array.from({ length: 15 }, (_, i) => i + 10).flatMap((i) => [0, 1, 2].map((r) => `k${r}-${i}`)), ...Array.from({ length: 25 }, (_, i) => `k3-${i}`), 'kept', 'good', 'valid'].sort();
  await bench.eventually('every VirtualServer has its program, with the newest endpoint', async () => {
    const programs = await bench.list<{ metadata: { name: string }; spec: { services: { realServers: string[] }[] } }>('VirtualServerProgram', 'shop');
    return JSON.stringify(programs.map((p) => p.metadata.name).sort()) === JSON.stringify(expected) && programs.filter((p) => p.metadata.name.startsWith('k') && p.metadata.name !== 'kept').every((p) => p.spec.services[0]!.realServers[0] === '10.1.0.5|8080|1|');
  });
  await bench.eventually('every address has one owner, and nobody else', async () => {
    const owners = (await bench.list<VirtualIP>('VirtualIP')).map((v) => v.spec.claims.map((c) => c.name).join());
    return JSON.stringify(owners.sort()) === JSON.stringify(expected);
  });
  assert.ok(controller.process.running);
});
