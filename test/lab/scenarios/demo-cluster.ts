// The chapters of `npm run demo:cluster` as a scenario: nobody reads, nothing is drawn, and every sentence must be true.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clusterActSeconds, story } from '../demo/act-cluster.ts';
import { programPath } from '../../cluster/programs.ts';
import { renderArguments, topology } from '../demo/cluster-network.ts';
import { createStage } from '../demo/stage.ts';
import { stories, turnsFolder, type Told } from '../demo/story.ts';
import { scenario } from '../lab.ts';
import { runCommand } from '../process.ts';

export const cluster = scenario({
  name: 'demo-cluster-story',
  about: 'the chart and the examples on a real API server: balanced, scaled up and down, and the VIP moves when its director dies, as the demo says',
  topology,
  tags: ['cluster', 'long'],
  timeoutSeconds: clusterActSeconds,
  run: async (lab) => {
    const shared = mkdtempSync('/run/demo-');
    mkdirSync(join(shared, turnsFolder));
    const told: Told[] = [];
    const stage = createStage(shared, (line) => {
      const { what, chapter } = JSON.parse(line) as Told;
      told.push({ what, chapter });
      if (what.kind === 'turn') writeFileSync(join(shared, turnsFolder, what.name), '');
      if (what.kind !== 'bars' || what.last) lab.log(`chapter ${chapter}: ${JSON.stringify(what)}`);
    });
    const rendered = await runCommand([programPath('helm'), ...renderArguments], { timeoutMs: 60_000, environment: { HELM_CACHE_HOME: '/run/helm', HELM_CONFIG_HOME: '/run/helm', HELM_DATA_HOME: '/run/helm' } });
    assert.equal(rendered.code, 0, rendered.stderr);
    await story(lab, stage, rendered.stdout);
    assert.deepEqual(told.flatMap(({ what }) => (what.kind === 'claim' && !what.holds ? [`${what.text}: ${what.found}`] : [])), [], 'what the story says is true');
    assert.deepEqual(told.filter(({ what }) => what.kind === 'end').map(({ chapter }) => chapter), stories.cluster.cluster, 'every chapter is told');
    for (const chapter of stories.cluster.cluster) assert.ok(told.some((one) => one.chapter === chapter && one.what.kind === 'claim'), `chapter ${chapter} claims something`);
    const lost = told.reduce((sum, { what }) => sum + (what.kind === 'counted' ? what.lost : 0), 0);
    assert.equal(lost, 0, 'no connection was lost');
  },
});
