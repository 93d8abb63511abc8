/** The page of the benchmarks: each bench writes its part of it and leaves those of the others. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { formatSection as clusterSection } from '../../bench/cluster/report.ts';
import type { Results } from '../../bench/cluster/measures.ts';
import { formatSection as healthSection, rowsOf, type Figures } from '../../bench/health/report.ts';
import { withFirstPart, withSection, type Section } from '../../bench/page.ts';

const [CLUSTER, HEALTH]: readonly Section[] = ['## In a cluster', '## Health checks'];
const FIRST = '# Benchmarks\n\n## How\n\ntext\n';
const circumstances = { date: '2026-01-01', cpu: 'x', commit: 'abc', load: [0, 1] } as const;
const NOTHING: Results = { kernel: 'Linux', node: 'v24', pipeline: {} };
const FIGURES: Figures = {
  kernel: 'Linux', keepalived: '2.2.7', distinct: { ours: [600, 900, 600], peer: [300, 300, 600] }, shared: { ours: [10, 20, 30], peer: [1, 5, 3] }, latenessP99: [50, 50, 100], pauseMs: [30, 90, 120],
  missed: 0, failed: 0, beyondMs: [[20, 30], [49, 51]],
};

test('a section goes into its place whatever is written first, and what is there stays', () => {
  const cluster = clusterSection(NOTHING, circumstances);
  const health = healthSection(FIGURES, circumstances);
  const both = withSection(withSection(FIRST, CLUSTER!, cluster), HEALTH!, health);
  assert.equal(withSection(withSection(FIRST, HEALTH!, health), CLUSTER!, cluster), both);
  assert.equal(both, `${FIRST}\n${cluster.trimEnd()}\n\n${health.trimEnd()}\n`);
  assert.equal(withSection(both, CLUSTER!, cluster), both, 'written twice it is the same page');
  assert.equal(withSection(both, CLUSTER!, '## In a cluster\n\nnew\n'), `${FIRST}\n## In a cluster\n\nnew\n\n${health.trimEnd()}\n`);
  assert.equal(withFirstPart(both, '# Benchmarks\n\nnew\n'), `# Benchmarks\n\nnew\n\n${cluster.trimEnd()}\n\n${health.trimEnd()}\n`);
  assert.equal(withFirstPart(FIRST, '# Benchmarks\n\nnew\n'), '# Benchmarks\n\nnew\n');
});

test('the page as it is has all sections, in order', () => {
  const page = readFileSync(new URL('../../../docs/benchmarks.md', import.meta.url), 'utf8');
  const at = [CLUSTER!, HEALTH!].map((heading) => page.indexOf(`\n${heading}\n`));
  assert.ok(at[0]! > 0 && at[1]! > at[0]!, `${at}`);
});

test('health checks are judged by the median of the pairs, and deaths by the p99 of all of them', () => {
  assert.deepEqual(rowsOf(FIGURES).map(({ name, value, kept }) => [name, value, kept]), [
    ['distinct', 2, true], ['shared', 10, true], ['lateness', 50, true], ['pause', 90, true], ['death', 51, false], ['missed', 0, true],
  ]);
  const alone = { ...FIGURES, distinct: { ours: [1], peer: [] }, shared: { ours: [1], peer: [] }, missed: 1 };
  assert.deepEqual(rowsOf(alone).map(({ name, kept }) => [name, kept]), [['lateness', true], ['pause', true], ['death', false], ['missed', false]], 'without keepalived there is no ratio');
});
