/** Memory is given back once the work is over, and again only when garbage has grown. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Footprint, giveBack } from '../../../src/agent/footprint.ts';

function setUp() {
  const state = { now: 0, resident: 100, given: 0, settled: 0 };
  const footprint = new Footprint({ now: () => state.now, residentMemory: () => state.resident, giveBack: () => { state.given++; state.resident = 80; }, settled: () => { state.settled++; } });
  return { state, footprint };
}

test('nothing is given back during the start, nor soon after work', () => {
  const { state, footprint } = setUp();
  state.now = 2_000;
  footprint.look();
  footprint.worked();
  state.now = 4_900;
  footprint.look();
  assert.equal(state.given, 0);
  state.now = 5_000;
  footprint.look();
  assert.equal(state.given, 1);
});

test('after that, only growth by an eighth is worth the pause, and only each half minute', () => {
  const { state, footprint } = setUp();
  state.now = 10_000;
  footprint.look();
  state.now = 60_000;
  state.resident = 89;
  footprint.look();
  assert.equal(state.given, 1);
  state.resident = 90;
  footprint.look();
  assert.equal(state.given, 2);
  state.now = 89_999;
  state.resident = 1_000;
  footprint.look();
  assert.equal(state.given, 2);
  state.now = 90_000;
  footprint.look();
  assert.equal(state.given, 3);
});

test('that the start is over is told once', () => {
  const { state, footprint } = setUp();
  footprint.look();
  assert.equal(state.settled, 0);
  for (state.now = 30_000; state.now < 180_000; state.now += 30_000) {
    state.resident = 1_000;
    footprint.look();
  }
  assert.deepEqual([state.settled, state.given], [1, 5]);
});

test('a large amount of garbage is really given back', async () => {
  let garbage: number[][] | null = Array.from({ length: 2_000 }, () => new Array<number>(4_000).fill(1.5));
  const before = process.memoryUsage.rss();
  assert.equal(garbage.length, 2_000);
  garbage = null;
  giveBack();
  // Threads of V8 return the pages. By itself it collects nothing so soon.
  for (const end = performance.now() + 4_000; process.memoryUsage.rss() >= before - 30e6 && performance.now() < end;) await new Promise((resolve) => { setTimeout(resolve, 10); });
  assert.ok(process.memoryUsage.rss() < before - 30e6, `${before} ${process.memoryUsage.rss()}`);
});

test('nothing is compiled before there is much to do, and then it is', () => {
  const script = `
    import { optimize, optimizeLater } from ${JSON.stringify(new URL('../../../src/agent/footprint.ts', import.meta.url).href)};
    const hot = (n) => { let s = 0; for (let i = 0; i < n; i++) s = (s * 31 + i) | 0; return s; };
    // V8's bit for code of an optimizing compiler.
    const compiled = () => (%GetOptimizationStatus(hot) & 16) !== 0;
    // Where V8 may, it compiles that in the first five rounds.
    const run = async (rounds) => { for (; rounds > 0 && !compiled(); rounds--, await new Promise(setImmediate)) for (let i = 0; i < 100; i++) hot(1000); };
    optimizeLater();
    await run(30);
    const before = compiled();
    optimize();
    await run(10_000);
    console.log(before, compiled());`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--allow-natives-syntax', '--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.equal(stdout.trim(), 'false true', stderr);
});

test('with much to do garbage gets more room, up to a bound and no further', () => {
  const script = `
    import { growLate, growUpTo } from ${JSON.stringify(new URL('../../../src/agent/footprint.ts', import.meta.url).href)};
    import { getHeapSpaceStatistics } from 'node:v8';
    growLate();
    const young = () => Math.round(getHeapSpaceStatistics().find((s) => s.space_name === 'new_space').space_size / 2 ** 20);
    let kept = [];
    const work = () => { for (let i = 0; i < 40_000; i++) if (kept.push({ i, pair: [i, i] }) > 20_000) kept = []; };
    // While V8 marks the old generation it lets the young one grow beyond its size for a moment: its size is the least that was seen.
    const least = (rounds, each) => { const seen = []; for (let i = 0; i < rounds; i++) { each(i); work(); seen.push(young()); } return Math.min(...seen.slice(-20)); };
    const before = least(40, () => {});
    // Without a bound it is 64 MB by then.
    const after = least(120, (i) => { if (i % 4 === 0) growUpTo(8 * 2 ** 20); });
    console.log(before, after);`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  const [before = NaN, after = NaN] = stdout.trim().split(' ').map(Number);
  assert.ok(before <= 3 && after >= 8 && after <= 16, `${stdout} ${stderr}`);
});
