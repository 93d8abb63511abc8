/** Where one document ends and the next begins, and at which line: held against js-yaml's own reading of whole streams. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { load, loadAll } from 'js-yaml';
import { readDocuments, splitDocuments } from '../../../src/standalone/documents.ts';

const SPLITS: [string, string, [string, number][]][] = [
  ['one document', 'a: 1', [['a: 1', 1]]],
  ['a marker before the first', '---\na: 1\n---\nb: 2\n', [['---\na: 1\n', 1], ['---\nb: 2\n', 3]]],
  ['comments and blank lines only', '# c\n---\n\n--- # x\n', []],
  ['content on the line of the marker', '--- {a: 1}\n--- |\n text\n', [['--- {a: 1}\n', 1], ['--- |\n text\n', 2]]],
  ['an explicit end', 'a: 1\n...\n# c\n---\nb: 2\n', [['a: 1\n', 1], ['---\nb: 2\n', 4]]],
  ['dashes inside a text', 'a: |\n  x\n  ---\nb: ---x\n', [['a: |\n  x\n  ---\nb: ---x\n', 1]]],
  ['a directive before its document', '%YAML 1.2\n---\na: 1\n', [['%YAML 1.2\n---\na: 1\n', 1]]],
  ['a percent sign that is no directive', '---\n%x: 1\n', [['---\n%x: 1\n', 1]]],
  ['Windows line ends', 'a: 1\r\n---\r\nb: 2\r\n', [['a: 1\r\n', 1], ['---\r\nb: 2\r\n', 2]]],
  ['a byte order mark', '\uFEFFa: 1\n', [['a: 1\n', 1]]],
  ['a list of lists', '- - a\n---\n- b\n', [['- - a\n', 1], ['---\n- b\n', 2]]],
  ['nothing', '', []],
];
for (const [name, text, expected] of SPLITS) {
  test(`splitting ${name}`, () => assert.deepEqual(splitDocuments(text).map((d) => [d.source, d.line]), expected));
}

/** Streams of small documents with every kind of separator between them. */
const stream = fc.array(fc.tuple(
  fc.constantFrom('---\n', '--- # c\n', '...\n---\n', '\n---\n\n', '---\r\n'),
  fc.constantFrom('a: 1\n', '- x\n- y\n', 'text: |\n  ---\n  b\n', '{a: [1, 2]}\n', '"quoted"\n', 'k: >-\n  folded\n\n  text\n'),
), { minLength: 1, maxLength: 8 }).map((parts) => parts.map(([separator, body]) => separator + body).join(''));

test('documents one by one are the documents of the whole stream, and start at their lines', () => {
  fc.assert(fc.property(stream, (text) => {
    const parts = splitDocuments(text);
    assert.deepEqual(parts.map((d) => load(d.source)), loadAll(text));
    for (const { source, line } of parts) assert.ok(text.split('\n').slice(line - 1).join('\n').startsWith(source));
  }));
});

test('whatever the text, reading it does not throw', () => {
  // Every kind of code point; fast-check's own table of all of Unicode takes half a second to build.
  const codePoint = fc.oneof(fc.nat(0xff), fc.integer({ min: 0x100, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0xffff }), fc.integer({ min: 0x1_0000, max: 0x10_ffff })).map((code) => String.fromCodePoint(code));
  const text = fc.oneof(fc.string({ unit: codePoint, maxLength: 200 }), fc.array(fc.constantFrom('---', '...', '%', ':', '-', ' ', '\n', '[', '{', '&a', '*a', '!!x', '|', '"', '#', '\t', '<<', 'a'), { maxLength: 60 }).map((p) => p.join('')));
  fc.assert(fc.property(text, fc.constantFrom<'yaml' | 'json'>('yaml', 'json'), (source, format) => {
    const { documents, problems, complete } = readDocuments(source, format);
    assert.ok(complete || problems.some((p) => p.severity === 'error'), 'what is incomplete says why');
    assert.ok(documents.every((d) => d.object !== null || problems.length > 0));
  }), { numRuns: 3000 });
});

test('anchors and merge keys work as people use them', () => {
  const text = `apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: a }
spec:
  mode: NAT
  ports: [{ <<: &tcp { protocol: TCP }, port: 80 }, { <<: *tcp, port: 443 }]
  backends: [{ static: { endpoints: [] } }]
`;
  const { documents, problems } = readDocuments(text, 'yaml');
  assert.deepEqual(problems, []);
  const object = documents[0]!.object;
  assert.ok(object?.kind === 'VirtualServer');
  assert.deepEqual(object.spec.ports, [{ port: 80, protocol: 'TCP' }, { port: 443, protocol: 'TCP' }]);
});
