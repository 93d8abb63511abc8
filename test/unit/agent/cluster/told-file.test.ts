/** What a node is told goes to disk change by change: what is written when, how large it grows, and what the next process reads. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { appendFileSync, copyFileSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { GroupDuty } from '../../../../src/agent/cluster/programs.ts';
import { loadSnapshot, TOLD_FILE, toldText } from '../../../../src/agent/cluster/snapshot.ts';
import { ToldFile, type ToldFileOptions } from '../../../../src/agent/cluster/told-file.ts';
import { journalFile, readJournal } from '../../../../src/agent/journal.ts';
import { StateFolder } from '../../../../src/agent/state-folder.ts';
import type { IPVSNodeSpec } from '../../../../src/api/v1alpha1/index.ts';
import type { Program } from '../../../../src/api/v1alpha1/program.ts';
import { group, program, tempFolder } from '../setup.ts';
import { hashed, until } from './bench.ts';

const spec: IPVSNodeSpec = { directorGroups: ['edge'], realServer: { binds: [] }, reservedAddresses: [] };
const edge = (leaseDurationSeconds = 6): GroupDuty => ({ settings: group(), leaseDurationSeconds, renewSeconds: 2 });
const vs = (i: number, realServers = ['10.0.1.21']): Program => hashed(program({ owner: `default/vs-${i}`, realServers }));

/** A node with its disk: processes come and go. */
class Node {
  readonly path: string;
  readonly said: string[] = [];
  readonly log = { debug: () => {}, info: () => {}, warn: (fields: object, message: string) => { this.said.push(`${message} ${JSON.stringify(fields)}`); }, error: (fields: object, message: string) => { this.said.push(`${message} ${JSON.stringify(fields)}`); } };
  told!: { spec: IPVSNodeSpec | null; groups: Map<string, GroupDuty>; programs: Map<string, Program> };
  file!: ToldFile;
  folder!: StateFolder;
  #asked = 0;

  constructor(t: { after(fn: () => void): void }) {
    this.path = tempFolder(t);
    t.after(() => this.folder.close());
  }

  /** A process that was told nothing yet but what it reads. Its clock stands: nothing pauses. */
  start(options: Partial<ToldFileOptions> = {}): this {
    this.folder?.close();
    this.folder = StateFolder.open(this.path);
    const before = loadSnapshot(this.folder, 'n1', this.log);
    this.told = { spec: before?.state.spec ?? null, groups: new Map(before?.state.groups), programs: new Map(before?.state.programs) };
    this.file = new ToldFile({ folder: this.folder, node: 'n1', log: this.log, told: this.told, before, delayMs: 0, now: () => 0, ...options });
    this.#asked = 0;
    return this;
  }

  /** With 100 programs, which are on its disk. */
  async startWithMany(options: Partial<ToldFileOptions> = {}): Promise<this> {
    this.start(options);
    Object.assign(this.told, { spec });
    this.told.groups.set('edge', edge());
    await this.change(...Array.from({ length: 100 }, (_, i) => vs(i)));
    return this;
  }

  tell(...programs: (Program | string)[]): void {
    for (const p of programs) {
      if (typeof p === 'string') this.told.programs.delete(p);
      else this.told.programs.set(p.owner, p);
    }
    this.#asked += 1;
    this.file.changed(programs.map((p) => (typeof p === 'string' ? p : p.owner)));
  }

  async change(...programs: (Program | string)[]): Promise<void> {
    this.tell(...programs);
    await this.saved();
  }

  async saved(): Promise<void> {
    for (const end = performance.now() + 60_000; this.file.saved < this.#asked; await wait(1)) assert.ok(performance.now() < end, `it is on disk: ${this.said.join()}`);
  }

  get files(): string[] { return readdirSync(this.path).filter((name) => name !== 'lock').sort(); }
  get base(): string { return (JSON.parse(readFileSync(join(this.path, 'cluster.json'), 'utf8').split('\n')[1]!) as { base: string }).base; }
  get journal(): string { return join(this.path, journalFile(TOLD_FILE, this.base)); }
  get appends(): readonly (readonly unknown[])[] { return readJournal(this.folder, TOLD_FILE, this.base).appends; }

  /** The next process would be told this. */
  reads(node = 'n1'): { spec: unknown; groups: unknown; programs: Program[] } | null {
    const snapshot = loadSnapshot(StateFolder.view(this.path), node, this.log);
    return snapshot && { spec: snapshot.state.spec, groups: [...snapshot.state.groups.values()], programs: [...snapshot.state.programs.values()].sort((a, b) => a.owner.localeCompare(b.owner)) };
  }

  get isTold(): ReturnType<Node['reads']> { return { spec: this.told.spec, groups: [...this.told.groups.values()], programs: [...this.told.programs.values()].sort((a, b) => a.owner.localeCompare(b.owner)) }; }
}

/** Looks whenever the event loop turns: what is written in blocks is seen after the first. */
async function inTheMiddle(is: () => boolean): Promise<void> {
  while (!is()) await new Promise(setImmediate);
}

test('the first thing that is told makes a base; what changes then is appended, and only that', async (t) => {
  const node = await new Node(t).startWithMany();
  assert.deepEqual([node.files, node.reads()], [['cluster.json'], node.isTold]);
  const before = statSync(join(node.path, 'cluster.json'));
  await node.change(vs(7, ['10.0.1.99']));
  await node.change('default/vs-8');
  node.told.spec = { ...spec, reservedAddresses: ['10.0.1.12'] };
  await node.change();
  node.told.groups.set('edge', edge(60));
  await node.change();
  await node.change();
  assert.deepEqual(node.appends, [[{ program: vs(7, ['10.0.1.99']) }], [{ gone: 'default/vs-8' }], [{ spec: node.told.spec }], [{ groups: [edge(60)] }]]);
  assert.equal(statSync(join(node.path, 'cluster.json')).ino, before.ino, 'the base was left alone');
  assert.deepEqual(node.reads(), node.isTold);
});

test('what changes several times before it is appended is appended once, as it is then; and what came and went, too', async (t) => {
  const node = await new Node(t).startWithMany();
  for (let i = 30; i < 40; i++) node.tell(vs(7, [`10.0.1.${i}`]));
  node.tell(vs(500));
  node.tell('default/vs-500');
  node.tell(vs(8, ['10.0.1.99']));
  await node.saved();
  assert.deepEqual(node.appends, [[{ program: vs(7, ['10.0.1.39']) }, { gone: 'default/vs-500' }, { program: vs(8, ['10.0.1.99']) }]]);
});

test('changes wait half a second for others', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const node = new Node(t).start({ delayMs: undefined } as object);
  Object.assign(node.told, { spec });
  node.tell(vs(1));
  t.mock.timers.tick(499);
  assert.deepEqual(node.files, []);
  t.mock.timers.tick(1);
  t.mock.timers.tick(1);
  assert.deepEqual(node.files, ['cluster.json.slow.tmp'], 'it is being written');
  node.file.flush();
  assert.deepEqual(node.reads(), node.isTold);
});

test('a journal grows as large as its base, and then there is a new base: a change costs what it is large', async (t) => {
  const node = await new Node(t).startWithMany({ leastBytes: 1_000 });
  const bytes = statSync(join(node.path, 'cluster.json')).size;
  const bases = new Set([node.base]);
  let most = 0;
  for (let i = 0; i < 600; i++) {
    await node.change(vs(i % 100, [`10.0.2.${i % 250}`]));
    bases.add(node.base);
    most = Math.max(most, node.files.filter((name) => name.endsWith('.journal')).reduce((sum, name) => sum + (statSync(join(node.path, name), { throwIfNoEntry: false })?.size ?? 0), 0));
  }
  assert.deepEqual(node.reads(), node.isTold);
  // Each journal takes some 100 of these changes.
  assert.ok(bases.size >= 3 && bases.size <= 9, `${bases.size} bases`);
  assert.ok(most < 3 * bytes, `${most} bytes of journals, with a base of ${bytes}`);
  // The last of them may have asked for a base, which is being made.
  await until('a base and its journal are left', () => node.files.length <= 2 && !node.files.some((name) => name.endsWith('.tmp')));
});

test('few programs make no base for each change: a journal may have 256 KiB before', async (t) => {
  const node = new Node(t).start();
  Object.assign(node.told, { spec });
  await node.change(vs(1));
  const { base } = node;
  for (let i = 0; i < 50; i++) await node.change(vs(1, Array.from({ length: 100 }, (_, n) => `10.0.${i}.${n}`)));
  assert.equal(node.base, base);
  assert.ok(statSync(node.journal).size > 50_000);
});

test('a restart that finds an empty journal goes on with it, and writes nothing when it is told the same', async (t) => {
  const node = await new Node(t).startWithMany();
  const { base } = node;
  node.start();
  // As the caches bring it: another object, with the same in it.
  node.told.spec = structuredClone(spec);
  await node.change(...[...node.told.programs.values()]);
  assert.deepEqual([node.files, node.base], [['cluster.json'], base]);
  await node.change(vs(7, ['10.0.1.99']));
  assert.deepEqual([node.base, node.appends, node.reads()], [base, [[{ program: vs(7, ['10.0.1.99']) }]], node.isTold]);
});

test('what went while no process was there is gone from the disk as well, although nobody is told of it', async (t) => {
  const node = await new Node(t).startWithMany();
  node.start();
  node.told.programs.delete('default/vs-7');
  await node.change(vs(8));
  assert.deepEqual(node.appends, [[{ gone: 'default/vs-7' }, { program: vs(8) }]]);
});

test('a start that needed the journal makes a new base, and leaves nothing of the old one', async (t) => {
  const node = await new Node(t).startWithMany();
  await node.change(vs(7, ['10.0.1.99']));
  const { base } = node;
  node.start();
  assert.deepEqual(node.told.programs.get('default/vs-7'), vs(7, ['10.0.1.99']));
  await node.change(vs(8));
  assert.notEqual(node.base, base);
  assert.deepEqual([node.files, node.reads()], [['cluster.json'], node.isTold]);
});

test('a journal whose end is torn is read to there and never appended to; that is said', async (t) => {
  const node = await new Node(t).startWithMany();
  await node.change(vs(7, ['10.0.1.99']));
  const { base } = node;
  appendFileSync(node.journal, 'torn');
  node.start();
  assert.deepEqual(node.reads(), node.isTold);
  assert.match(node.said.join('\n'), /^the end of the journal is lost: this is what the node was told before .*"problem":"line 3 is cut off","applied":1/m);
  await node.change(vs(8, ['10.0.1.98']));
  assert.notEqual(node.base, base);
  assert.deepEqual([node.files, node.reads()], [['cluster.json'], node.isTold]);
});

test('an append with an entry of another version is left out whole, and all after it', async (t) => {
  const node = await new Node(t).startWithMany();
  await node.change(vs(7, ['10.0.1.99']));
  const before = node.reads();
  const { base } = node;
  const { Journal } = await import('../../../../src/agent/journal.ts');
  const journal = new Journal(node.folder, TOLD_FILE, base);
  await journal.append([JSON.stringify({ program: vs(7, ['10.0.1.99']) })]);
  await journal.append([JSON.stringify({ program: vs(8, ['10.0.1.98']) }), '{"weather":"fine"}']);
  await journal.append([JSON.stringify({ program: vs(9, ['10.0.1.97']) })]);
  journal.close();
  assert.deepEqual(node.reads(), before);
  assert.match(node.said.join('\n'), /not entries of this version/);
});

test('a lost journal costs what was in it, a journal of another base is not read, and one that is left over goes', async (t) => {
  const node = await new Node(t).startWithMany();
  const first = node.reads();
  await node.change(vs(7, ['10.0.1.99']));
  copyFileSync(node.journal, join(node.path, journalFile(TOLD_FILE, '0'.repeat(16))));
  rmSync(node.journal);
  assert.deepEqual([node.reads(), node.said], [first, []]);
  node.start();
  await node.change();
  assert.deepEqual(node.files, ['cluster.json']);
});

test('what an earlier version wrote is read, and a base with a journal takes its place', async (t) => {
  const node = new Node(t).start();
  const programs = [vs(1), vs(2)];
  node.folder.write(TOLD_FILE, { version: 1, node: 'n1', spec, groups: [edge()], programs });
  node.start();
  assert.deepEqual(node.reads(), { spec, groups: [edge()], programs });
  await node.change(vs(2, ['10.0.1.99']));
  assert.match(node.base, /^[0-9a-f]{16}$/);
  await node.change(vs(3));
  assert.deepEqual([node.appends.length, node.reads()], [1, node.isTold]);
});

test('the files of another node are nothing, and are replaced by what this one is told', async (t) => {
  const node = await new Node(t).startWithMany();
  await node.change(vs(7, ['10.0.1.99']));
  assert.equal(node.reads('n2'), null);
  node.folder.writeParts(TOLD_FILE, toldText('n2', node.base, { spec, groups: [], programs: [vs(1)] }));
  assert.equal(node.start().reads(), null, 'its journal has the same name, and changes nothing');
  Object.assign(node.told, { spec });
  await node.change(vs(3));
  assert.deepEqual([node.files, node.reads()?.programs], [['cluster.json'], [vs(3)]]);
});

test('without a spec nothing is written: the node was never told anything', async (t) => {
  const node = new Node(t).start();
  node.tell(vs(1));
  node.file.flush();
  assert.deepEqual(node.files, []);
});

test('flush appends what is missing at once; then there is nothing left to do', async (t) => {
  const node = await new Node(t).startWithMany();
  const { base } = node;
  node.tell(vs(7, ['10.0.1.99']));
  node.file.flush();
  assert.deepEqual([node.base, node.appends.length, node.reads()], [base, 1, node.isTold]);
  node.file.flush();
  assert.equal(node.appends.length, 1);
});

test('flush in the middle of an append makes a base of all: what is half there does not count', async (t) => {
  const node = await new Node(t).startWithMany();
  const { base } = node;
  node.tell(...Array.from({ length: 100 }, (_, i) => vs(i, Array.from({ length: 100 }, (_, n) => `10.0.3.${n}`))));
  await inTheMiddle(() => node.files.includes(journalFile(TOLD_FILE, base)));
  node.tell(vs(8, ['10.0.1.98']));
  node.file.flush();
  assert.notEqual(node.base, base);
  assert.deepEqual(node.reads(), node.isTold);
  await wait(100);
  assert.deepEqual([node.files, node.reads(), node.said], [['cluster.json'], node.isTold, []]);
  await node.change(vs(9, ['10.0.1.97']));
  assert.deepEqual([node.appends.length, node.reads()], [1, node.isTold]);
});

test('flush in the middle of a first base writes it in one piece', async (t) => {
  const node = new Node(t).start();
  Object.assign(node.told, { spec });
  node.tell(...Array.from({ length: 2_000 }, (_, i) => vs(i)));
  await inTheMiddle(() => node.files.includes('cluster.json.slow.tmp'));
  assert.equal(node.reads(), null);
  node.file.flush();
  assert.deepEqual(node.reads(), node.isTold);
});

test('a journal that cannot be written is said, and a base with everything takes its place; a base that cannot, with the next change', async (t) => {
  const node = await new Node(t).startWithMany();
  const before = node.reads();
  // Where files should be made there are folders: a journal cannot be made, then neither can a base.
  mkdirSync(node.journal);
  mkdirSync(join(node.path, 'cluster.json.slow.tmp'));
  node.tell(vs(7, ['10.0.1.99']));
  await until('both are said', () => node.said.length >= 2);
  assert.match(node.said[0]!, /^cluster\.[0-9a-f]+\.journal not written .*EISDIR/);
  assert.match(node.said[1]!, /^cluster not written .*EISDIR/);
  assert.deepEqual([node.file.saved, node.reads()], [1, before]);
  rmdirSync(node.journal);
  rmdirSync(join(node.path, 'cluster.json.slow.tmp'));
  await node.change(vs(8, ['10.0.1.98']));
  assert.deepEqual([node.files, node.reads()], [['cluster.json'], node.isTold]);
});

test('what failed and waits for the next change is tried once more when the process ends', async (t) => {
  const node = await new Node(t).startWithMany();
  mkdirSync(node.journal);
  mkdirSync(join(node.path, 'cluster.json.slow.tmp'));
  node.tell(vs(7, ['10.0.1.99']));
  await until('both are said', () => node.said.length >= 2);
  rmdirSync(node.journal);
  node.file.flush();
  assert.deepEqual(node.reads(), node.isTold);
});

test('a process that was killed while it made a base left its beginnings: they are in nobody\'s way', async (t) => {
  const node = await new Node(t).startWithMany();
  for (const name of ['cluster.json.tmp', 'cluster.json.slow.tmp', journalFile(TOLD_FILE, 'f'.repeat(16))]) writeFileSync(join(node.path, name), '{"version":1,"sha');
  node.start({ leastBytes: 10 });
  for (let i = 0; i < 150; i++) await node.change(vs(i % 100, ['10.0.1.99', `10.0.2.${i % 250}`]));
  await until('only what counts is there', () => node.files.every((name) => name === 'cluster.json' || name === 'cluster.json.tmp' || name === journalFile(TOLD_FILE, node.base)));
  assert.deepEqual(node.reads(), node.isTold);
});
