/** Instruments count, the text is what Prometheus reads, hooks cannot break a scrape, and the event loop is let run in between. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { counter, gauge, histogram, instrumentsOf } from '../../../src/observe/definition.ts';
import { Counter, MAX_SERIES } from '../../../src/observe/instruments.ts';
import { createMetrics, type Metrics } from '../../../src/observe/metrics.ts';
import { turnsDuring } from '../turns.ts';
import { parseText } from './text.ts';

async function textOf(metrics: Metrics): Promise<string> {
  let text = '';
  for await (const piece of metrics.scrape()) text += piece;
  return text;
}
const samplesOf = async (metrics: Metrics) => parseText(await textOf(metrics)).samples;
const bare = () => createMetrics({ process: false });

test('a counter counts, by one and by more, and takes over the total of somebody else', async () => {
  const metrics = bare();
  const events = metrics.counter('events_total', 'Events.', ['kind']);
  events.inc({ kind: 'a' });
  events.inc({ kind: 'a' }, 2);
  events.set({ kind: 'b' }, 40);
  const all = metrics.counter('all_total', 'All.');
  all.inc();
  all.inc(1.5);
  const samples = await samplesOf(metrics);
  assert.equal(samples.get('events_total{kind="a"}'), 3);
  assert.equal(samples.get('events_total{kind="b"}'), 40);
  assert.equal(samples.get('all_total'), 2.5);
});

test('a counter never shrinks, and not by an amount that is none', () => {
  const events = bare().counter('events_total', 'Events.');
  assert.throws(() => events.inc(-1), RangeError);
  assert.throws(() => events.inc(NaN), RangeError);
});

test('a counter without labels is there before anything happens, and a gauge is not before it is known', async () => {
  const metrics = bare();
  metrics.counter('events_total', 'Events.');
  metrics.histogram('took_seconds', 'Time.', [], [1]);
  metrics.gauge('level', 'Level.');
  const samples = await samplesOf(metrics);
  assert.equal(samples.get('events_total'), 0);
  assert.equal(samples.get('took_seconds_count'), 0);
  assert.equal(samples.has('level'), false);
});

test('a histogram counts at most its bound, cumulatively, with sum and count', async () => {
  const metrics = bare();
  const took = metrics.histogram('took_seconds', 'Time.', ['kind'], [0.1, 1]);
  for (const value of [0.1, 0.5, 1, 7]) took.observe({ kind: 'x' }, value);
  const samples = await samplesOf(metrics);
  assert.deepEqual([...samples].filter(([key]) => key.startsWith('took')), [
    ['took_seconds_bucket{kind="x",le="0.1"}', 1], ['took_seconds_bucket{kind="x",le="1"}', 3], ['took_seconds_bucket{kind="x",le="+Inf"}', 4],
    ['took_seconds_sum{kind="x"}', 8.6], ['took_seconds_count{kind="x"}', 4],
  ]);
  assert.throws(() => metrics.histogram('bad', '', [], [1, 1]), RangeError);
});

test('labels may hold anything: every text comes back as it was, and no two sets of values are taken for one', async () => {
  const metrics = bare();
  const g = metrics.gauge('level', 'A "level"\\ of\nthings.', ['a', 'b']);
  const values = ['', '1:', 'x|', '|x', 'a"b', 'line\nline', 'back\\slash', '{}', ',=', '203.0.113.1', 'ü', '\u0000'];
  let n = 0;
  for (const a of values) for (const b of values) g.set({ a, b }, n++);
  const { labelled, help } = parseText(await textOf(metrics));
  const seen = new Map(labelled.filter(({ name }) => name === 'level').map(({ labels, value }) => [value, [labels['a'], labels['b']]]));
  assert.equal(seen.size, values.length ** 2);
  n = 0;
  for (const a of values) for (const b of values) assert.deepEqual(seen.get(n++), [a, b]);
  assert.equal(help.get('level'), 'A "level"\\\\ of\\nthings.');
});

test('a label that is missing is a mistake that is named', () => {
  const g = bare().gauge('level', 'Level.', ['a']);
  assert.throws(() => g.set({} as { a: string }, 1), /level: label a must be a text, and is undefined/);
  assert.throws(() => g.set({ a: 7 } as unknown as { a: string }, 1), /label a must be a text, and is 7/);
});

test('a name is taken once, has a prefix where one is given, and is a name', async () => {
  const metrics = createMetrics({ prefix: 'mine_', process: false });
  metrics.counter('events_total', 'Events.').inc();
  assert.throws(() => metrics.gauge('events_total', ''), /there is a metric mine_events_total already/);
  assert.throws(() => metrics.gauge('bad-name', ''), /no name for a metric/);
  assert.throws(() => metrics.gauge('level', '', ['bad label']), /no name for a metric or a label/);
  assert.equal((await samplesOf(metrics)).get('mine_events_total'), 1);
});

test('an instrument that is filled slowly has the series of before until all of them are there', async () => {
  const metrics = createMetrics({ process: false });
  const seen = metrics.counter('seen_total', 'X.', ['a']);
  let rounds = 0;
  metrics.collect(async () => {
    const next = new Counter<{ a: string }>('seen_total', 'X.', ['a']);
    for (const a of ['x', 'y', `z${rounds}`]) {
      await new Promise(setImmediate);
      next.set({ a }, rounds);
    }
    rounds++;
    seen.take(next);
  });
  const values = () => seen.series().map(({ labels, value }) => `${labels.join()} ${value}`);
  await textOf(metrics);
  assert.deepEqual(values(), ['x 0', 'y 0', 'z0 0']);
  const again = textOf(metrics);
  await new Promise(setImmediate);
  assert.deepEqual(values(), ['x 0', 'y 0', 'z0 0']);
  await again;
  assert.deepEqual(values(), ['x 1', 'y 1', 'z1 1']);
});

test('a series can be removed, and an instrument cleared and filled anew by a hook', async () => {
  const metrics = bare();
  const g = metrics.gauge('level', 'Level.', ['a']);
  let names = ['x', 'y'];
  metrics.collect(() => { g.clear(); for (const a of names) g.set({ a }, 1); });
  assert.deepEqual([...await samplesOf(metrics)].map(([key]) => key).filter((key) => key.startsWith('level')), ['level{a="x"}', 'level{a="y"}']);
  names = ['y', 'z'];
  assert.deepEqual([...await samplesOf(metrics)].map(([key]) => key).filter((key) => key.startsWith('level')), ['level{a="y"}', 'level{a="z"}']);
  g.remove({ a: 'z' });
  assert.equal(g.series().length, 1);
});

test('a hook that fails is counted and told, and the scrape has everything else', async () => {
  const told: unknown[] = [];
  const metrics = createMetrics({ process: false, onError: (error) => told.push(error) });
  const g = metrics.gauge('level', 'Level.');
  metrics.collect(() => { throw new Error('no kernel'); });
  metrics.collect(() => Promise.reject(new Error('no server')));
  metrics.collect(() => g.set(5));
  const samples = await samplesOf(metrics);
  assert.equal(samples.get('level'), 5);
  assert.equal(samples.get('ipvs_operator_metrics_collect_errors_total'), 2);
  assert.deepEqual(told.map((e) => (e as Error).message), ['no kernel', 'no server']);
});

test('two scrapes at once share one collection', async () => {
  const metrics = bare();
  let runs = 0;
  metrics.collect(async () => { runs += 1; await new Promise((done) => setTimeout(done, 20)); });
  await Promise.all([textOf(metrics), textOf(metrics), textOf(metrics)]);
  assert.equal(runs, 1);
  await textOf(metrics);
  assert.equal(runs, 2);
});

test('labels without end fill a metric, not the memory: what is left out is counted', async () => {
  const metrics = bare();
  const c = metrics.counter('events_total', 'Events.', ['who']);
  for (let i = 0; i < MAX_SERIES + 5; i++) c.inc({ who: String(i) });
  c.inc({ who: '7' });
  const samples = await samplesOf(metrics);
  assert.equal([...samples.keys()].filter((key) => key.startsWith('events_total')).length, MAX_SERIES);
  assert.equal(samples.get('events_total{who="7"}'), 2);
  assert.equal(samples.get('ipvs_operator_metrics_dropped_total'), 5);
});

test('a large scrape comes in pieces, whole and with one head, and lets others run in between', async () => {
  const metrics = bare();
  const g = metrics.gauge('level', 'Level.', ['who']);
  for (let i = 0; i < 12_345; i++) g.set({ who: String(i) }, i);
  const pieces: string[] = [];
  const turns = await turnsDuring(async () => { for await (const piece of metrics.scrape()) pieces.push(piece); });
  const text = pieces.join('');
  assert.equal(text.match(/# TYPE level gauge/g)?.length, 1);
  assert.equal(text.match(/# HELP level /g)?.length, 1);
  assert.ok(Math.max(...pieces.map((p) => p.split('\n').length)) <= 1_004);
  const { samples } = parseText(text);
  for (let i = 0; i < 12_345; i++) assert.equal(samples.get(`level{who="${i}"}`), i);
  assert.ok(turns >= 12, `${turns} turns of the event loop for ${pieces.length} pieces`);
});

test('a table makes its instruments, with every series whose labels are known at 0', async () => {
  const metrics = bare();
  const made = instrumentsOf(metrics, {
    writes: counter('writes_total', 'Writes.', { kind: ['A', 'B'], result: ['ok', 'error'] }),
    failures: counter('failures_total', 'Failures.', { code: null, kind: ['A'] }),
    leader: gauge('leader', 'Leader.'),
    took: histogram('took_seconds', 'Time.', { kind: ['A'] }, [1]),
  });
  made.writes.inc({ kind: 'A', result: 'ok' });
  made.leader.set(1);
  made.took.observe({ kind: 'A' }, 0.5);
  // @ts-expect-error a label is missing
  assert.throws(() => made.writes.inc({ kind: 'A' }), TypeError);
  // @ts-expect-error a value that the table does not have
  const wrong = (): void => made.writes.inc({ kind: 'C', result: 'ok' });
  assert.equal(typeof wrong, 'function');
  const samples = await samplesOf(metrics);
  assert.deepEqual([...samples].filter(([key]) => !key.startsWith('ipvs_operator')), [
    ['writes_total{kind="A",result="ok"}', 1], ['writes_total{kind="A",result="error"}', 0], ['writes_total{kind="B",result="ok"}', 0], ['writes_total{kind="B",result="error"}', 0],
    ['leader', 1],
    ['took_seconds_bucket{kind="A",le="1"}', 1], ['took_seconds_bucket{kind="A",le="+Inf"}', 1], ['took_seconds_sum{kind="A"}', 0.5], ['took_seconds_count{kind="A"}', 1],
  ]);
});

test('the process says its memory, CPU, files, and how late the event loop was', async () => {
  const metrics = createMetrics();
  await textOf(metrics);
  // Looked at every 200 ms, so a second of blocking is seen at least once.
  await new Promise((done) => setTimeout(done, 5));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
  await new Promise((done) => setTimeout(done, 250));
  const samples = await samplesOf(metrics);
  assert.ok(samples.get('process_resident_memory_bytes')! > 10e6);
  assert.ok(samples.get('process_cpu_seconds_total')! >= 0.1);
  assert.ok(samples.get('process_open_fds')! > 3 && samples.get('process_max_fds')! >= samples.get('process_open_fds')!);
  assert.ok(Math.abs(samples.get('process_start_time_seconds')! - (Date.now() / 1000 - process.uptime())) < 5);
  assert.ok(samples.get('nodejs_eventloop_delay_seconds_count')! >= 1);
  assert.ok(samples.get('nodejs_eventloop_delay_seconds_sum')! > 0.25, 'the block was seen');
});

test('nothing of the library is loaded before the first scrape, and of it no more than the registry', () => {
  const code = `
    import { createRequire } from 'node:module';
    import { createMetrics } from ${JSON.stringify(fileURLToPath(new URL('../../../src/observe/metrics.ts', import.meta.url)))};
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).map((file) => file.split('node_modules/').pop());
    const metrics = createMetrics();
    metrics.counter('events_total', 'Events.').inc(3);
    const before = loaded();
    let text = '';
    for await (const piece of metrics.scrape()) text += piece;
    console.log(JSON.stringify({ before, after: loaded(), counted: text.includes('events_total 3') }));`;
  const done = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  const { before, after, counted } = JSON.parse(done.stdout) as { before: string[]; after: string[]; counted: boolean };
  assert.deepEqual(before, []);
  assert.equal(counted, true, 'what was counted before the library was there is not lost');
  assert.deepEqual(after.filter((file) => !file.startsWith('@prometheus-io/client/lib/')), []);
  assert.ok(after.includes('@prometheus-io/client/lib/registry.js') && after.length <= 4, after.join(', '));
});
