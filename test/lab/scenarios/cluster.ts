// Proves the cluster bench inside a guest: a real API server in the root namespace, hosts that reach it over the management
// network and can be cut off from it, controllers that make EndpointSlices. No product code. When one of these fails, no
// scenario with an API server means anything.

import assert from 'node:assert/strict';
import { create, namespace, node, pod, service, serviceAccount } from '../../cluster/objects.ts';
import { programPath } from '../../cluster/programs.ts';
import { scenario, type Lab, type LabCluster, type RunResult } from '../lab.ts';
import { lan } from '../topologies.ts';

/** kubectl on a host, in its network namespace. */
function kubectlOn(lab: Lab, host: string, kubeconfig: string, args: string): Promise<RunResult> {
  return lab.host(host).run(`${programPath('kubectl')} --kubeconfig ${kubeconfig} --cache-dir ${lab.host(host).path('kubectl')} --request-timeout=10s ${args}`);
}

/** What a host gets when it asks the API server without a token: the status 403 proves that it is reached, and that its certificate holds. */
async function asks(lab: Lab, host: string, cluster: LabCluster): Promise<string> {
  const script = `require('https').get('${cluster.url}/api/v1/nodes', { timeout: 15000 }, (answer) => { console.log(answer.statusCode); process.exit(); })
    .on('timeout', () => { console.log('TIMEOUT'); process.exit(); }).on('error', (error) => { console.log(error.code); process.exit(); })`;
  return (await lab.host(host).sh(`NODE_EXTRA_CA_CERTS=${cluster.caFile} node -e "${script}"`)).trim();
}

export const smoke = scenario({
  name: 'cluster-smoke',
  about: 'an API server answers every host over the management network, by certificate and RBAC, and its controllers make EndpointSlices',
  topology: lan,
  tags: ['cluster'],
  timeoutSeconds: 300,
  run: async (lab) => {
    const cluster = await lab.cluster({ controllerManager: true });
    assert.equal(await asks(lab, 'dir1', cluster), '403');
    const port = `/dev/tcp/${cluster.address}/${cluster.port}`;
    for (const host of Object.keys(lan.hosts)) await lab.host(host).sh(`timeout 15 bash -c 'exec 3<>${port}'`); // Far cheaper than a Node process.

    await create(cluster, namespace('shop'), serviceAccount('shop', 'agent'), ...['rs1', 'rs2'].map((name, index) => node(name, [`10.0.1.2${index + 1}`])));
    const agent = cluster.writeKubeconfig('agent', await cluster.tokenFor('shop/agent'));
    const refused = await kubectlOn(lab, 'dir1', agent, 'get nodes');
    assert.match(refused.stderr, /system:serviceaccount:shop:agent.* cannot list/);
    assert.equal((await cluster.kubectl(['create', 'clusterrolebinding', 'agent', '--clusterrole=system:node-reader', '--serviceaccount=shop:agent'])).code, 0);
    await cluster.apply('apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: "system:node-reader" }\nrules: [{ apiGroups: [""], resources: [nodes], verbs: [list] }]');
    await lab.eventually(async () => (await kubectlOn(lab, 'dir1', agent, 'get nodes -o name')).stdout === 'node/rs1\nnode/rs2\n', { withinMs: 60_000, what: 'the role counts on dir1' });

    await create(cluster, service('shop', 'web', { app: 'web' }, [{ port: 80, targetPort: 8080 }]),
      ...['rs1', 'rs2'].map((name, index) => pod({ namespace: 'shop', name: `web-${name}`, labels: { app: 'web' }, node: name, addresses: [`10.0.1.2${index + 1}`], hostNetwork: true })));
    await lab.eventually(async () => {
      const { body } = await cluster.request<{ items: { endpoints: { addresses: string[] }[] | null }[] }>('GET', '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices');
      return JSON.stringify(body.items.flatMap(({ endpoints }) => (endpoints ?? []).flatMap(({ addresses }) => addresses)).sort()) === '["10.0.1.21","10.0.1.22"]';
    }, { withinMs: 60_000, what: 'an EndpointSlice with both Pods' });
  },
});

export const faults = scenario({
  name: 'cluster-faults',
  about: 'a host is cut off from the API server while its LAN goes on, the other way round, and the API server dies and comes back',
  topology: lan,
  tags: ['cluster'],
  timeoutSeconds: 300,
  run: async (lab) => {
    assert.equal((await lab.host('dir1').run('pgrep -l "etcd|kube"')).stdout, '', 'nothing is left of another scenario');
    const before = await lab.host('dir1').addresses();
    const cluster = await lab.cluster();
    assert.equal(await lab.cluster(), cluster, 'there is one');
    assert.deepEqual(await lab.host('dir1').addresses(), [...before, `m0 ${cluster.addressOf('dir1')}/24`]);
    await create(cluster, namespace('durable'));
    await lab.serve('dir1', { tcp: [80] });
    const overLan = async (): Promise<unknown> => (await lab.get('lc', { address: '10.0.1.11', port: 80 })).by;

    await cluster.unplug('dir1');
    assert.match(await asks(lab, 'dir1', cluster), /TIMEOUT|EHOSTUNREACH|ENETUNREACH/);
    assert.equal(await asks(lab, 'dir2', cluster), '403', 'only dir1 is cut off');
    assert.deepEqual(await overLan(), { dir1: 1 });
    await cluster.plug('dir1');
    await lab.eventually(async () => await asks(lab, 'dir1', cluster) === '403', { withinMs: 60_000, what: 'dir1 is back' });

    await lab.host('dir1').sh('ip link set e0 down');
    assert.deepEqual(await overLan(), {});
    assert.equal(await asks(lab, 'dir1', cluster), '403', 'the management network needs no LAN');

    await cluster.kill('apiserver');
    assert.equal(await asks(lab, 'dir1', cluster), 'ECONNREFUSED');
    await cluster.start('apiserver');
    assert.equal(await asks(lab, 'dir1', cluster), '403');
    assert.equal((await cluster.request('GET', '/api/v1/namespaces/durable')).status, 200);
  },
});
