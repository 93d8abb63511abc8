// What the played kubelets make of a Pod: its place, its arguments, its user and capabilities; asked of the chart's own workloads.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { argumentsOf, environmentOf, place, portOf, privilegesOf, type Pod } from '../../lab/pod-spec.ts';
import { object, type Workload } from '../deploy/files.ts';

const podOf = (kind: string, name: string, node: string): Pod => {
  const { metadata, spec } = object<Workload>(kind, name).spec.template;
  return { metadata: { ...metadata, name: `${name}-x`, namespace: 'ipvs-system', uid: 'u' }, spec: { ...spec, nodeName: node } as unknown as Pod['spec'] };
};
const agent = podOf('DaemonSet', 'ipvs-operator-agent', 'edge-1');
const controller = podOf('Deployment', 'ipvs-operator-controller', 'node-1');

test('variables come from their fields, and stand in the arguments', () => {
  assert.deepEqual(environmentOf(agent), { NODE_NAME: 'edge-1', IPVS_OPERATOR_PROC_SYS: '/host/proc/sys' });
  assert.deepEqual(argumentsOf(agent).slice(0, 3), ['agent', '--node', 'edge-1']);
  assert.deepEqual(environmentOf(controller), { POD_NAME: 'ipvs-operator-controller-x', POD_NAMESPACE: 'ipvs-system' });
  const [container] = agent.spec.containers;
  const unknown: Pod = { ...agent, spec: { ...agent.spec, containers: [{ ...container, env: [{ name: 'X', valueFrom: { fieldRef: { fieldPath: 'spec.unheardOf' } } }] }] } };
  assert.throws(() => environmentOf(unknown), /the variable X/);
});

test('an agent is root with two capabilities, a controller nobody with none', () => {
  assert.deepEqual(privilegesOf(agent), ['setpriv', '--bounding-set', '-all,+net_admin,+net_raw', '--inh-caps', '-all', '--reuid', '0', '--regid', '0', '--clear-groups', '--no-new-privs']);
  assert.deepEqual(privilegesOf(controller), ['setpriv', '--bounding-set', '-all', '--inh-caps', '-all', '--reuid', '65532', '--regid', '65532', '--clear-groups', '--no-new-privs']);
  const [container] = agent.spec.containers;
  assert.throws(() => privilegesOf({ ...agent, spec: { ...agent.spec, containers: [{ ...container, securityContext: {} }] } }), /does not drop ALL/);
});

test('a port is found by its name', () => {
  assert.equal(portOf(agent.spec, 'health'), 9822);
  assert.equal(portOf(agent.spec, 80), 80);
  assert.throws(() => portOf(agent.spec, 'http'), /no port is named http/);
});

const nodes = { a: { 'kubernetes.io/os': 'linux' }, b: { 'kubernetes.io/os': 'linux', fast: '' }, w: { 'kubernetes.io/os': 'windows' } };
const like = (node: string | undefined, hash: string): Pod => ({ metadata: { name: 'p', namespace: 's', uid: 'u', labels: { 'pod-template-hash': hash } }, spec: { ...(node === undefined ? {} : { nodeName: node }), containers: controller.spec.containers, nodeSelector: { 'kubernetes.io/os': 'linux' } } });

test('pods that are alike are spread, over nodes that they select', () => {
  assert.equal(place(like(undefined, '1'), nodes, []), 'a');
  assert.equal(place(like(undefined, '1'), nodes, [like('a', '1')]), 'b');
  assert.equal(place(like(undefined, '2'), nodes, [like('a', '1')]), 'a', 'others do not count');
  assert.equal(place(like(undefined, '1'), nodes, [like('a', '1'), like('b', '1')]), 'a');
  const choosy = { ...like(undefined, '1'), spec: { ...like(undefined, '1').spec, nodeSelector: { fast: '' } } };
  assert.equal(place(choosy, nodes, []), 'b');
  assert.throws(() => place({ ...choosy, spec: { ...choosy.spec, nodeSelector: { slow: '' } } }, nodes, []), /no node for the pod s\/p/);
});

test('a pod of a DaemonSet goes to its node', () => {
  const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', values: ['edge-9'] }] }] } };
  assert.equal(place({ ...like(undefined, '1'), spec: { ...like(undefined, '1').spec, affinity: { nodeAffinity } } }, nodes, []), 'edge-9');
});
