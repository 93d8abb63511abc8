/** The manifest folder against real files: what is read, what is refused, and what stays in force whatever happens to the folder. */
import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ManifestFolder, type ManifestScan } from '../../../src/standalone/manifests.ts';
import { contentName, folderName } from '../../../src/standalone/fingerprint.ts';

interface Fixture {
  readonly dir: string;
  readonly folder: ManifestFolder;
  /** Later than any file's time by a second, and a second later each time: everything has settled. */
  scan(): ManifestScan;
  write(file: string, ...documents: string[]): void;
}

function fixture(t: TestContext, files: Record<string, string> = {}): Fixture {
  const base = mkdtempSync(join(tmpdir(), 'manifests-'));
  t.after(() => { rmSync(base, { recursive: true, force: true }); });
  const dir = join(base, 'manifests');
  mkdirSync(dir);
  const folder = new ManifestFolder(dir);
  let steps = 0;
  const f: Fixture = {
    dir, folder,
    scan: () => folder.scan(Date.now() + 1000 * ++steps),
    write: (file, ...documents) => {
      mkdirSync(dirname(join(dir, file)), { recursive: true });
      writeFileSync(join(dir, file), documents.join('---\n'));
    },
  };
  for (const [file, text] of Object.entries(files)) f.write(file, text);
  return f;
}

/** The moment of its last change, in ms: a look at that moment finds it being written, however late it comes. */
const writtenAt = (path: string): number => statSync(path).mtimeMs;

const vs = (name: string, port = 80, more = '') => `apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: ${name} }
spec:
  mode: NAT
  ports: [{ port: ${port} }]
  backends: [{ static: { endpoints: [{ address: 192.168.20.15 }] } }]
${more}`;
const key = (name: string) => `VirtualServer/default/${name}`;
const portOf = (scan: ManifestScan, name: string) => {
  const object = scan.objects.get(key(name))?.object;
  return object?.kind === 'VirtualServer' ? object.spec.ports[0]!.port : undefined;
};
const names = (scan: ManifestScan) => [...scan.objects.keys()].sort();
const codes = (scan: ManifestScan) => scan.problems.map((p) => `${p.file}: ${p.code}`);

test('objects of all files and documents are found, with their origin', (t) => {
  const f = fixture(t, { 'a.yaml': `# first\n${vs('a')}---\n---\n# nothing\n---\n${vs('b')}`, 'sub/deep/c.yml': vs('c'), 'd.json': JSON.stringify({ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'DirectorGroup', metadata: { name: 'd' } }) });
  const scan = f.scan();
  assert.deepEqual(names(scan), ['DirectorGroup/d', key('a'), key('b'), key('c')]);
  assert.deepEqual(scan.objects.get(key('b'))!.origin, { file: 'a.yaml', document: 1, line: 12 });
  assert.equal(scan.objects.get(key('c'))!.origin.file, 'sub/deep/c.yml');
  assert.deepEqual([scan.problems, scan.busy, scan.complete, scan.changed.size], [[], false, true, 4]);
});

test('what is no manifest is not read', (t) => {
  const f = fixture(t, Object.fromEntries(['README.md', '.hidden.yaml', 'a.yaml~', 'a.yaml.swp', '.a.yaml.swp', 'a.tmp', '.git/config.yaml', '#a.yaml#'].map((name) => [name, vs('a')])));
  assert.deepEqual([names(f.scan()), codes(f.scan())], [[], []]);
});

test('a List is unfolded, and one bad item does not hide the others', (t) => {
  const item = (name: string, mode: string) => ({ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualServer', metadata: { name }, spec: { mode, ports: [{ port: 80 }], backends: [{ static: { endpoints: [] } }] } });
  const f = fixture(t, { 'list.json': JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [item('a', 'NAT'), item('b', 'NTA'), item('c', 'DR')] }), 'empty.yaml': 'apiVersion: v1\nkind: List\n' });
  const scan = f.scan();
  assert.deepEqual(names(scan), [key('a'), key('c')]);
  assert.deepEqual(scan.problems.map((p) => [p.file, p.code, p.object]), [['empty.yaml', 'InvalidList', undefined], ['list.json', 'UnknownValue', key('b')]]);
});

test('objects of other API groups are named, and are no error', (t) => {
  const f = fixture(t, { 'a.yaml': `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: x }\n---\n${vs('a')}---\napiVersion: apps/v1\nkind: Deployment\n` });
  const scan = f.scan();
  assert.deepEqual([names(scan), scan.complete], [[key('a')], true]);
  assert.deepEqual(scan.problems.map((p) => [p.code, p.severity]), [['ForeignKind', 'info'], ['ForeignKind', 'info']]);
});

test('only what changed is reported, and an unchanged object stays the same value', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': vs('b') });
  const first = f.scan();
  const second = f.scan();
  assert.deepEqual([second.changed.size, second.objects === first.objects], [0, true]);
  f.write('b.yaml', `# a comment, and a new object\n${vs('b')}`, vs('c'));
  const third = f.scan();
  assert.deepEqual([...third.changed], [key('c')]);
  assert.equal(third.objects.get(key('b'))!.object, first.objects.get(key('b'))!.object);
  assert.notEqual(third.fingerprint, second.fingerprint);
  f.write('a.yaml', vs('a', 81));
  assert.deepEqual([...f.scan().changed], [key('a')]);
});

test('the fingerprint is that of names and contents', (t) => {
  const f = fixture(t, { 'b.yaml': vs('b'), 'a.yaml': vs('a') });
  assert.equal(f.scan().fingerprint, folderName([['a.yaml', contentName(Buffer.from(vs('a')))], ['b.yaml', contentName(Buffer.from(vs('b')))]]));
});

test('an object that is taken out of its file is gone, and so is one whose file is deleted', (t) => {
  const f = fixture(t, { 'a.yaml': `${vs('a')}---\n${vs('b')}`, 'c.yaml': vs('c') });
  f.scan();
  f.write('a.yaml', vs('a'));
  const edited = f.scan();
  assert.deepEqual([names(edited), [...edited.changed]], [[key('a'), key('c')], [key('b')]]);
  unlinkSync(join(f.dir, 'c.yaml'));
  assert.ok(f.scan().busy, 'a disappearance is confirmed by a second look');
  const gone = f.scan();
  assert.deepEqual([names(gone), [...gone.changed], gone.busy], [[key('a')], [key('c')], false]);
});

test('a file that loses all of its bytes, as by `program > a.yaml` or on a full disk, keeps what came from it until it says something again or is deleted', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': vs('b') });
  f.scan();
  f.write('a.yaml', '');
  for (const look of [1, 2]) {
    const scan = f.scan();
    assert.deepEqual([names(scan), scan.changed.size, codes(scan)], [[key('a'), key('b')], 0, ['a.yaml: FileEmpty']], `look ${look}`);
  }
  f.write('a.yaml', vs('c'));
  const written = f.scan();
  assert.deepEqual([names(written), codes(written)], [[key('b'), key('c')], []]);
  f.write('a.yaml', '');
  f.scan();
  unlinkSync(join(f.dir, 'a.yaml'));
  f.scan();
  assert.deepEqual(names(f.scan()), [key('b')]);
  f.write('b.yaml', '');
  const restarted = new ManifestFolder(f.dir).scan(Date.now() + 60_000);
  assert.deepEqual([restarted.objects.size, restarted.complete, restarted.problems.map((p) => `${p.code} ${p.severity}`)], [0, false, ['FileEmpty error']], 'nor does a restart take it at its word');
  f.write('b.yaml', '# nothing');
  assert.deepEqual(names(f.scan()), [], 'who writes a word means it');
});

test('a file that could not be read when the process began, and then loses all of its bytes, is not taken at its word either', (t) => {
  const f = fixture(t, { 'a.yaml': 'spec: [' });
  assert.equal(f.scan().complete, false);
  f.write('a.yaml', '');
  const scan = f.scan();
  assert.deepEqual([scan.complete, codes(scan)], [false, ['a.yaml: FileEmpty']]);
});

test('deleting every file of the folder takes every object', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': vs('b') });
  f.scan();
  for (const file of ['a.yaml', 'b.yaml']) unlinkSync(join(f.dir, file));
  f.scan();
  const gone = f.scan();
  assert.deepEqual([gone.objects.size, gone.changed.size, gone.complete], [0, 2, true]);
});

test('a file that is away between two renames, as editors do it, changes nothing', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a') });
  const now = Date.now() + 1000;
  f.folder.scan(now);
  renameSync(join(f.dir, 'a.yaml'), join(f.dir, 'a.yaml~'));
  const between = f.folder.scan(now + 10);
  assert.deepEqual([names(between), between.changed.size, between.busy], [[key('a')], 0, true]);
  f.write('a.yaml', vs('a'));
  const after = f.folder.scan(now + 1000);
  assert.deepEqual([names(after), after.changed.size, after.busy], [[key('a')], 0, false]);
});

test('an object that moves to another file is never gone', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a') });
  const first = f.scan();
  renameSync(join(f.dir, 'a.yaml'), join(f.dir, 'b.yaml'));
  const moved = f.scan();
  assert.deepEqual([moved.changed.size, moved.objects.get(key('a'))!.origin.file], [0, 'b.yaml']);
  assert.equal(moved.objects.get(key('a'))!.object, first.objects.get(key('a'))!.object);
  // The old file is rewritten without it while the new one is still being written.
  writeFileSync(join(f.dir, 'b.yaml'), '# nothing');
  const past = new Date(Date.now() - 60_000);
  utimesSync(join(f.dir, 'b.yaml'), past, past);
  f.write('c.yaml', vs('a'));
  const writing = f.folder.scan(writtenAt(join(f.dir, 'c.yaml')));
  assert.deepEqual([names(writing), writing.busy, writing.changed.size], [[key('a')], true, 0]);
  assert.equal(f.scan().objects.get(key('a'))!.origin.file, 'c.yaml');
});

test('a file that is being written is left for the next pass, and delays no other file', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': vs('b') });
  f.scan();
  f.write('a.yaml', vs('a', 81));
  f.write('b.yaml', vs('b', 82));
  const past = new Date(Date.now() - 60_000);
  utimesSync(join(f.dir, 'b.yaml'), past, past);
  const written = writtenAt(join(f.dir, 'a.yaml'));
  const early = f.folder.scan(written);
  assert.deepEqual([portOf(early, 'a'), portOf(early, 'b'), early.busy, early.complete], [80, 82, true, false]);
  assert.notEqual(early.fingerprint, folderName([['a.yaml', contentName(Buffer.from(vs('a', 81)))], ['b.yaml', contentName(Buffer.from(vs('b', 82)))]]));
  const late = f.folder.scan(written + 1000);
  assert.deepEqual([portOf(late, 'a'), late.busy, late.complete], [81, false, true]);
});

test('a file that is written all the time delays a removal for two seconds at most', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': `${vs('b')}---\n${vs('c')}` });
  const start = Date.now() + 1000;
  f.folder.scan(start);
  f.write('b.yaml', vs('b'));
  utimesSync(join(f.dir, 'b.yaml'), start / 1000 - 1, start / 1000 - 1);
  const at = (ms: number) => {
    const now = start + ms;
    appendFileSync(join(f.dir, 'a.yaml'), '# more\n');
    utimesSync(join(f.dir, 'a.yaml'), now / 1000, now / 1000);
    return f.folder.scan(now);
  };
  assert.ok(at(100).objects.has(key('c')));
  assert.ok(at(1900).objects.has(key('c')));
  assert.ok(!at(2200).objects.has(key('c')));
});

test('a file from a host with a wrong clock is read all the same', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a') });
  utimesSync(join(f.dir, 'a.yaml'), Date.now() / 1000 + 86_400, Date.now() / 1000 + 86_400);
  assert.deepEqual(names(f.folder.scan(Date.now())), [key('a')]);
});

test('invalid YAML is told with line and column, and hides neither the other documents nor the other files', (t) => {
  const f = fixture(t, { 'a.yaml': `${vs('a')}---\nspec:\n  x: 1\n y: 2\n---\n${vs('c')}`, 'b.yaml': vs('b') });
  const scan = f.scan();
  assert.deepEqual(names(scan), [key('a'), key('b'), key('c')]);
  assert.equal(scan.complete, false);
  const [problem] = scan.problems;
  assert.deepEqual([problem!.code, problem!.file, problem!.document, problem!.line], ['InvalidYaml', 'a.yaml', 1, 11]);
  assert.match(problem!.message, /^line 11, column \d+: not YAML: bad indentation/);
});

const BROKEN_YAML: [string, string][] = [
  ['an open bracket', 'spec: ['], ['a tab as indentation', 'spec:\n\tmode: NAT'], ['a key twice', 'kind: a\nkind: b'], ['an unknown alias', 'a: *b'],
  ['a tag of a program', 'a: !!js/function x'], ['nothing but a text', 'hello'], ['a number', '42'], ['a list', '- a'], ['a directive in a document', '---\n%x: 1'],
  ['too many aliases', `a: &a 1\nb: [${'*a,'.repeat(2000)}]`], ['nesting without end', '['.repeat(5000)],
];
for (const [name, text] of BROKEN_YAML) {
  test(`a file with ${name} is an error, and keeps what came from it before`, (t) => {
    const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': vs('b') });
    f.scan();
    f.write('a.yaml', text);
    const scan = f.scan();
    assert.deepEqual([names(scan), scan.changed.size, scan.complete], [[key('a'), key('b')], 0, false]);
    assert.deepEqual(scan.problems.map((p) => [p.file, p.severity]), [['a.yaml', 'error']]);
  });
}

test('broken JSON is told with what is wrong in it', (t) => {
  const f = fixture(t, { 'a.json': `{\n  "kind": "VirtualServer",\n  "spec": \n}` });
  assert.match(f.scan().problems[0]!.message, /^not JSON: Unexpected token '}', .*"spec": }" is not valid JSON/);
});

test('an object that turns bad keeps its last good form, and the others of its file follow the file', (t) => {
  const f = fixture(t, { 'a.yaml': `${vs('a')}---\n${vs('b')}---\n${vs('c')}` });
  f.scan();
  f.write('a.yaml', vs('a', 70000), vs('b', 81));
  const bad = f.scan();
  assert.deepEqual([portOf(bad, 'a'), portOf(bad, 'b'), portOf(bad, 'c')], [80, 81, undefined]);
  assert.deepEqual([...bad.changed].sort(), [key('b'), key('c')]);
  assert.deepEqual(bad.problems.map((p) => [p.code, p.object, p.line, p.message]), [['OutOfRange', key('a'), 1, 'spec.ports[0].port: 70000 is above 65535; write a number of at most 65535']]);
  assert.equal(bad.complete, true, 'nothing is unknown: every object of the folder has a good form');
  f.write('a.yaml', vs('a', 82), vs('b', 81));
  const good = f.scan();
  assert.deepEqual([portOf(good, 'a'), [...good.changed], good.problems], [82, [key('a')], []]);
});

test('an object that was never good is not there, and the scan says that it is incomplete', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a', 0), 'b.yaml': vs('b') });
  const scan = f.scan();
  assert.deepEqual([names(scan), scan.complete, codes(scan)], [[key('b')], false, ['a.yaml: OutOfRange']]);
});

test('an object that is broken beyond its name keeps what came from its file', (t) => {
  const f = fixture(t, { 'a.yaml': `${vs('a')}---\n${vs('b')}` });
  f.scan();
  f.write('a.yaml', vs('a', 81), vs('b').replace('metadata:', 'metdata:'));
  const scan = f.scan();
  assert.deepEqual([names(scan), portOf(scan, 'a'), scan.complete], [[key('a'), key('b')], 81, false]);
});

test('a last good form that moves to another file with an error in it stays in force', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a') });
  f.scan();
  unlinkSync(join(f.dir, 'a.yaml'));
  f.write('b.yaml', vs('a', 70000));
  f.scan();
  const scan = f.scan();
  assert.deepEqual([portOf(scan, 'a'), codes(scan)], [80, ['b.yaml: OutOfRange']]);
});

test('a thousand faults of one object are not a thousand problems', (t) => {
  const endpoints = Array.from({ length: 1000 }, () => '{ address: x }').join(', ');
  const f = fixture(t, { 'a.yaml': vs('a').replace('{ address: 192.168.20.15 }', endpoints) });
  const { problems } = f.scan();
  assert.equal(problems.length, 16);
  assert.match(problems.at(-1)!.message, /and \d+ more\)$/);
});

test('a name that two files give: the first is in force, both are named', (t) => {
  const f = fixture(t, { 'a.yaml': vs('web', 80), 'b.yaml': vs('web', 81), 'c.yaml': vs('c') });
  const scan = f.scan();
  assert.equal(portOf(scan, 'web'), 80);
  assert.deepEqual(scan.problems.map((p) => [p.code, p.file, p.object]), [['DuplicateObject', 'b.yaml', key('web')]]);
  assert.match(scan.problems[0]!.message, /is in a\.yaml line 1 and in b\.yaml line 1; the one in a\.yaml is in force/);
});

test('a duplicate that comes later does not displace what is in force, whatever its name', (t) => {
  const f = fixture(t, { 'b.yaml': vs('web', 80) });
  f.scan();
  f.write('a.yaml', vs('web', 81));
  const both = f.scan();
  assert.deepEqual([portOf(both, 'web'), both.changed.size, codes(both)], [80, 0, ['a.yaml: DuplicateObject']]);
  f.write('b.yaml', vs('web', 82));
  assert.equal(portOf(f.scan(), 'web'), 82, 'the file in force may change it');
  unlinkSync(join(f.dir, 'b.yaml'));
  const left = f.scan();
  assert.deepEqual([portOf(left, 'web'), left.problems], [81, []], 'the other takes over without a gap');
});

test('a name twice in one file: the first is in force, and stays it when they swap', (t) => {
  const f = fixture(t, { 'a.yaml': `${vs('web', 80)}---\n${vs('web', 81)}` });
  assert.deepEqual([portOf(f.scan(), 'web'), codes(f.scan())], [80, ['a.yaml: DuplicateObject']]);
  f.write('a.yaml', vs('web', 81), vs('web', 80));
  assert.equal(portOf(f.scan(), 'web'), 80);
});

test('a manifest of 10 MB is refused, unread, and what came from it stays', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': vs('b') });
  f.scan();
  f.write('a.yaml', `${vs('a', 81)}${'# padding\n'.repeat(1024 * 1024)}`);
  const scan = f.scan();
  assert.deepEqual([portOf(scan, 'a'), names(scan).length, codes(scan)], [80, 2, ['a.yaml: FileTooLarge']]);
  assert.match(scan.problems[0]!.message, /^10\.0 MiB are more than the 4 MiB/);
});

test('a file that is not UTF-8 is refused', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a') });
  f.scan();
  writeFileSync(join(f.dir, 'a.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xff, 0xfe]));
  assert.deepEqual([names(f.scan()), codes(f.scan())], [[key('a')], ['a.yaml: InvalidEncoding']]);
});

test('a byte order mark and Windows line ends are read', (t) => {
  const f = fixture(t, { 'a.yaml': `\uFEFF${`${vs('a')}---\n${vs('b')}`.replaceAll('\n', '\r\n')}`, 'c.json': `\uFEFF{"apiVersion":"ipvs-operator.dev/v1alpha1","kind":"DirectorGroup","metadata":{"name":"c"}}` });
  assert.deepEqual([names(f.scan()), codes(f.scan())], [['DirectorGroup/c', key('a'), key('b')], []]);
});

test('a file that cannot be read is an error, keeps its objects, and is tried again', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': vs('b') });
  f.scan();
  unlinkSync(join(f.dir, 'a.yaml'));
  symlinkSync('/proc/self/mem', join(f.dir, 'a.yaml')); // a regular file, whose read fails with EIO for root too
  const scan = f.scan();
  assert.deepEqual([names(scan), codes(scan), scan.complete], [[key('a'), key('b')], ['a.yaml: FileUnreadable'], false]);
  unlinkSync(join(f.dir, 'a.yaml'));
  f.write('a.yaml', vs('a', 81));
  assert.deepEqual([portOf(f.scan(), 'a'), codes(f.scan())], [81, []]);
});

test('a link that leads nowhere, to itself, to a folder above, or to a pipe is named and stops nothing', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a') });
  symlinkSync('missing', join(f.dir, 'nowhere.yaml'));
  symlinkSync('self.yaml', join(f.dir, 'self.yaml'));
  symlinkSync('.', join(f.dir, 'here'));
  execFileSync('mkfifo', [join(f.dir, 'pipe.yaml')]);
  const scan = f.scan();
  assert.deepEqual([names(scan), codes(scan).sort()], [[key('a')], ['here: SymlinkLoop', 'nowhere.yaml: FileUnreadable', 'pipe.yaml: NotAFile', 'self.yaml: SymlinkLoop']]);
});

test('a folder as Kubernetes mounts a ConfigMap is read by its visible names, and its update is one step', (t) => {
  const f = fixture(t);
  f.write('..2026_01_01/a.yaml', vs('a'));
  symlinkSync('..2026_01_01', join(f.dir, '..data'));
  symlinkSync('..data/a.yaml', join(f.dir, 'a.yaml'));
  assert.deepEqual([names(f.scan()), codes(f.scan())], [[key('a')], []]);
  f.write('..2026_01_02/a.yaml', vs('a', 81));
  symlinkSync('..2026_01_02', join(f.dir, '..data_tmp'));
  renameSync(join(f.dir, '..data_tmp'), join(f.dir, '..data'));
  rmSync(join(f.dir, '..2026_01_01'), { recursive: true });
  const scan = f.scan();
  assert.deepEqual([portOf(scan, 'a'), [...scan.changed], codes(scan)], [81, [key('a')], []]);
});

test('when the folder is gone everything stays, and when it is back it goes on', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': vs('b') });
  f.scan();
  renameSync(f.dir, `${f.dir}.away`);
  for (let i = 0; i < 3; i++) {
    const gone = f.scan();
    assert.deepEqual([names(gone), gone.changed.size, gone.complete, codes(gone), gone.identity], [[key('a'), key('b')], 0, false, ['.: FolderGone'], null]);
  }
  renameSync(`${f.dir}.away`, f.dir);
  f.write('a.yaml', vs('a', 81));
  const back = f.scan();
  assert.deepEqual([portOf(back, 'a'), [...back.changed], codes(back)], [81, [key('a')], []]);
});

test('a folder that is another and empty, like the mount point of an unmounted volume, keeps everything', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a') });
  f.scan();
  renameSync(f.dir, `${f.dir}.volume`);
  mkdirSync(f.dir);
  for (let i = 0; i < 3; i++) {
    const scan = f.scan();
    assert.deepEqual([names(scan), scan.complete, codes(scan)], [[key('a')], false, ['.: FolderGone']]);
  }
  f.write('empty.yaml', '');
  f.scan();
  const meant = f.scan();
  assert.deepEqual([meant.objects.size, meant.complete, codes(meant)], [0, true, []], 'an empty manifest says that it is meant');
});

test('a folder that is replaced by another with manifests is that other folder', (t) => {
  const f = fixture(t, { 'a.yaml': vs('a'), 'b.yaml': vs('b') });
  f.scan();
  renameSync(f.dir, `${f.dir}.old`);
  mkdirSync(f.dir);
  f.write('a.yaml', vs('a', 81));
  f.scan();
  const scan = f.scan();
  assert.deepEqual([names(scan), portOf(scan, 'a')], [[key('a')], 81]);
});

test('a folder that is not there at the start is an error, not a wish for nothing', (t) => {
  const f = fixture(t);
  rmSync(f.dir, { recursive: true });
  const scan = f.scan();
  assert.deepEqual([scan.objects.size, scan.complete, codes(scan)], [0, false, ['.: FolderGone']]);
});

test('a file in place of the folder is the same', (t) => {
  const f = fixture(t);
  rmSync(f.dir, { recursive: true });
  writeFileSync(f.dir, vs('a'));
  assert.deepEqual(codes(f.scan()), ['.: FolderGone']);
});

test('100,000 real servers are read in seconds, held in little memory, and looked at again in milliseconds', (t) => {
  const f = fixture(t);
  for (let file = 0; file < 10; file++) {
    f.write(`${file}.yaml`, ...Array.from({ length: 1000 }, (_, i) => vs(`s${file}-${i}`).replace('{ address: 192.168.20.15 }', Array.from({ length: 10 }, (_, k) => `{ address: 10.${100 + file}.${100 + (i >> 4)}.${100 + ((i * 10 + k) & 127)} }`).join(', '))));
  }
  const collect = (globalThis as { gc?: () => void }).gc;
  collect?.();
  const before = process.memoryUsage().heapUsed;
  // The time of this thread on a CPU: others run at the same time, also V8's own, which collect and compile what the first scan left.
  const spent = (): number => process.threadCpuUsage().user / 1000;
  const start = spent();
  const scan = f.scan();
  const took = spent() - start;
  assert.equal(scan.objects.size, 10_000, codes(scan)[0]);
  assert.ok(took < 10_000, `first scan ${took} ms`);
  // A collection of garbage may lie in any of them.
  const again = Array.from({ length: 5 }, () => {
    const from = spent();
    f.scan();
    return spent() - from;
  });
  assert.ok(Math.min(...again) < 100, `second scan ${again.join()} ms`);
  if (collect !== undefined) {
    collect();
    const held = (process.memoryUsage().heapUsed - before) / 1024 / 1024;
    t.diagnostic(`read in ${Math.round(took)} ms, holds ${held.toFixed(1)} MiB`);
    assert.ok(held < 60, `holds ${held.toFixed(1)} MiB`);
  }
});
