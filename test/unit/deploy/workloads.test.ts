/** The two workloads and their rights, as deploy/install.yaml has them: no more than they need, and all that the code uses. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import * as api from '../../../src/api/v1alpha1/index.ts';
import * as core from '../../../src/controller/core.ts';
import { CONTROLLER_LEASE, readControllerOptions } from '../../../src/controller/options.ts';
import { EVENTS } from '../../../src/kube/events.ts';
import { LEASES } from '../../../src/kube/lease.ts';
import type { Resource } from '../../../src/kube/types.ts';
import { parseListen } from '../../../src/observe/listen.ts';
import { installed, object, permissions, root, type Container, type Rule, type Workload } from './files.ts';

const controller = object<Workload>('Deployment', 'ipvs-operator-controller');
const agent = object<Workload>('DaemonSet', 'ipvs-operator-agent');
const containerOf = (workload: Workload): Container => workload.spec.template.spec.containers[0]!;

test('the agent has root without its powers: two capabilities, a read-only root, nothing privileged', () => {
  const { securityContext } = containerOf(agent);
  assert.deepEqual(securityContext, { runAsUser: 0, privileged: false, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] } });
  const { hostNetwork, hostPID, hostIPC, dnsPolicy, securityContext: pod, tolerations, priorityClassName } = agent.spec.template.spec;
  assert.deepEqual([hostNetwork, hostPID, hostIPC, dnsPolicy], [true, undefined, undefined, 'ClusterFirstWithHostNet']);
  assert.deepEqual(pod, { seccompProfile: { type: 'RuntimeDefault' } });
  assert.deepEqual([tolerations, priorityClassName], [[{ operator: 'Exists' }], 'system-node-critical']);
  assert.deepEqual(agent.spec.updateStrategy, { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } });
});

test('of the node the agent has its state folder, /proc/sys/net and the lock of iptables, and no more', () => {
  const paths = Object.fromEntries((agent.spec.template.spec.volumes ?? []).map(({ name, hostPath }) => [name, hostPath]));
  const mounts = (containerOf(agent).volumeMounts ?? []).map(({ name, mountPath, readOnly }) => [paths[name], mountPath, readOnly]);
  assert.deepEqual(mounts, [
    [{ path: '/var/lib/ipvs-operator', type: 'DirectoryOrCreate' }, '/var/lib/ipvs-operator', undefined],
    [{ path: '/proc/sys/net', type: 'Directory' }, '/host/proc/sys/net', undefined],
    [{ path: '/run/xtables.lock', type: 'FileOrCreate' }, '/run/xtables.lock', undefined],
  ]);
  assert.ok(containerOf(agent).env.some(({ name, value }) => name === 'IPVS_OPERATOR_PROC_SYS' && value === '/host/proc/sys'));
});

test('the controller is nobody: no user, no capability, no volume, a read-only root', () => {
  assert.deepEqual(containerOf(controller).securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
  const { hostNetwork, volumes, securityContext } = controller.spec.template.spec;
  assert.deepEqual([hostNetwork, volumes, securityContext], [undefined, undefined, { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: { type: 'RuntimeDefault' } }]);
  assert.equal(controller.spec.replicas, 2);
  // A controller that does not get ready must not keep a node from being drained.
  assert.deepEqual(object('PodDisruptionBudget', 'ipvs-operator-controller')['spec'], { minAvailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: controller.spec.selector });
});

test('replicas of the controller are spread over nodes among those of one form: otherwise an upgrade may leave both on one node', () => {
  const [spread, ...others] = controller.spec.template.spec['topologySpreadConstraints'] as { topologyKey: string; matchLabelKeys?: string[]; labelSelector: unknown }[];
  assert.deepEqual([spread!.topologyKey, spread!.matchLabelKeys, spread!.labelSelector, others], ['kubernetes.io/hostname', ['pod-template-hash'], controller.spec.selector, []]);
});

test('every selector selects its own pods', () => {
  for (const { spec } of [controller, agent]) for (const [label, value] of Object.entries(spec.selector.matchLabels)) assert.equal(spec.template.metadata.labels[label], value);
  assert.notDeepEqual(controller.spec.selector, agent.spec.selector);
});

test('the arguments are ones that the programs take', () => {
  const { args, env } = containerOf(controller);
  assert.equal(args[0], 'controller');
  const options = readControllerOptions(args.slice(1), { POD_NAME: 'pod' });
  assert.deepEqual([options.namespace, options.leaderElection, options.kubeconfig], ['ipvs-system', true, null]);
  assert.deepEqual(env.map(({ name, valueFrom }) => [name, valueFrom?.fieldRef.fieldPath]), [['POD_NAME', 'metadata.name'], ['POD_NAMESPACE', 'metadata.namespace']]);
  assert.deepEqual(containerOf(agent).args.slice(0, 5), ['agent', '--node', '$(NODE_NAME)', '--namespace', 'ipvs-system']);
  assert.ok(containerOf(agent).env.some(({ name, valueFrom }) => name === 'NODE_NAME' && valueFrom?.fieldRef.fieldPath === 'spec.nodeName'));
});

test('probes ask where the program listens', () => {
  for (const [workload, host] of [[controller, undefined], [agent, '127.0.0.1']] as const) {
    const container = containerOf(workload);
    const listen = parseListen(container.args[container.args.indexOf('--listen') + 1]!);
    assert.equal(listen.host, host);
    assert.deepEqual(container.ports.map(({ name, containerPort }) => [name, containerPort]), [['health', listen.port]]);
    for (const [probe, path] of [['startupProbe', '/livez'], ['livenessProbe', '/livez'], ['readinessProbe', '/readyz']] as const) {
      assert.deepEqual(container[probe]?.httpGet, { ...(host === undefined ? {} : { host }), path, port: 'health' });
    }
  }
});

/** Resources that code names, by the constant that it uses. */
const constants: Readonly<Record<string, Pick<Resource, 'group' | 'plural'>>> = {
  ...Object.fromEntries(Object.entries(api.RESOURCES).map(([kind, one]) => [`RESOURCES.${kind}`, one])),
  ...Object.fromEntries(Object.entries(core).filter(([, one]) => typeof one === 'object')) as Record<string, Resource>,
  LEASES, EVENTS,
};

function namedIn(folder: string): Set<string> {
  const text = globSync(`${root}src/${folder}/**/*.ts`).map((file) => readFileSync(file, 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*$/gm, '')).join('\n');
  return new Set(Object.entries(constants).filter(([name]) => new RegExp(`\\b${name.replace('.', '\\.')}\\b`).test(text)).map(([, { group, plural }]) => `${group}/${plural}`));
}

const rolesOf = (name: string) => [object('ClusterRole', name), object('Role', name)];

test('every resource that the controller names it may read, and it may touch no other', () => {
  const may = rolesOf('ipvs-operator-controller').flatMap(permissions);
  const named = namedIn('controller');
  // Events are only written; Pods are read where an administrator allows it (the chart's rbac.readPods), and nobody waits for them.
  const exempt = new Set(['events.k8s.io/events', '/pods']);
  for (const resource of named) if (!exempt.has(resource)) for (const verb of ['get', 'list', 'watch']) assert.ok(may.includes(`${verb} ${resource}`), `${verb} ${resource}`);
  assert.ok(named.size >= 10 && named.has('/pods'));
  const touched = new Set(may.map((one) => one.slice(one.indexOf(' ') + 1).replace(/\/status$/, '')));
  assert.deepEqual([...touched].filter((resource) => !named.has(resource) && resource !== 'events.k8s.io/events'), []);
});

test('the controller writes what it makes, and of what people write the status only', () => {
  const may = rolesOf('ipvs-operator-controller').flatMap(permissions).filter((one) => !/^(get|list|watch) /.test(one));
  const verbs = (resource: string) => may.filter((one) => one.endsWith(` ${resource}`)).map((one) => one.split(' ')[0]);
  for (const kind of ['virtualips', 'virtualserverprograms', 'ipvsnodes']) assert.deepEqual(verbs(`ipvs-operator.dev/${kind}`), ['create', 'delete', 'update']);
  for (const kind of ['virtualservers', 'vippools', 'directorgroups', 'virtualips']) assert.deepEqual(verbs(`ipvs-operator.dev/${kind}/status`), ['patch', 'update']);
  assert.deepEqual(verbs('coordination.k8s.io/leases'), ['create', 'update']);
  assert.deepEqual(verbs('events.k8s.io/events'), ['create', 'update']);
  assert.equal(may.length, 3 * 3 + 4 * 2 + 2 + 2, `nothing else: ${may.join(', ')}`);
  // In a namespace with others it must not be able to write theirs.
  const leases = (object('Role', 'ipvs-operator-controller')['rules'] as readonly Rule[]).filter(({ verbs }) => verbs.includes('update'));
  assert.deepEqual(leases.map(({ resourceNames }) => resourceNames), [[CONTROLLER_LEASE]]);
});

test('the agent reads what it is told and reports, exactly', () => {
  const [cluster, own] = rolesOf('ipvs-operator-agent').map(permissions);
  const kinds = ['directorgroups', 'ipvsnodes', 'virtualips', 'virtualserverprograms'];
  assert.deepEqual(cluster, [
    ...['get', 'list', 'watch'].flatMap((verb) => kinds.map((kind) => `${verb} ipvs-operator.dev/${kind}`)),
    'patch ipvs-operator.dev/ipvsnodes/status', 'update ipvs-operator.dev/ipvsnodes/status', 'patch ipvs-operator.dev/virtualips/status',
    ...['create', 'update'].map((verb) => `${verb} events.k8s.io/events`),
  ].sort());
  assert.deepEqual(own, ['create', 'get', 'list', 'update', 'watch'].map((verb) => `${verb} coordination.k8s.io/leases`));
  for (const resource of namedIn('agent')) assert.ok([...cluster!, ...own!].some((one) => one.endsWith(` ${resource}`)), resource);
});

test('nobody may read Secrets, use wildcards, or give itself more', () => {
  for (const role of installed.filter(({ kind }) => /Role$/.test(kind))) {
    for (const one of permissions(role)) assert.doesNotMatch(one, /\*|secrets|escalate|impersonate|\bbind\b|rolebindings|clusterroles|\/pods|serviceaccounts/, `${role.metadata.name}: ${one}`);
  }
});

test('every binding gives a role that exists to a service account that a workload uses', () => {
  const bindings = installed.filter(({ kind }) => /RoleBinding$/.test(kind)) as unknown as (typeof installed[number] & { roleRef: { kind: string; name: string }; subjects: { kind: string; name: string; namespace: string }[] })[];
  assert.equal(bindings.length, 4);
  for (const { roleRef, subjects } of bindings) {
    object(roleRef.kind, roleRef.name);
    for (const { kind, name, namespace } of subjects) {
      assert.equal(namespace, object(kind, name).metadata.namespace);
      assert.ok([controller, agent].some(({ spec }) => spec.template.spec['serviceAccountName'] === name));
    }
  }
});
