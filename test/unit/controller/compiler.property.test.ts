/** The compiler over random edits: what it leaves alone when claims change would have come out the same. RUNS=2000 looks longer. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { objectKey, type ApiObject } from '../../../src/api/v1alpha1/index.ts';
import { NO_MEMORY } from '../../../src/controller/compile/memory.ts';
import { Compiler } from '../../../src/controller/compiler.ts';
import { endpoints, group, pin, pool, ports, server } from './compile/setup.ts';

const NAMES = ['a/one', 'a/two', 'b/one', 'b/two'] as const;
/** VIPs are real servers of others here, which nobody may have. */
const address = fc.integer({ min: 1, max: 6 }).map((n) => `203.0.113.${n}`);

const spec = fc.record({
  own: fc.option(address, { freq: 1 }), sharedFrom: fc.option(fc.constantFrom('one', 'two'), { freq: 1 }),
  listen: fc.constantFrom<object>(ports(80), ports(81), ports([3000, 3010]), { ...ports(80, 81), persistence: { timeoutSeconds: 60, scope: 'AllPorts' } }),
  backends: fc.array(fc.oneof(address, fc.constantFrom('10.0.0.1', '10.0.0.2')), { minLength: 1, maxLength: 3 }),
  suspend: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
}).map(({ own, sharedFrom, listen, backends, suspend }) => ({
  ...(own !== null ? pin(own) : sharedFrom !== null ? { vip: { sharedFrom: { name: sharedFrom } } } : {}), ...listen, suspend,
  // Nobody may write his own VIP.
  ...endpoints(...new Set(['10.0.0.9', ...backends.filter((a) => a !== own)])),
}));

const edit = fc.oneof(
  { weight: 10, arbitrary: fc.tuple(fc.constantFrom(...NAMES), spec).map(([key, s]) => ({ key: `VirtualServer/${key}`, object: server(key, s) as ApiObject | null })) },
  { weight: 3, arbitrary: fc.constantFrom(...NAMES).map((key) => ({ key: `VirtualServer/${key}`, object: null as ApiObject | null })) },
  { weight: 1, arbitrary: fc.constantFrom<object>({}, { disabled: true }, { quotaPerNamespace: 1 }).map((s) => ({ key: 'VIPPool/public', object: pool('public', { blocks: [{ cidr: '203.0.113.0/29' }], allowStaticBackendCIDRs: ['10.0.0.0/8', '203.0.113.0/24'], ...s }) as ApiObject | null })) },
  { weight: 1, arbitrary: fc.boolean().map((there) => ({ key: 'DirectorGroup/edge', object: (there ? group('edge') : null) as ApiObject | null })) },
);

test('whatever is edited, what was not compiled anew is as if it had been', () => {
  let spared = 0;
  fc.assert(fc.property(fc.array(fc.array(edit, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 20 }), (turns) => {
    const objects = new Map<string, { readonly object: never }>();
    const [sparing, thorough] = [new Compiler(NO_MEMORY), new Compiler(NO_MEMORY)];
    for (const edits of turns) {
      for (const { key, object } of edits) {
        if (object === null) objects.delete(key);
        else {
          assert.equal(objectKey(object), key);
          objects.set(key, { object: object as never });
        }
      }
      const changed = new Set(edits.map((e) => e.key));
      const { compiled } = sparing.update(objects, changed, false);
      const all = thorough.update(objects, changed, false, [...objects.keys()].filter((k) => k.startsWith('VirtualServer/')).map((k) => k.slice('VirtualServer/'.length)));
      assert.deepEqual([new Map(sparing.programs), sparing.memory, new Map(sparing.verdicts)], [new Map(thorough.programs), thorough.memory, new Map(thorough.verdicts)]);
      spared += all.compiled.length - compiled.length;
    }
  }), { numRuns: Number(process.env['RUNS'] ?? 300) });
  assert.ok(spared > 100, `${spared} were not compiled anew`);
});
