/** What needs a cluster is refused on a host without one: by object, by field, with what to do; and the last good form stays. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readDocuments } from '../../../src/standalone/documents.ts';
import { backends, virtualServer } from '../api/cases.ts';
import { ipvsNode, virtualIP } from '../api/cases-machines.ts';

const read = (...items: unknown[]) => readDocuments(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }), 'json');
const serviceRef = { serviceRef: { name: 'shop', port: 'http' } };
const nodes = { nodes: { selector: { matchLabels: { role: 'web' } } } };

const REFUSED: [string, Record<string, unknown>, string][] = [
  ['a Service as backend', { backends: [serviceRef] }, 'spec.backends[0].serviceRef: Service shop is an object of a cluster, and standalone has none; list the real servers in static.endpoints'],
  ['nodes as backend', { backends: [nodes] }, 'spec.backends[0].nodes: nodes are objects of a cluster, and standalone has none; list their addresses in static.endpoints'],
  ['a Service beside addresses', { backends: [...backends('192.168.20.15'), serviceRef] }, 'spec.backends[1].serviceRef: Service shop is an object of a cluster, and standalone has none; list the real servers in static.endpoints'],
  ['trafficPolicy Local', { trafficPolicy: 'Local' },
    'spec.trafficPolicy: Local means the real servers on the node of the director, and standalone knows of no nodes; remove trafficPolicy, or set it to Cluster'],
];

for (const [name, spec, message] of REFUSED) {
  test(`a host without a cluster refuses ${name}, and the objects beside it stand`, () => {
    const { documents, problems, complete } = read(virtualServer(spec), virtualServer({}, { name: 'media' }));
    assert.deepEqual(documents.map((d) => [d.key, d.object !== null]), [['VirtualServer/tenant-a/shop', false], ['VirtualServer/tenant-a/media', true]]);
    assert.deepEqual(problems.map(({ code, severity, object, message: text }) => ({ code, severity, object, text })),
      [{ code: 'NeedsCluster', severity: 'error', object: 'VirtualServer/tenant-a/shop', text: message }]);
    assert.ok(complete, 'the object is known by name, so nothing is hidden');
  });
}

test('every field that needs a cluster is named', () => {
  assert.deepEqual(read(virtualServer({ backends: [serviceRef, nodes], trafficPolicy: 'Local' })).problems.map((p) => p.message.slice(0, p.message.indexOf(':'))),
    ['spec.backends[0].serviceRef', 'spec.backends[1].nodes', 'spec.trafficPolicy']);
});

test('trafficPolicy Cluster written out is what it is anyway', () => {
  assert.deepEqual(read(virtualServer({ trafficPolicy: 'Cluster' })).problems, []);
});

test('objects of the operator in a dump of a cluster are left alone', () => {
  const { documents, problems, complete } = read(virtualIP(), virtualServer(), ipvsNode());
  assert.deepEqual(documents.map((d) => d.key), ['VirtualServer/tenant-a/shop']);
  assert.deepEqual(problems.map((p) => [p.code, p.severity]), [['MachineKind', 'info'], ['MachineKind', 'info']]);
  assert.ok(complete);
});
