/** What directors say of a VIP, reason by reason, and that there is no other. When it is said is claimer.test.ts's. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { CONDITIONS_OF, type VirtualIP } from '../../../../src/api/v1alpha1/index.ts';
import { blockedPatch, ownedPatch, releasedPatch, saysOwned, type StatusPatch } from '../../../../src/agent/ownership/virtualip-status.ts';
import { claimedStatus } from '../../../../src/controller/status/pools.ts';

const NOW = '2026-05-01T12:00:00Z';
const MAC = '02:00:00:00:00:01';
const FOREIGN = '02:00:00:00:00:99';

const vip = (status: VirtualIP['status'] = {}): VirtualIP => ({
  apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualIP', metadata: { name: '10.0.1.200', resourceVersion: '7', generation: 2 },
  spec: { address: '10.0.1.200', family: 'IPv4', poolRef: { name: 'public' }, directorGroup: 'edge', claims: [] }, status,
});
const owned = vip(ownedPatch(vip(), 'a', MAC, NOW).status as VirtualIP['status']);
const said = (patch: StatusPatch | null): string => (patch?.status.conditions ?? []).map((c) => `${c.type} ${c.status} ${c.reason}`).join(', ');

const CASES: readonly (readonly [what: string, patch: StatusPatch | null, says: string, message: RegExp])[] = [
  ['who holds it', ownedPatch(vip(), 'a', MAC, NOW), 'Owned True Owned', /^a holds the address$/],
  ['who let go of it', releasedPatch(owned, NOW), 'Owned False Pending', /another one takes it/],
  ['that its owner is silent and its kernel answers', blockedPatch(owned, MAC, NOW), 'Owned Unknown OwnerLost', /a does not renew its Lease .*start its agent again/],
  ['that a stranger has it, before anybody had', blockedPatch(vip(), FOREIGN, NOW), 'Owned False AddressInUse, DuplicateAddress True ForeignHost', new RegExp(`${FOREIGN} answers .*is not taken until nobody answers`)],
  ['that a stranger has it in place of its owner', blockedPatch(owned, FOREIGN, NOW), 'Owned False AddressInUse, DuplicateAddress True ForeignHost', new RegExp(FOREIGN)],
];
for (const [what, patch, says, message] of CASES) {
  test(`it is said ${what}`, () => {
    assert.equal(said(patch), says);
    assert.match(patch!.status.conditions![0]!.message, message);
    assert.deepEqual(patch!.metadata, { resourceVersion: '7' }, 'only in the state that was seen');
  });
}

test('every reason that a director may give is given', () => {
  const reached = new Set(CASES.flatMap(([, , says]) => says.split(', ').map((text) => text.replace(/ \w+ /, ' '))));
  const { Owned, DuplicateAddress } = CONDITIONS_OF.VirtualIP;
  const all = Object.entries({ Owned, DuplicateAddress }).flatMap(([type, { reasons }]) => Object.keys(reasons).map((reason) => `${type} ${reason}`));
  assert.deepEqual([...reached].sort(), all.sort());
});

test('what is said already is not said again, and an owner takes complaints back', () => {
  const complained = vip({ ...owned.status, ...blockedPatch(owned, FOREIGN, NOW)!.status } as VirtualIP['status']);
  assert.equal(blockedPatch(complained, FOREIGN, '2026-05-01T13:00:00Z'), null);
  assert.deepEqual([saysOwned(owned), saysOwned(complained)], [true, false]);
  assert.equal(said(ownedPatch(complained, 'a', MAC, NOW)), 'Owned True Owned');
});

test('who takes a VIP says that it is claimed, too, as the controller would; that nobody claims it any more is the controller\'s to say', () => {
  const claimed = { ...vip(), spec: { ...vip().spec, claims: [{ namespace: 'default', name: 'shop', uid: 'u', ports: ['TCP/80-80'] }] } };
  const patch = ownedPatch(claimed, 'a', MAC, NOW);
  assert.deepEqual([said(patch), patch.status.claims], ['Claimed True Claimed, Owned True Owned', 1]);
  const { claims, conditions } = claimedStatus({ ...claimed, status: patch.status as NonNullable<VirtualIP['status']> }, '2026-05-01T13:00:00Z');
  assert.deepEqual([claims, conditions], [1, patch.status.conditions!.filter((c) => c.type === 'Claimed')], 'so the controller has nothing to write');
  assert.equal('claims' in ownedPatch(vip(), 'a', MAC, NOW).status, false);
});
