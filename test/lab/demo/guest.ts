// The demo's process inside a guest: plays acts one after the other, each as a scenario of its own network.
//   node test/lab/demo/guest.ts SHARED ACT ...
// Its output is the story, one happening a line (story.ts); the log of each act is SHARED/demo-ACT.log.

import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prepareGuest } from '../prepare-guest.ts';
import { runScenario } from '../run-scenario.ts';
import type { Scenario } from '../lab.ts';
import { cluster } from './act-cluster.ts';
import { life } from './act-life.ts';
import { dr, nat, tun } from './act-modes.ts';
import { createStage, type Stage } from './stage.ts';
import { acts, type ActName } from './story.ts';

const play: Record<ActName, (stage: Stage, shared: string) => Scenario> = { dr, nat, tun, life, cluster };

/** Multiplies every time limit: a busy machine is no failure. The host's own limit on a guest is in ../demo.ts. */
const slowness = 3;

prepareGuest();
const [shared, ...names] = process.argv.slice(2) as [string, ...ActName[]];
const print = (line: string): void => { process.stdout.write(`${line}\n`); };

for (const name of names) {
  const log = join(shared, `demo-${name}.log`);
  writeFileSync(log, '');
  const started = performance.now();
  const result = await runScenario(play[name](createStage(shared, print), shared), (line) => {
    appendFileSync(log, `${((performance.now() - started) / 1000).toFixed(2).padStart(7)}  ${line}\n`);
  }, slowness);
  // The chapters that have ended already ignore this.
  if (result.error !== null) {
    const error = result.error.split('\n').slice(0, 6).join('\n');
    for (const chapter of acts[name]) print(JSON.stringify({ chapter, what: { kind: 'failed', error, log: `demo-${name}.log` } }));
  }
}
process.exit(0);
