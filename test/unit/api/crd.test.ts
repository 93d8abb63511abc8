/** The generated CRDs: fresh, structural, complete; and the lint that says so can complain. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { load } from 'js-yaml';
import { allDefinitions, nodeAt, type CustomResourceDefinition, type SchemaNode } from '../../../src/api/crd.ts';
import { lintDefinition } from '../../../src/api/crd.lint.ts';
import { definitionFiles } from '../../../src/api/crd.yaml.ts';
import { ALL_KINDS } from '../../../src/api/v1alpha1/index.ts';

const folder = new URL('../../../crds/', import.meta.url);
const rootOf = (crd: CustomResourceDefinition) => crd.spec.versions[0]!.schema.openAPIV3Schema;
const DEFINITIONS = allDefinitions();
const virtualServer = () => DEFINITIONS[0]!;

test('crds/ is what the schemas generate; if not, run npm run generate', () => {
  const fresh = definitionFiles();
  assert.deepEqual(readdirSync(folder).sort(), [...fresh.keys()].sort());
  for (const [name, text] of fresh) assert.equal(readFileSync(new URL(name, folder), 'utf8'), text, `crds/${name} is stale`);
});

test('the files are YAML that means the same as the definition', () => {
  const files = definitionFiles();
  for (const crd of DEFINITIONS) assert.deepEqual(load(files.get(`${crd.spec.names.plural}.yaml`)!), JSON.parse(JSON.stringify(crd)));
});

test('every kind has a CRD without complaints', () => {
  assert.deepEqual(DEFINITIONS.map((c) => c.spec.names.kind), Object.keys(ALL_KINDS));
  for (const crd of DEFINITIONS) assert.deepEqual(lintDefinition(crd), [], crd.spec.names.kind);
});

test('scope is namespaced exactly where parsing expects a namespace', () => {
  for (const crd of DEFINITIONS) assert.equal(crd.spec.scope === 'Namespaced', ALL_KINDS[crd.spec.names.kind as keyof typeof ALL_KINDS].namespaced);
});

test('every CEL rule of a kind stands in its CRD', () => {
  for (const crd of DEFINITIONS) {
    const text = JSON.stringify(crd);
    for (const rule of ALL_KINDS[crd.spec.names.kind as keyof typeof ALL_KINDS].rules) {
      for (const { at, rule: cel } of rule.cel) {
        assert.ok(nodeAt(rootOf(crd), at)['x-kubernetes-validations']!.some((v) => v.rule === cel), `${rule.code} at ${at}`);
        assert.ok(text.includes(JSON.stringify(cel)));
      }
    }
  }
});

test('defaults of the CRD are the defaults of parsing', () => {
  const port = nodeAt(rootOf(virtualServer()), 'spec.ports[]');
  assert.equal(port.properties!['protocol']!.default, 'TCP');
  assert.equal(port.properties!['targetPort']!.default, undefined);
  assert.equal(nodeAt(rootOf(virtualServer()), 'spec.drain.timeoutSeconds').default, 300);
  assert.deepEqual(nodeAt(rootOf(virtualServer()), 'spec.scheduler').default, { name: 'wrr', fallback: false, portAware: false, onePacket: false });
});

/** Each breaks one thing, and the lint must name it. */
const BREAKAGES: [string, (root: SchemaNode, crd: CustomResourceDefinition) => void, RegExp][] = [
  ['a key Kubernetes forbids', (r) => { Object.assign(nodeAt(r, 'spec.ports'), { uniqueItems: true }); }, /uniqueItems is not allowed/],
  ['a junctor', (r) => { Object.assign(nodeAt(r, 'spec.mode'), { anyOf: [] }); }, /anyOf is not allowed/],
  ['a node without type', (r) => { delete nodeAt(r, 'spec.mode').type; }, /spec\.mode: has no type/],
  ['an unbounded text', (r) => { delete nodeAt(r, 'spec.backends[].static.endpoints[].address').maxLength; }, /needs maxLength/],
  ['an unbounded list', (r) => { delete nodeAt(r, 'spec.ports').maxItems; }, /needs maxItems/],
  ['a list that does not say how it merges', (r) => { delete nodeAt(r, 'spec.ports')['x-kubernetes-list-type']; }, /needs x-kubernetes-list-type/],
  ['a list key that may be absent', (r) => { nodeAt(r, 'spec.ports')['x-kubernetes-list-map-keys'] = ['name']; }, /neither required nor defaulted/],
  ['a list key that is gone', (r) => { nodeAt(r, 'spec.ports')['x-kubernetes-list-map-keys'] = ['number']; }, /key number does not exist/],
  ['a rule about a field that is gone', (r) => { nodeAt(r, 'spec')['x-kubernetes-validations'] = [{ rule: 'self.scheduler.nom == "rr"', message: 'x' }]; }, /self\.scheduler\.nom, which does not exist/],
  ['a rule that reads an absent field', (r) => { nodeAt(r, 'spec')['x-kubernetes-validations'] = [{ rule: 'self.tun.port > 0', message: 'x' }]; }, /without has\(self\.tun\)/],
  ['a field without description', (r) => { delete nodeAt(r, 'spec.mode').description; }, /spec\.mode: has no description/],
  ['a column of a field that is gone', (_, c) => { c.spec.versions[0]!.additionalPrinterColumns[0]!.jsonPath = '.spec.modus'; }, /column Mode/],
  ['a type beside int-or-string', (r) => { nodeAt(r, 'spec.backends[].serviceRef.port').type = 'string'; }, /int-or-string has no type/],
  ['a selectable field that is gone', (_, c) => { c.spec.versions[0]!.selectableFields = [{ jsonPath: '.spec.group' }]; }, /selectable field: there is no \.spec\.group/],
  ['a rule of the whole object about a field that is gone', (r) => { r['x-kubernetes-validations'] = [{ rule: 'self.metadata.name == self.spec.naem', message: 'x' }]; }, /self\.spec\.naem, which does not exist/],
  ['a default without the defaults inside', (r) => { nodeAt(r, 'spec.scheduler').default = {}; }, /spec\.scheduler: its default lacks that of name/],
  ['a default without what is required', (r) => { nodeAt(r, 'spec').default = {}; }, /its default lacks mode/],
];
for (const [name, spoil, complaint] of BREAKAGES) {
  test(`the lint finds ${name}`, () => {
    const crd = structuredClone(virtualServer());
    spoil(rootOf(crd), crd);
    assert.match(lintDefinition(crd).join('\n'), complaint);
  });
}

test('a rule at a field that does not exist cannot be generated', () => {
  assert.throws(() => nodeAt(rootOf(virtualServer()), 'spec.vips[]'), /no field spec\.vips/);
});
