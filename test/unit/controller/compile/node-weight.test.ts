/** Weights by the label of a node and the annotation of a Pod: what they say, what becomes of weights, and where they count. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NO_CLUSTER, type Cluster } from '../../../../src/controller/compile/cluster.ts';
import { percentOf, shareOf } from '../../../../src/controller/compile/node-weight.ts';
import type { EndpointSlice } from '../../../../src/controller/core.ts';
import { compile, endpoints, pin, server } from './setup.ts';

test('a label is a whole number from 0 to 65535, written as people write one', () => {
  for (const [label, percent] of [['0', 0], ['1', 1], ['50', 50], ['100', 100], ['65535', 65535]] as const) assert.equal(percentOf(label), percent);
  for (const label of ['', '-1', '65536', '100000', '050', '1.5', '1e2', '0x10', '50%', 'heavy', ' 5', '5\n', '٥']) assert.equal(percentOf(label), null, JSON.stringify(label));
});

test('the label is percent of the weight, rounded; 0 only when one of them is', () => {
  for (const [weight, percent, result] of [[100, 50, 50], [100, 100, 100], [100, 250, 250], [3, 50, 2], [1, 50, 1], [1, 1, 1], [1, 149, 1], [1, 150, 2], [0, 100, 0], [100, 0, 0], [65535, 200, 65535]] as const) {
    assert.equal(shareOf(weight, percent), result, `${percent} % of ${weight}`);
  }
});

test('weights stay weights, and keep their order', () => {
  const weight = fc.integer({ min: 0, max: 65535 });
  fc.assert(fc.property(weight, weight, weight, (a, b, percent) => {
    const [low, high] = [Math.min(a, b), Math.max(a, b)];
    const [x, y] = [shareOf(low, percent), shareOf(high, percent)];
    assert.ok(x <= y && x >= 0 && y <= 65535 && Number.isInteger(x) && Number.isInteger(y));
    assert.equal(y === 0, high === 0 || percent === 0);
    assert.equal(shareOf(a, 100), a, '100 changes nothing');
  }));
});

test('of two percentages the weight is rounded once, and the order does not matter', () => {
  for (const [weight, node, pod, result] of [[100, 50, 50, 25], [3, 50, 50, 1], [10, 33, 50, 2], [1, 50, 50, 1], [100, 0, 200, 0], [100, 200, 0, 0], [65535, 65535, 65535, 65535]] as const) {
    assert.equal(shareOf(weight, node, pod), result, `${pod} % of ${node} % of ${weight}`);
    assert.equal(shareOf(weight, pod, node), result);
  }
});

const slice: EndpointSlice = {
  apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name: 'shop-1', namespace: 'default' }, addressType: 'IPv4', ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  endpoints: [{ addresses: ['10.1.0.1'], nodeName: 'big' }, { addresses: ['10.1.0.2'], nodeName: 'small' }, { addresses: ['10.1.0.3'], nodeName: 'plain' }, { addresses: ['10.1.0.4'] }],
};
const ADDRESSES: Record<string, string> = { '192.0.2.1': 'big', '192.0.2.2': 'small', '192.0.2.3': 'plain' };
function cluster(labels: Record<string, string>): Cluster {
  return {
    ...NO_CLUSTER, present: true,
    service: () => ({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'shop', namespace: 'default' }, spec: { ports: [{ port: 80 }] } }), slices: () => [slice],
    nodes: () => Object.entries(ADDRESSES).map(([address, name]) => ({ name, labels: {}, addresses: [address] })), nodeOf: (a) => ADDRESSES[a] ?? null,
    weightLabel: (node) => labels[node] ?? null,
  };
}
function compiled(backends: Record<string, unknown>, labels: Record<string, string>) {
  const verdict = compile({ servers: [server('shop', { ...pin('203.0.113.1'), ...backends })], cluster: cluster(labels) }).verdicts['default/shop']!;
  const weights = Object.fromEntries(verdict.program!.spec.services[0]!.realServers.map((r) => { const [address, , weight] = r.split('|'); return [address!, Number(weight)]; }));
  return { weights, verdict };
}

test('it counts for every real server on the node, wherever it comes from: a Service, nodes, or an address of the node', () => {
  const labels = { big: '200', small: '50' };
  assert.deepEqual(compiled({ backends: [{ weight: 100, serviceRef: { name: 'shop' } }] }, labels).weights, { '10.1.0.1': 200, '10.1.0.2': 50, '10.1.0.3': 100, '10.1.0.4': 100 });
  assert.deepEqual(compiled({ backends: [{ weight: 10, nodes: { selector: { matchLabels: { a: 'b' } } } }] }, labels).weights, { '192.0.2.1': 20, '192.0.2.2': 5, '192.0.2.3': 10 });
});

test('a weight of its own counts before the one of the backend, and the label on top', () => {
  const here = endpoints({ address: '10.0.0.21', weight: 30 }, '10.0.0.22', { address: '10.0.0.23', weight: 0 });
  const everywhere: Cluster = { ...cluster({ big: '50' }), nodeOf: () => 'big' };
  const { program } = compile({ servers: [server('shop', { ...pin('203.0.113.1'), ...here })], cluster: everywhere }).verdicts['default/shop']!;
  assert.deepEqual(program!.spec.services[0]!.realServers, ['10.0.0.21|80|15|big', '10.0.0.22|80|1|big', '10.0.0.23|80|0|big']);
});

test('a label of 0 quiesces the node, and its real servers stay in the program', () => {
  assert.deepEqual(compiled({ backends: [{ serviceRef: { name: 'shop' } }] }, { big: '0' }).weights, { '10.1.0.1': 0, '10.1.0.2': 1, '10.1.0.3': 1, '10.1.0.4': 1 });
});

test('a label that is no weight does not count, and is named', () => {
  const { weights, verdict } = compiled({ backends: [{ weight: 100, serviceRef: { name: 'shop' } }] }, { big: 'heavy', small: '50' });
  assert.deepEqual(weights, { '10.1.0.1': 100, '10.1.0.2': 50, '10.1.0.3': 100, '10.1.0.4': 100 });
  assert.deepEqual(verdict.badWeights, [{ kind: 'Node', name: 'big', text: 'heavy' }]);
  assert.equal(verdict.accepted, true);
  const concernsNobody = compiled({ backends: [{ weight: 100, serviceRef: { name: 'shop' } }] }, { elsewhere: 'heavy' });
  assert.deepEqual(concernsNobody.verdict.badWeights, []);
});

test('the same labels give the same program, and another label another hash', () => {
  const hash = (labels: Record<string, string>) => compiled({ backends: [{ weight: 100, serviceRef: { name: 'shop' } }] }, labels).verdict.program!.spec.contentHash;
  assert.equal(hash({ big: '200' }), hash({ big: '200' }));
  assert.equal(hash({ big: '100' }), hash({}));
  assert.notEqual(hash({ big: '200' }), hash({}));
});

test('the annotation of a Pod counts where a backend asks for it: that backend, that Pod', () => {
  const pods: Record<string, string> = { 'default/shop-a': '50', 'default/shop-b': 'light', 'elsewhere/shop-c': '7' };
  const named: EndpointSlice = { ...slice, endpoints: ['a', 'b', 'c', 'd'].map((id, i) => ({ addresses: [`10.1.0.${i + 1}`], nodeName: 'big', targetRef: { kind: id === 'd' ? 'Node' : 'Pod', name: `shop-${id}` } })) };
  const asked = (podWeights: string, podsKnown = true) => {
    const around: Cluster = { ...cluster({ big: '200' }), slices: () => [named], podWeight: (pod) => (podsKnown ? pods[pod] ?? null : null), podsKnown };
    const verdict = compile({ servers: [server('shop', { ...pin('203.0.113.1'), backends: [{ weight: 100, serviceRef: { name: 'shop', podWeights } }] })], cluster: around }).verdicts['default/shop']!;
    return { weights: verdict.program!.spec.services[0]!.realServers.map((r) => Number(r.split('|')[2])), bad: verdict.badWeights, unknown: verdict.podsUnknown };
  };
  assert.deepEqual(asked('Annotation'), { weights: [100, 200, 200, 200], bad: [{ kind: 'Pod', name: 'default/shop-b', text: 'light' }], unknown: false });
  assert.deepEqual(asked('Ignore'), { weights: [200, 200, 200, 200], bad: [], unknown: false });
  assert.deepEqual(asked('Annotation', false), { weights: [200, 200, 200, 200], bad: [], unknown: true });
  assert.deepEqual(asked('Ignore', false), { weights: [200, 200, 200, 200], bad: [], unknown: false });
});
