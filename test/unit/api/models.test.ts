/** Models at the edges: what goes in comes out, wrong objects do not pass. And the vocabulary of conditions. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { DirectorGroupModel, IPVSNodeModel, VIPPoolModel, VirtualIPModel, VirtualServerModel, VirtualServerProgramModel, type IVirtualServer } from '../../../src/api/v1alpha1/models.ts';
import { CONDITIONS, CONDITIONS_OF, EXCLUSION_REASONS, parseObject, type ConditionOf } from '../../../src/api/v1alpha1/index.ts';
import { directorGroup, vipPool, virtualServer } from './cases.ts';
import { ipvsNode, virtualIP, virtualServerProgram } from './cases-machines.ts';

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
  new VirtualIPModel(virtualIP() as never).validate();
  new VirtualServerProgramModel(virtualServerProgram() as never).validate();
  new IPVSNodeModel(ipvsNode() as never).validate();
  assert.throws(() => new VirtualIPModel(virtualIP({}, { name: '203.0.113.11' }) as never).validate(), /name it 203\.0\.113\.10/);
  assert.throws(() => new IPVSNodeModel(ipvsNode({ spare: 1 }) as never).validate(), /there is no field "spare"/);
});

test('validate throws the same words as parsing', () => {
  assert.throws(() => new VirtualServerModel(virtualServer({ mode: 'DR', ports: [{ port: 80, targetPort: 81 }] }) as never).validate(), /set targetPort to 80/);
});

test('every condition and reason is PascalCase and has its meaning', () => {
  for (const [kind, types] of Object.entries(CONDITIONS_OF)) {
    for (const [type, { meaning, reasons }] of Object.entries(types)) {
      assert.match(type, /^[A-Z][A-Za-z]+$/);
      assert.ok(meaning.length > 10);
      for (const [reason, text] of Object.entries(reasons as Record<string, string>)) {
        assert.match(reason, /^[A-Z][A-Za-z]+$/);
        assert.ok(text.length > 10, `${kind}.${type}.${reason}`);
      }
    }
  }
  for (const reason of Object.keys(EXCLUSION_REASONS)) assert.match(reason, /^[A-Z][A-Za-z]+$/);
});

test('a condition of a kind has the reasons of that kind only', () => {
  const body = { status: 'True', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' } as const;
  const good: ConditionOf<'IPVSNode'> = { ...body, type: 'Degraded', reason: 'ForeignFlush' };
  // @ts-expect-error: NoOwner is a reason of a VirtualServer.
  const wrong: ConditionOf<'IPVSNode'> = { ...body, type: 'Ready', reason: 'NoOwner' };
  assert.ok(good.reason in CONDITIONS_OF.IPVSNode.Degraded.reasons && !(wrong.reason in CONDITIONS_OF.IPVSNode.Ready.reasons));
  assert.equal(CONDITIONS_OF.VirtualServer, CONDITIONS);
});
