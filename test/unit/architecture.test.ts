/** The house rules that a machine can check: which room may know which, who touches koffi, how long a file is, how it begins. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const SRC = fileURLToPath(new URL('../../src', import.meta.url));
const MAX_LINES = 400;

/** What each room may import, besides itself: architecture.md, "Dependencies run downwards only". */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'main.ts': ['cli', 'standalone', 'controller', 'agent', 'usage.ts'],
  cli: ['standalone', 'agent', 'controller', 'api', 'kube', 'kernel', 'ip', 'usage.ts'],
  standalone: ['agent', 'controller', 'observe', 'api', 'kube', 'kernel', 'ip', 'usage.ts'],
  agent: ['observe', 'api', 'kube', 'kernel', 'ip', 'usage.ts'],
  controller: ['observe', 'api', 'kube', 'kernel', 'ip', 'usage.ts'],
  observe: [],
  api: ['ip'],
  kube: ['ip'],
  kernel: ['ip'],
  ip: [],
  'usage.ts': [],
};

/** Types that a room may name although it may not import the room's code. */
const TYPES_ONLY: Readonly<Record<string, readonly string[]>> = { api: ['kernel/ipvs/types.ts'] };

interface Import { readonly target: string; readonly typeOnly: boolean }

/** Static and dynamic imports and re-exports of a source text. */
function importsOf(text: string): Import[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
  const found: Import[] = [];
  for (const m of code.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm)) found.push({ target: m[2]!, typeOnly: m[1] !== undefined });
  for (const m of code.matchAll(/(typeof\s+)?\bimport\('([^']+)'\)/g)) found.push({ target: m[2]!, typeOnly: m[1] !== undefined });
  for (const m of code.matchAll(/\brequire\('([^']+)'\)|createRequire\([^)]*\)\('([^']+)'\)/g)) found.push({ target: (m[1] ?? m[2])!, typeOnly: false });
  return found;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts')).sort();
const sources = files.map((file) => ({ file, text: readFileSync(join(SRC, file), 'utf8') }));
const roomOf = (file: string) => file.split('/')[0]!;

/** Why an import breaks the rule, or null. */
function fault(file: string, { target, typeOnly }: Import): string | null {
  if (!target.startsWith('.')) return target === 'koffi' && file !== 'kernel/netlink/libc.ts' ? `${file} imports koffi` : null;
  const to = normalize(join(dirname(file), target));
  const [from, room] = [roomOf(file), roomOf(to)];
  if (to.startsWith('..')) return `${file} imports ${target}, outside src`;
  if (from === room || MAY_IMPORT[from]?.includes(room)) return null;
  if (typeOnly && TYPES_ONLY[from]?.includes(to)) return null;
  return `${file} imports ${to}: ${from} may not know ${room}`;
}

test('every room imports only what stands below it, and only one file knows koffi', () => {
  assert.ok(files.length > 50);
  for (const file of files) assert.ok(roomOf(file) in MAY_IMPORT, `${file} is in no room of architecture.md`);
  const faults = sources.flatMap(({ file, text }) => importsOf(text).flatMap((i) => fault(file, i) ?? []));
  assert.deepEqual(faults, []);
  assert.ok(sources.some(({ file, text }) => file === 'kernel/netlink/libc.ts' && importsOf(text).some((i) => i.target === 'koffi')));
});

test('the check sees every way to import', () => {
  const text = "import type { A } from './a.ts';\nimport {\n  b,\n} from './b.ts';\nexport { c } from './c.ts';\nimport './d.ts';\nconst e = await import('./e.ts');\nlet f: typeof import('./f.ts');\n// import './g.ts';\n/* import './h.ts'; */\nconst i = createRequire(import.meta.url)('koffi');";
  assert.deepEqual(importsOf(text), [
    { target: './a.ts', typeOnly: true }, { target: './b.ts', typeOnly: false }, { target: './c.ts', typeOnly: false }, { target: './d.ts', typeOnly: false },
    { target: './e.ts', typeOnly: false }, { target: './f.ts', typeOnly: true }, { target: 'koffi', typeOnly: false },
  ]);
  assert.equal(fault('kernel/net/x.ts', { target: '../../api/index.ts', typeOnly: true }), 'kernel/net/x.ts imports api/index.ts: kernel may not know api');
  assert.equal(fault('api/v1alpha1/x.ts', { target: '../../kernel/ipvs/types.ts', typeOnly: false }), 'api/v1alpha1/x.ts imports kernel/ipvs/types.ts: api may not know kernel');
  assert.equal(fault('api/v1alpha1/x.ts', { target: '../../kernel/ipvs/types.ts', typeOnly: true }), null);
  assert.equal(fault('agent/x.ts', { target: 'koffi', typeOnly: true }), 'agent/x.ts imports koffi');
});

/** A loop of imports as `a -> b -> a`, or null. Types count: files that need each other's types are one concept, or lack a third file. */
function loopIn(graph: ReadonlyMap<string, readonly string[]>): string | null {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file].join(' -> ');
    if (done.has(file)) return null;
    for (const next of graph.get(file) ?? []) {
      const loop = visit(next, [...path, file]);
      if (loop !== null) return loop;
    }
    done.add(file);
    return null;
  };
  for (const file of graph.keys()) {
    const loop = visit(file, []);
    if (loop !== null) return loop;
  }
  return null;
}

test('no files import each other in a loop', () => {
  const graph = new Map(sources.map(({ file, text }) => [file, importsOf(text).filter(({ target }) => target.startsWith('.')).map(({ target }) => normalize(join(dirname(file), target)))]));
  assert.equal(loopIn(graph), null);
  assert.equal(loopIn(new Map([['a', ['b', 'c']], ['b', []], ['c', ['d']], ['d', ['b', 'a']]])), 'a -> c -> d -> a');
});

test(`no file is longer than ${MAX_LINES} lines`, () => {
  assert.deepEqual(sources.flatMap(({ file, text }) => { if (file.endsWith('.generated.ts')) return []; const n = text.split('\n').length; return n > MAX_LINES ? [`${file}: ${n}`] : []; }), []);
});

test('every file begins by saying what it is for', () => {
  assert.deepEqual(sources.filter(({ text }) => !/^(#!.*\n)?\/\*\*?\s/.test(text)).map(({ file }) => file), []);
});

test('what is committed names no path of the machine it was written on', () => {
  const root = relative('/', normalize(join(SRC, '..')));
  assert.deepEqual(sources.filter(({ text }) => text.includes(`/${root}/`)).map(({ file }) => file), []);
});
