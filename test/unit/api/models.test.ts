/** Models at the edges: what goes in comes out, wrong objects do not pass. And the vocabulary of conditions. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { DirectorGroupModel, VIPPoolModel, VirtualServerModel, type IVirtualServer } from '../../../src/api/v1alpha1/models.ts';
import { CONDITIONS, EXCLUSION_REASONS, parseObject } from '../../../src/api/v1alpha1/index.ts';
import { directorGroup, vipPool, virtualServer } from './cases.ts';

test('a model keeps its data and says its kind', () => {
  const { apiVersion: _a, kind: _k, ...data } = virtualServer() as unknown as IVirtualServer;
  const model = new VirtualServerModel(data);
  assert.deepEqual(JSON.parse(JSON.stringify(model)), virtualServer());
  assert.equal(model.kind, 'VirtualServer');
  assert.ok(VirtualServerModel.is(model) && !VIPPoolModel.is(model));
  model.validate();
  assert.ok(parseObject(JSON.parse(JSON.stringify(model))).ok);
});

test('the other kinds have models too', () => {
  new VIPPoolModel(vipPool() as never).validate();
  new DirectorGroupModel(directorGroup() as never).validate();
});

test('validate throws the same words as parsing', () => {
  assert.throws(() => new VirtualServerModel(virtualServer({ mode: 'DR', ports: [{ port: 80, targetPort: 81 }] }) as never).validate(), /set targetPort to 80/);
});

test('every condition and reason is PascalCase and has its meaning', () => {
  for (const [type, { meaning, reasons }] of Object.entries(CONDITIONS)) {
    assert.match(type, /^[A-Z][A-Za-z]+$/);
    assert.ok(meaning.length > 10);
    for (const [reason, text] of Object.entries(reasons)) {
      assert.match(reason, /^[A-Z][A-Za-z]+$/);
      assert.ok(text.length > 10, `${type}.${reason}`);
    }
  }
  for (const reason of Object.keys(EXCLUSION_REASONS)) assert.match(reason, /^[A-Z][A-Za-z]+$/);
});
