/** What directors say of themselves, and who counts as live. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { annotationsOf, DIRECTOR_LEASE_LABEL, leaseName, memberOf, Members, profileOf, withPlace } from '../../../../src/agent/ownership/membership.ts';
import type { GroupSettings } from '../../../../src/api/v1alpha1/program.ts';
import { candidatesFor } from '../../../../src/agent/ownership/election.ts';
import type { Lease } from '../../../../src/kube/lease.ts';
import { facts, group, makeKernel } from '../setup.ts';

function lease(node: string, renewTime: number, { groups = ['edge'], prefixes = ['10.0.1.0/24'], name = leaseName(node), annotations = annotationsOf({ groups, prefixes }) } = {}): Lease {
  return { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, namespace: 'ipvs-system', annotations }, spec: { holderIdentity: node, leaseDurationSeconds: 6, renewTime: String(renewTime) } };
}

test('a director tells its groups and the networks of its NICs that have a carrier', () => {
  const kernel = makeKernel();
  kernel.net.links = kernel.net.links.map((l) => (l.name === 'e1' ? { ...l, carrier: false } : l));
  const profile = profileOf(['inner', 'edge'], facts(kernel));
  assert.deepEqual(profile, { groups: ['edge', 'inner'], prefixes: ['10.0.1.0/24', 'fd00:1::/64'] });
  const member = memberOf(lease('a', 1, { annotations: annotationsOf(profile) }))!;
  for (const [address, able] of [['10.0.1.200', true], ['10.0.2.200', false], ['fd00:1::200', true], ['fd00:2::200', false]] as const) {
    assert.equal(candidatesFor({ address, group: 'edge', bySubnet: true, preferred: null }, [member]).length === 1, able, address);
  }
  assert.deepEqual(profileOf([], null), { groups: [], prefixes: [] });
  assert.deepEqual(DIRECTOR_LEASE_LABEL, { name: 'ipvs-operator.dev/lease', value: 'director' });
});

test('a director is no candidate of a group whose NIC it does not have, or that has no carrier', () => {
  const kernel = makeKernel();
  kernel.net.links = kernel.net.links.map((l) => (l.name === 'e1' ? { ...l, carrier: false } : l));
  const named = (name: string, nic: Partial<GroupSettings>): [string, GroupSettings] => [name, group({ name, ...nic })];
  const groups = new Map([
    named('subnet', {}), named('e0', { interface: { match: 'Name', name: 'e0' } }), named('e1', { interface: { match: 'Name', name: 'e1' } }),
    named('e9', { interface: { match: 'Name', name: 'e9' } }), named('any', { interface: { match: 'Regex', regex: 'e.*' } }), named('lo', { interface: { match: 'Name', name: 'lo' } }),
  ]);
  const settings = (name: string) => groups.get(name) ?? null;
  assert.deepEqual(withPlace([...groups.keys(), 'unknown'], settings, facts(kernel)), ['subnet', 'e0', 'any', 'lo', 'unknown']);
  assert.deepEqual(withPlace(['e1'], settings, null), ['e1'], 'nothing is known of the node yet');
});

test('a Lease that says nonsense says nothing, and one in another name is nobody', () => {
  const odd = memberOf(lease('a', 1, { annotations: { 'ipvs-operator.dev/groups': ',edge,', 'ipvs-operator.dev/prefixes': 'x,10.0.1.5/24,10.0.1.0/33,fd00::/64' } }))!;
  assert.deepEqual([[...odd.groups], odd.networks.map((n) => [n.bytes.length, n.length])], [['edge'], [[16, 64]]]);
  assert.equal(memberOf(lease('a', 1, { name: 'director-b' })), null);
  assert.equal(memberOf({ ...lease('a', 1), spec: { holderIdentity: '' } }), null);
  assert.deepEqual(memberOf({ ...lease('a', 1), metadata: { name: 'director-a' } })!.networks, []);
  assert.ok(leaseName('n'.repeat(253)).length <= 253);
});

const live = (members: Members, now: number) => members.live(now).map((m) => m.node).sort().join();

test('who stops renewing is dead after its Lease, whatever its clock says', () => {
  const members = new Members('a');
  for (let now = 0; now <= 20_000; now += 2_000) {
    members.observe(lease('a', now), now);
    if (now <= 10_000) members.observe(lease('b', now), now);
  }
  assert.equal(live(members, 15_999), 'a,b');
  assert.equal(members.nextChange(15_000), 16_000);
  assert.equal(live(members, 16_001), 'a');
  members.observe(lease('b', 99), 17_000);
  assert.equal(live(members, 17_001), 'a,b');
  members.forget(lease('b', 99));
  assert.equal(live(members, 17_002), 'a');
});

test('who cannot hear itself judges nobody, and after a silence everybody has the time of a Lease', () => {
  const members = new Members('a');
  members.observe(lease('b', 0), 0);
  assert.equal(live(members, 1), '', 'before our own first renewal came back');
  for (let now = 0; now <= 10_000; now += 2_000) for (const node of ['a', 'b', 'c']) members.observe(lease(node, now), now);
  assert.equal(live(members, 12_000), 'a,b,c');
  assert.equal(live(members, 17_000), '', 'the watch is broken: we hear nothing, ourselves included');
  members.observe(lease('a', 60_000), 60_000);
  assert.equal(live(members, 60_001), 'a,b,c', 'the others had no chance yet');
  assert.equal(members.nextChange(60_001), 66_000);
  members.observe(lease('c', 61_000), 61_000);
  members.observe(lease('a', 62_000), 62_000);
  members.observe(lease('a', 65_000), 65_000);
  assert.equal(live(members, 66_001), 'a,c');
});

test('a Lease that was not renewed is no sign of life, also after a relist', () => {
  const members = new Members('a');
  for (let now = 0; now <= 20_000; now += 2_000) {
    members.observe(lease('a', now), now);
    members.observe(lease('b', 0), now);
  }
  assert.equal(live(members, 20_001), 'a');
});
