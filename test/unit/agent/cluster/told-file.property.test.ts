/**
 * What a node is told, and a crash at any moment: whatever has reached the disk by then, the node is told again something that it was told, and
 * nothing older than what was said to be saved. Changes come while bases are made, disks refuse, processes end in order or not, and the next
 * one goes on with what is there.
 */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import fc from 'fast-check';
import type { GroupDuty } from '../../../../src/agent/cluster/programs.ts';
import { loadSnapshot } from '../../../../src/agent/cluster/snapshot.ts';
import { ToldFile } from '../../../../src/agent/cluster/told-file.ts';
import { StateFolder } from '../../../../src/agent/state-folder.ts';
import type { IPVSNodeSpec } from '../../../../src/api/v1alpha1/index.ts';
import type { Program } from '../../../../src/api/v1alpha1/program.ts';
import { group, program } from '../setup.ts';
import { recordDisk, type Image, type RecordedDisk } from '../recorded-disk.ts';

const silence = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const root = mkdtempSync(join(tmpdir(), 'ipvs-operator-test-'));
after(() => rmSync(root, { recursive: true }));

type Told = { spec: IPVSNodeSpec | null; groups: Map<string, GroupDuty>; programs: Map<string, Program> };
const textOf = ({ spec, groups, programs }: { spec: IPVSNodeSpec | null; groups: ReadonlyMap<string, GroupDuty>; programs: ReadonlyMap<string, Program> }): string =>
  JSON.stringify([spec, [...groups].sort(), [...programs.values()].map((p) => `${p.owner} ${p.spec.contentHash}`).sort()]);

/** Numbers from 0 to below 1 that a seed decides. */
function randomOf(seed: number): () => number {
  let x = (seed * 2_654_435_761 + 1) >>> 0;
  return () => {
    x ^= x << 13; x >>>= 0; x ^= x >>> 17; x ^= x << 5; x >>>= 0;
    return x / 2 ** 32;
  };
}

const fill = (path: string, image: Image): void => {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path);
  for (const [name, bytes] of image) writeFileSync(join(path, name), bytes);
};

const crashed = { path: join(root, 'crashed'), files: new Map<string, Buffer>() };
mkdirSync(crashed.path);

/** What a process that starts with these files believes it was told; null: nothing. Who only looks changes no file: those that are the same stay. */
function toldBy(image: Image): string | null {
  const { path, files } = crashed;
  for (const name of files.keys()) if (!image.has(name)) rmSync(join(path, name));
  for (const [name, bytes] of image) if (files.get(name) !== bytes) writeFileSync(join(path, name), bytes);
  crashed.files = new Map(image);
  const snapshot = loadSnapshot(StateFolder.view(path), 'n1', silence);
  return snapshot && textOf(snapshot.state);
}

type Mood = 'good' | 'refuses now and then' | 'is full for a while';
const refused = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });

interface Life { readonly images: number; readonly steps: number; readonly bases: number; readonly saved: number; readonly left: Image }

/** One process, from its start with these files to its end; every crash in it is looked at. */
async function live(random: () => number, before: Image, mood: Mood, changes: number): Promise<Life> {
  const path = join(root, 'alive');
  fill(path, before);
  const folder = StateFolder.open(path);
  const snapshot = loadSnapshot(folder, 'n1', silence);
  const told: Told = { spec: snapshot?.state.spec ?? null, groups: new Map(snapshot?.state.groups), programs: new Map(snapshot?.state.programs) };
  const states: (string | null)[] = [snapshot && textOf(snapshot.state)];
  const was = { saved: [] as number[], asked: [] as number[] };
  const file = new ToldFile({ folder, node: 'n1', log: silence, told, before: snapshot, delayMs: 0, leastBytes: 3_000, now: () => 0 });
  const pick = (n: number): number => Math.floor(random() * n);
  const start: Image = new Map(readdirSync(path).filter((name) => name !== 'lock').map((name) => [name, readFileSync(join(path, name))]));
  const disk: RecordedDisk = recordDisk(path, start, (step) => {
    was.saved[step] = file.saved;
    was.asked[step] = states.length - 1;
  });
  // A base takes longer than an append, as with many programs: changes come meanwhile.
  disk.delayMs = (name) => pick(name.startsWith('cluster.json') ? 16 : 4);
  const [from, to] = [pick(60), 20 + pick(60)];
  if (mood === 'refuses now and then') disk.refuse = () => (random() < 0.06 ? refused : null);
  if (mood === 'is full for a while') disk.refuse = (op) => ((op === 'write' || op === 'link') && disk.steps.length + states.length > from && states.length < to ? refused : null);
  const put = (): string => {
    const owner = `default/vs-${pick(9)}`;
    told.programs.set(owner, program({ owner, contentHash: `${states.length}-${pick(1e6)}`, realServers: Array.from({ length: pick(20) }, (_, i) => `10.0.1.${i + 20}`) }));
    return owner;
  };
  try {
    for (let i = 0; i < changes; i++) {
      const owners: string[] = [];
      // What is told first is everything: also what went while no process was there, without a word.
      if (i === 0) for (const owner of [...told.programs.keys()].slice(pick(2))) owners.push(owner);
      if (i === 0) for (const owner of told.programs.keys()) if (!owners.includes(owner)) told.programs.delete(owner);
      for (let n = pick(4); n > 0; n--) owners.push(put());
      if (random() < 0.3) { const owner = `default/vs-${pick(9)}`; told.programs.delete(owner); owners.push(owner); }
      if (i === 0 || random() < 0.1) told.spec = { directorGroups: ['edge'], realServer: { binds: [] }, reservedAddresses: [`10.0.1.${pick(200)}`] };
      if (random() < 0.1) told.groups.set('edge', { settings: group(), leaseDurationSeconds: pick(100), renewSeconds: 2 });
      states.push(textOf(told));
      file.changed(owners);
      if (random() < 0.05) file.flush();
      if (random() < 0.4) await wait(pick(6));
      // Most of what is told is on disk some time, and in the end everything.
      for (let tries = 0; random() < 0.2 && file.saved < states.length - 1 && tries < 50; tries++) await wait(1);
    }
    if (random() < 0.5) file.flush();
    if (mood === 'good') for (let tries = 0; file.saved < states.length - 1; tries++) { assert.ok(tries < 5_000, 'all is saved'); await wait(1); }
  } finally {
    disk.stop();
    folder.close();
  }
  const steps = disk.steps.length;
  was.saved[steps] = file.saved;
  was.asked[steps] = states.length - 1;
  const seen = new Map<string, string | null>();
  const numbers = new Map<Buffer, number>();
  const numberOf = (bytes: Buffer): number => numbers.get(bytes) ?? (numbers.set(bytes, numbers.size), numbers.size - 1);
  let left: Image = new Map();
  let images = 0;
  for (let count = 0; count <= steps; count++) {
    for (const image of disk.images(count)) {
      const key = [...image].map(([name, bytes]) => `${name}:${numberOf(bytes)}`).sort().join();
      if (!seen.has(key)) seen.set(key, toldBy(image));
      const text = seen.get(key)!;
      const [saved, asked] = [was.saved[count]!, was.asked[count]!];
      assert.ok(states.slice(saved, asked + 1).includes(text), `after step ${count} of ${steps} (${disk.steps[count - 1]?.op}) the disk tells ${text === null ? 'nothing' : `state ${states.indexOf(text)}`}, not one of ${saved} to ${asked}: ${[...image.keys()].join()}`);
      images++;
      if (random() < 1 / images) left = image;
    }
  }
  return { images: seen.size, steps, bases: disk.steps.filter((s) => s.op === 'rename').length, saved: file.saved, left };
}

for (const mood of ['good', 'refuses now and then', 'is full for a while'] as const) {
  test(`whenever a process dies on a disk that ${mood === 'good' ? 'is good' : mood}, the next one is told what was saved, or what was told later`, async () => {
    const sum = { images: 0, bases: 0, saved: 0 };
    const numRuns = Number(process.env['RUNS'] ?? 4);
    // When a write comes to its end is not in the seed: nothing smaller would be found.
    await fc.assert(fc.asyncProperty(fc.noShrink(fc.integer({ min: 1, max: 2 ** 31 - 1 })), async (seed) => {
      const random = randomOf(seed);
      let left: Image = new Map();
      for (let life = 0; life < 4; life++) {
        const lived = await live(random, left, life === 0 ? 'good' : mood, 25).catch((error: Error) => { throw new Error(`seed ${seed}, life ${life}: ${error.message}`, { cause: error }); });
        left = lived.left;
        sum.images += lived.images;
        sum.bases += lived.bases;
        sum.saved += lived.saved;
      }
    }), { numRuns });
    // Not all of this was about nothing.
    assert.ok(sum.images > 25 * numRuns && sum.bases > 3 * numRuns && sum.saved > 25 * numRuns, JSON.stringify(sum));
  });
}

/** A node whose second base has its name, but may lose it in a power failure: syncing the folder takes until the test lets it. */
async function betweenTwoBases(t: { after(fn: () => void): void }) {
  const path = join(root, 'between');
  fill(path, new Map());
  const folder = StateFolder.open(path);
  t.after(() => folder.close());
  const told: Told = { spec: { directorGroups: ['edge'], realServer: { binds: [] }, reservedAddresses: [] }, groups: new Map(), programs: new Map() };
  const file = new ToldFile({ folder, node: 'n1', log: silence, told, before: null, delayMs: 0, leastBytes: 1, now: () => 0 });
  const disk = recordDisk(path, new Map(), () => {});
  t.after(() => disk.stop());
  const until = async (is: () => boolean): Promise<void> => { for (let tries = 0; !is(); tries++) { assert.ok(tries < 5_000, String(is)); await wait(1); } };
  const renames = (): number => disk.steps.filter((s) => s.op === 'rename').length;
  const change = (contentHash: string): void => { told.programs.set('default/shop', program({ contentHash, realServers: Array.from({ length: 100 }, (_, i) => `10.0.1.${i}`) })); file.changed(['default/shop']); };
  for (const [i, name] of ['first', 'second'].entries()) {
    change(name);
    await until(() => file.saved === i + 1);
  }
  const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
  disk.holds = (name) => (name === '' && renames() === 2 ? held : null);
  change('third');
  await until(() => renames() === 2);
  const isOnDisk = (): void => { for (const image of disk.images(disk.steps.length)) assert.equal(toldBy(image), textOf(told)); };
  /** One change more and the end of the process: all of it is on disk, and what was on its way then changes nothing of that. */
  const ends = async (saved: number): Promise<void> => {
    change('fifth');
    file.flush();
    assert.equal(file.saved, saved);
    isOnDisk();
    const steps = disk.steps.length;
    letGo();
    await until(() => disk.steps.slice(steps).some((s) => s.op === 'sync folder'));
    await wait(100);
    isOnDisk();
  };
  return { file, disk, until, change, ends };
}

test('a journal that tears while nobody knows whether its base stands: what only the old one has is not saved, and the end of the process writes all', async (t) => {
  const { file, disk, until, change, ends } = await betweenTwoBases(t);
  let refusals = 0;
  disk.refuse = (op, name) => (op === 'link' && name.endsWith('.journal') && ++refusals > 0 ? refused : null);
  change('fourth');
  await until(() => refusals === 1);
  assert.equal(file.saved, 3);
  disk.refuse = () => null;
  await ends(5);
});

test('a base that was replaced before it was known to stand does not stand later', async (t) => {
  const { file, disk, until, change, ends } = await betweenTwoBases(t);
  const steps = disk.steps.length;
  change('fourth');
  await until(() => disk.steps.slice(steps).some((s) => s.op === 'write'));
  // In the middle of an append: all of it is written once more.
  file.flush();
  assert.equal(file.saved, 4);
  const flushed = disk.steps.length;
  await until(() => disk.steps.length > flushed);
  // This goes to the journal of the base that stands.
  await ends(5);
});
