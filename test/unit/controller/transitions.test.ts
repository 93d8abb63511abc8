/** Events: of changes only, and only of those that somebody waits for or has to act on. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { VirtualServerStatus } from '../../../src/api/v1alpha1/index.ts';
import { transitions } from '../../../src/controller/transitions.ts';

type Says = Record<string, string>;
const GOOD: Says = { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready' };
const status = (says: Says, addresses: string[] = ['203.0.113.1']): VirtualServerStatus => ({
  addresses: addresses.map((value) => ({ value, family: 'IPv4' as const })),
  conditions: Object.entries(says).map(([type, text]) => ({ type, status: text.split(' ')[0] as 'True', reason: text.split(' ')[1]!, message: `${text.split(' ')[1]}!`, lastTransitionTime: '2026-01-01T00:00:00Z' })),
});
const told = (before: VirtualServerStatus | undefined, after: VirtualServerStatus): string[] => transitions(before, after).map((t) => `${t.type} ${t.reason} ${t.action}: ${t.note}`);

const cases: [string, VirtualServerStatus | undefined, VirtualServerStatus, string[]][] = [
  ['nothing changed', status(GOOD), status(GOOD), []],
  ['a new one that works', undefined, status(GOOD), ['Normal Ready Ready: has 203.0.113.1']],
  ['a new one that works, with who serves it', undefined, { ...status(GOOD), addresses: [{ value: '203.0.113.1', family: 'IPv4', activeNode: 'e1' }, { value: '2001:db8::1', family: 'IPv6', activeNode: 'e2' }], directors: { desired: 3, programmed: 2 } },
    ['Normal Ready Ready: has 203.0.113.1 on e1, 2001:db8::1 on e2; 2 of 3 directors run it']],
  ['a new one that waits for its directors', undefined, status({ ...GOOD, Programmed: 'False Pending', Ready: 'False NotProgrammed' }), ['Normal AddressAllocated Allocate: has 203.0.113.1']],
  ['its directors followed', status({ ...GOOD, Programmed: 'False Pending', Ready: 'False NotProgrammed' }), status(GOOD), ['Normal Ready Ready: Ready!']],
  ['the last of its directors followed', status({ ...GOOD, Programmed: 'False Pending' }), status(GOOD), []],
  ['a director that failed runs it', status({ ...GOOD, Programmed: 'False PartiallyProgrammed' }), status(GOOD), ['Normal Programmed Programmed: Programmed!']],
  ['a new one that serves nobody', undefined, status({ ...GOOD, Ready: 'False NoReadyBackends' }), ['Normal AddressAllocated Allocate: has 203.0.113.1', 'Warning NoReadyBackends Ready: NoReadyBackends!']],
  ['one that is Ready gets one address more and is Ready', status({ ...GOOD, Ready: 'False NoOwner' }, []), status(GOOD), ['Normal Ready Ready: has 203.0.113.1']],
  ['a new one that is refused', undefined, status({ ...GOOD, Accepted: 'False PoolExhausted', Programmed: 'False Pending', Ready: 'False NotAccepted' }, []), ['Warning PoolExhausted Accepted: PoolExhausted!']],
  ['it becomes Ready', status({ ...GOOD, Ready: 'False NoOwner' }), status(GOOD), ['Normal Ready Ready: Ready!']],
  ['it is Ready no more', status(GOOD), status({ ...GOOD, Ready: 'False NoReadyBackends' }), ['Warning NoReadyBackends Ready: NoReadyBackends!']],
  ['for another reason than before', status({ ...GOOD, Ready: 'False NoOwner' }), status({ ...GOOD, Ready: 'False NoReadyBackends' }), ['Warning NoReadyBackends Ready: NoReadyBackends!']],
  ['a reference is lost and found', status(GOOD), status({ ...GOOD, ResolvedRefs: 'False ServiceNotFound' }), ['Warning ServiceNotFound ResolvedRefs: ServiceNotFound!']],
  ['found again', status({ ...GOOD, ResolvedRefs: 'False ServiceNotFound' }), status(GOOD), ['Normal ResolvedRefs ResolvedRefs: ResolvedRefs!']],
  ['a director fails', status(GOOD), status({ ...GOOD, Programmed: 'False KernelFeatureMissing', Ready: 'False NotProgrammed' }), ['Warning KernelFeatureMissing Programmed: KernelFeatureMissing!']],
  ['it is degraded', status(GOOD), status({ ...GOOD, Degraded: 'True DuplicateAddress' }), ['Warning DuplicateAddress Degraded: DuplicateAddress!']],
  ['and no longer', status({ ...GOOD, Degraded: 'True DuplicateAddress' }), status(GOOD), []],
  ['one address more', status(GOOD), status(GOOD, ['203.0.113.1', '203.0.113.2']), ['Normal AddressAllocated Allocate: has 203.0.113.2']],
  ['one less', status(GOOD, ['203.0.113.1', '203.0.113.2']), status(GOOD), []],
  ['an edit that directors follow', status(GOOD), status({ ...GOOD, Programmed: 'False Pending', Ready: 'False NotProgrammed' }), []],
];
for (const [name, before, after, expected] of cases) test(`what is told when ${name}`, () => assert.deepEqual(told(before, after), expected));

test('what has no message says at least what is', () => {
  const after = status({ Ready: 'False NoOwner' }, []);
  after.conditions![0]!.message = '';
  assert.deepEqual(told(undefined, after), ['Warning NoOwner Ready: Ready is False']);
});
