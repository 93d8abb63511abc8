/** Regressions of the sysctl guard that a kill between two writes brought to light; the rest of it is tested in plan-node.test.ts. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { emptyLedger } from '../../../src/agent/ledger.ts';
import { besideForwarding, planSysctls } from '../../../src/agent/plan-sysctl.ts';
import { joinNeeds, type SharedState } from '../../../src/agent/state.ts';

const ALL = 'net/ipv6/conf/all/forwarding';
const DEVICE = 'net/ipv6/conf/e1/forwarding';
const nothing = joinNeeds([], []);
const wanting: SharedState = { ...nothing, sysctls: new Map([[ALL, { owner: 'a/b', value: { path: ALL, value: '1' } }]]) };
/** A restore wrote `all` and was killed before it put e1 back, which had forwarded before us. */
const killed = { ...emptyLedger(false), sysctls: { [DEVICE]: { original: '1', value: '0' } } };
const values = new Map([[ALL, '0'], [DEVICE, '0']]);

test('a restore killed between its two writes, then forwarding wanted again: the device is still remembered', () => {
  const plan = planSysctls(wanting, values, killed, () => false, false);
  assert.deepEqual(plan.after[DEVICE], { original: '1', value: '0' });
});

test('a restore killed between its two writes: the next pass reads forwarding itself and puts the device back', () => {
  assert.ok(besideForwarding(nothing, killed, [], (path) => values.get(path) ?? null).includes(ALL));
  const plan = planSysctls(nothing, values, killed, () => false, false);
  assert.deepEqual(plan.restore, [{ kind: 'setSysctl', sysctl: { path: DEVICE, value: '1' }, from: '0' }]);
});
