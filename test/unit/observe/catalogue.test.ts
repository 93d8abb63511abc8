/** The tables of metrics keep to Prometheus' rules, agree with the code they name, and docs/metrics.md has every one of them. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import type { Operation } from '../../../src/agent/operation.ts';
import { AGENT_METRICS, CATALOGUES, CONTROLLER_METRICS, KUBE_METRICS } from '../../../src/observe/catalogue.ts';
import { instrumentsOf, type Definition } from '../../../src/observe/definition.ts';
import { createMetrics } from '../../../src/observe/metrics.ts';

const all = CATALOGUES.flatMap(({ metrics }) => Object.values(metrics) as Definition[]);

test('every name is one, belongs to nobody else, and ends as its type and unit say', () => {
  assert.equal(new Set(all.map(({ name }) => name)).size, all.length);
  for (const { name, type, help, labels } of all) {
    assert.match(name, /^(ipvs_operator|process|nodejs)_[a-z0-9_]+$/);
    assert.equal(name.endsWith('_total'), type === 'counter', `${name}: counters end in _total and nothing else does`);
    if (type === 'histogram') assert.match(name, /_(seconds|bytes)$/);
    assert.doesNotMatch(name, /_(ms|milliseconds|kb|percent)(_|$)/, 'base units');
    assert.match(help, /\S.*\.$/, `${name} has a sentence of help`);
    assert.doesNotMatch(help, /\n/);
    for (const label of Object.keys(labels)) assert.ok(/^[a-z_]+$/.test(label) && label !== 'le' && (label !== 'quantile'), `${name}: label ${label}`);
  }
});

test('an agent and a controller can make all of theirs at once', () => {
  const agent = createMetrics({ process: false });
  instrumentsOf(agent, AGENT_METRICS);
  instrumentsOf(agent, KUBE_METRICS);
  const controller = createMetrics({ process: false });
  instrumentsOf(controller, CONTROLLER_METRICS).leader.set(1);
  instrumentsOf(controller, KUBE_METRICS).lists.set({ resource: 'nodes' }, 1);
});

test('every metric is fed: none is promised that nobody counts', () => {
  const text = globSync('src/**/*.ts', { cwd: new URL('../../../', import.meta.url).pathname, exclude: ['src/observe/catalogue.ts'] })
    .map((file) => readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8')).join('\n');
  for (const { title, metrics } of CATALOGUES) {
    for (const key of Object.keys(metrics)) assert.match(text, new RegExp(`\\w\\.${key}\\b`), `${title}: ${key}`);
  }
});

test('the kinds of operations are those that the agent has', () => {
  // A kind that is missing or invented does not compile.
  const kinds: Record<Operation['kind'], true> = {
    addService: true, setService: true, delService: true, addDestination: true, setDestination: true, delDestination: true, setTimeouts: true, startSync: true, stopSync: true,
    addTunnel: true, delTunnel: true, linkUp: true, addAddress: true, delAddress: true, addLocalRoute: true, addFou: true, delFou: true, setSysctl: true, setRules: true, announce: true,
  };
  assert.deepEqual([...AGENT_METRICS.operations.labels.kind].sort(), Object.keys(kinds).sort());
});

test('docs/metrics.md names every metric', () => {
  const page = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
  for (const { name } of all) assert.ok(page.includes(`\`${name}\``), name);
});
