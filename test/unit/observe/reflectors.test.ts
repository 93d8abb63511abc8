/** What agent and controller say of what they watch: every figure under its own name. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { KUBE_METRICS } from '../../../src/observe/catalogue.ts';
import { instrumentsOf } from '../../../src/observe/definition.ts';
import { createMetrics } from '../../../src/observe/metrics.ts';
import { fillReflectors, type WatchedResource } from '../../../src/observe/reflectors.ts';
import { parseText } from './text.ts';

const nodes: WatchedResource = { resource: 'nodes', stats: { lists: 1, watches: 2, events: 3, errors: 4, badObjects: 5, lastEventAt: 1_000 }, synced: true, objects: 6 };
const never: WatchedResource = { resource: 'leases', stats: { lists: 0, watches: 0, events: 0, errors: 9, badObjects: 0, lastEventAt: null }, synced: false, objects: 0 };

test('each figure has its own name, and an age only what was ever heard of', async () => {
  const metrics = createMetrics({ process: false });
  fillReflectors(instrumentsOf(metrics, KUBE_METRICS), [nodes, never], 8_500);
  let text = '';
  for await (const piece of metrics.scrape()) text += piece;
  const said = (resource: string) => Object.fromEntries(parseText(text).labelled.filter(({ labels }) => labels['resource'] === resource).map(({ name, value }) => [name.replace('ipvs_operator_reflector_', ''), value]));
  assert.deepEqual(said('nodes'), { lists_total: 1, watches_total: 2, events_total: 3, errors_total: 4, last_event_age_seconds: 7.5, synced: 1, objects: 6, bad_objects: 5 });
  assert.deepEqual(said('leases'), { lists_total: 0, watches_total: 0, events_total: 0, errors_total: 9, synced: 0, objects: 0, bad_objects: 0 });
});
