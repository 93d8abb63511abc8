/** Shapes: fresh, and of one mind with the zod schemas they come from, on every case and on thousands of spoiled objects. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { readShape } from '../../../src/api/shape.ts';
import { SHAPES } from '../../../src/api/shapes.generated.ts';
import { ZOD_SCHEMAS, shapesFile } from '../../../src/api/shapes.ts';
import { KINDS, formatProblem, type Kind, type MachineKind } from '../../../src/api/v1alpha1/index.ts';
import { CASES, virtualServer } from './cases.ts';

test('shapes.generated.ts is what the schemas generate; if not, run npm run generate', () => {
  assert.equal(readFileSync(new URL('../../../src/api/shapes.generated.ts', import.meta.url), 'utf8'), shapesFile());
});

/** Both must accept or both refuse; and when they accept, the same comes out, but for what the shape drops. */
function agree(kind: Kind | MachineKind, value: unknown): void {
  const zod = ZOD_SCHEMAS[kind].safeParse(value);
  const shape = readShape(SHAPES[kind], value);
  if ((shape.problems.length === 0) !== zod.success) assert.fail(`${JSON.stringify(value)}\nshape: ${shape.problems.map(formatProblem).join('; ')}\nzod: ${zod.success ? '' : zod.error.message}`);
  if (!zod.success) return;
  const expected = { ...zod.data } as { metadata: Record<string, unknown>; status?: unknown };
  if (Object.hasOwn(KINDS, kind)) delete expected.status;
  expected.metadata = Object.fromEntries(Object.entries(expected.metadata).filter(([key]) => ['name', 'namespace', 'labels', 'annotations'].includes(key)));
  assert.deepEqual(shape.value, expected);
}

test('shape and zod agree on every case', () => {
  for (const c of CASES) agree(c.object['kind'] as Kind | MachineKind, c.object);
});

/** Every place in a value, as paths. */
function places(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [path];
  const children = Array.isArray(value) ? value.map((v, i) => [i, v] as const) : Object.entries(value);
  return [path, ...children.flatMap(([key, v]) => places(v, [...path, key]))];
}

function spoil(value: unknown, path: readonly (string | number)[], by: unknown, remove: boolean): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return by;
  // What is not on the path is shared.
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) }) as Record<string | number, unknown>;
  if (rest.length > 0) copy[step] = spoil(copy[step], rest, by, remove);
  else if (!remove) copy[step] = by;
  else if (Array.isArray(copy)) copy.splice(step as number, 1);
  else delete copy[step];
  return copy;
}

const replacement = fc.oneof(
  fc.constantFrom<unknown>(null, true, '', 0, -1, 1.5, 65535, 65536, 2147483647, 2147483648, NaN, Infinity, [], {}, 'DR', 'rr', 'TCP', '80', 'a'.repeat(64), 'A', '-a', 'a.b', ['IPv4'], { name: 'x' }, { cidr: '1.2.3.0/24' }, { x: 1 }),
  fc.integer(), fc.string({ maxLength: 70 }), fc.jsonValue(),
);

test('shape and zod agree on objects with one or two places replaced or removed', () => {
  const small = CASES.filter((c) => JSON.stringify(c.object).length < 5000);
  const placesOf = new Map(small.map((c) => [c, places(c.object)]));
  const spoiled = fc.record({ c: fc.constantFrom(...small), a: fc.nat(), b: fc.nat(), by: replacement, or: replacement, remove: fc.boolean(), twice: fc.boolean() });
  fc.assert(fc.property(spoiled, ({ c, a, b, by, or, remove, twice }) => {
    const pick = (all: (string | number)[][], n: number) => all[n % all.length]!;
    let value: unknown = spoil(c.object, pick(placesOf.get(c)!, a), by, remove);
    if (twice) value = spoil(value, pick(places(value), b), or, false);
    agree(c.object['kind'] as Kind | MachineKind, value);
  }), { numRuns: 3_000 });
});

test('names that objects inherit are unknown fields, and a map may have them as keys', () => {
  for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const value = JSON.parse(JSON.stringify(virtualServer()).replace('"mode"', `"${key}": {}, "mode"`)) as unknown;
    assert.deepEqual(readShape(SHAPES.VirtualServer, value).problems.map((p) => p.code), ['UnknownField'], key);
    const labelled = JSON.parse(JSON.stringify(virtualServer()).replace('"name":"shop"', `"name":"shop","labels":{"${key}":"x"}`)) as unknown;
    const { value: out, problems } = readShape(SHAPES.VirtualServer, labelled);
    assert.deepEqual(problems, []);
    assert.ok(Object.hasOwn((out as { metadata: { labels: object } }).metadata.labels, key));
  }
});

test('nothing that parses or writes manifests loads zod', () => {
  const program = `
    import { registerHooks } from 'node:module';
    registerHooks({ resolve(specifier, context, next) { if (specifier === 'zod') throw new Error('zod is loaded by ' + context.parentURL); return next(specifier, context); } });
    const { parseObject } = await import('./src/api/v1alpha1/index.ts');
    await import('./src/standalone/manifests.ts');
    await import('./src/cli/import.ts');
    if (!parseObject(${JSON.stringify(virtualServer())}).ok) throw new Error('refused');`;
  execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: new URL('../../..', import.meta.url), stdio: ['ignore', 'ignore', 'pipe'] });
});
