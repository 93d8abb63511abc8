/** Status of pools, groups and VirtualIPs: every reason by a case, counts, and what of a shared status is left to others. */
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { CONDITIONS_OF, type IPVSNode, type ServerObjects, type VirtualIP } from '../../../../src/api/v1alpha1/index.ts';
import { readShape } from '../../../../src/api/shape.ts';
import { STATUS_SHAPES } from '../../../../src/api/shapes.generated.ts';
import { claimedStatus, groupStatus, poolRemark, poolStatus, type Member, type PoolSurroundings } from '../../../../src/controller/status/pools.ts';
import { group, pool } from '../compile/setup.ts';

const NOW = '2026-05-01T12:00:00Z';
type Said = readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[] | undefined;
const said = (conditions: Said): string[] => (conditions ?? []).map((c) => `${c.type} ${c.status} ${c.reason}`);

const fromServer = <T extends { metadata: { name: string } }>(object: T, more: object = {}): T => ({ ...object, metadata: { ...object.metadata, uid: 'u', generation: 2 }, ...more });
const thePool = (spec: Record<string, unknown> = {}, name = 'public'): ServerObjects['VIPPool'] => fromServer(pool(name, spec));
const around = (more: Partial<PoolSurroundings> = {}): PoolSurroundings => ({ groups: new Set(['edge']), pools: [], reserved: () => null, ...more });
const NONE = { ipv4: 0, ipv6: 0 };

const REACHED = new Set<string>();
function poolSays(spec: Record<string, unknown>, used: { ipv4: number; ipv6: number }, surroundings: Partial<PoolSurroundings> = {}): string {
  const p = thePool(spec);
  const status = poolStatus(p, used, poolRemark(p, around(surroundings)), NOW);
  assert.deepEqual(readShape(STATUS_SHAPES.VIPPool, status).problems, []);
  const [ready] = status.conditions!;
  REACHED.add(`VIPPool Ready ${ready!.reason}`);
  assert.equal(ready!.observedGeneration, 2);
  return `${ready!.status} ${ready!.reason}${ready!.message ? `: ${ready!.message}` : ''}`;
}

describe('a pool', () => {
  const cases: [string, Record<string, unknown>, { ipv4: number; ipv6: number }, Partial<PoolSurroundings>, RegExp][] = [
    ['is Ready', {}, NONE, {}, /^True Ready$/],
    ['names a group that is not there', { directorGroupRef: { name: 'core' } }, NONE, {}, /^False DirectorGroupNotFound: DirectorGroup core does not exist; create it/],
    ['names none of several', {}, NONE, { groups: new Set(['a', 'b']) }, /^False DirectorGroupNotFound: there are 2 DirectorGroups; name one/],
    ['needs none where there is none', {}, NONE, { groups: new Set() }, /^True Ready$/],
    ['is disabled', { disabled: true }, NONE, {}, /^False Disabled/],
    ['is used up', {}, { ipv4: 6, ipv6: 0 }, {}, /^True PoolExhausted: every address is in use; for another one add a block/],
    ['is used up, and more', {}, { ipv4: 9, ipv6: 0 }, {}, /^True PoolExhausted/],
    ['is used up and disabled', { disabled: true }, { ipv4: 6, ipv6: 0 }, {}, /^False Disabled/],
    ['shares addresses with another', {}, NONE, { pools: [thePool({ blocks: [{ start: '203.0.113.7', stop: '203.0.113.9' }] }, 'second'), thePool({ blocks: [{ cidr: '2001:db8::/64' }] }, 'third'), thePool()] }, /^True PoolOverlap: VIPPool second has some/],
    ['shares addresses and is used up', {}, { ipv4: 6, ipv6: 0 }, { pools: [thePool({}, 'second')] }, /^True PoolExhausted/],
    ['has an address of a node', {}, NONE, { reserved: () => '203.0.113.1 is an address of node n1' }, /^True AddressReserved: 203\.0\.113\.1 is an address of node n1: it is never given/],
  ];
  for (const [name, spec, used, surroundings, expected] of cases) it(name, () => assert.match(poolSays(spec, used, surroundings), expected));

  it('counts what may be allocated, without first, last and excluded ones', () => {
    const of = (spec: Record<string, unknown>) => poolStatus(thePool(spec), { ipv4: 1, ipv6: 2 }, null, NOW).capacity;
    assert.deepEqual(of({}), { ipv4: '6', ipv6: '0' });
    assert.deepEqual(of({ allocateFirstLast: true, excluded: ['203.0.113.2'] }), { ipv4: '7', ipv6: '0' });
    assert.deepEqual(of({ blocks: [{ cidr: '2001:db8::/64' }], excluded: [] }), { ipv4: '0', ipv6: String(2n ** 64n - 2n) });
    assert.deepEqual(of({ blocks: [{ cidr: '203.0.113.1/32' }], excluded: ['203.0.113.1', '192.0.2.1'] }), { ipv4: '0', ipv6: '0' }, 'never below nothing');
    const blocks = [{ cidr: '203.0.113.0/29' }, { start: '203.0.113.4', stop: '203.0.113.9' }, { cidr: '203.0.113.0/30' }, { start: '203.0.113.10', stop: '203.0.113.10' }];
    assert.deepEqual(of({ blocks, excluded: ['203.0.113.4'] }), { ipv4: '9', ipv6: '0' }, 'of blocks that overlap each address once');
    assert.deepEqual(of({ excluded: ['203.0.113.0', '203.0.113.1'] }), { ipv4: '5', ipv6: '0' }, 'an excluded one that would not be given anyway takes nothing away');
    assert.deepEqual(poolStatus(thePool(), { ipv4: 1, ipv6: 2 }, null, NOW).allocated, { ipv4: '1', ipv6: '2' });
  });
});

const theGroup = (status?: object): ServerObjects['DirectorGroup'] => fromServer(group('edge'), status === undefined ? {} : { status });
const reporting = (more: object = {}): IPVSNode => ({ status: { agentVersion: '1', ...more } }) as unknown as IPVSNode;
const live = (node: string, owned = 0): Member => ({ node, live: true, report: reporting(), owned });
const dead = (node: string): Member => ({ node, live: false, report: reporting(), owned: 0 });

describe('a group', () => {
  const cases: [string, Member[], string[], string[]][] = [
    ['without nodes', [], ['Ready False NoMembers'], []],
    ['whose agents are all gone', [dead('e1'), dead('e2')], ['Ready False NoLiveMember'], ['e1 Lost', 'e2 Lost']],
    ['whose agents did not come yet', [{ node: 'e1', live: false, report: undefined, owned: 0 }, { node: 'e2', live: true, report: undefined, owned: 0 }], ['Ready False NoLiveMember'], ['e1 Pending', 'e2 Pending']],
    ['with all of its nodes', [live('e2', 3), live('e1')], ['Ready True Ready'], ['e1 Live', 'e2 Live 3']],
    ['that lost a node', [live('e1'), dead('e2'), live('e3')], ['Ready True Ready', 'Degraded True MemberLost'], ['e1 Live', 'e2 Lost', 'e3 Live']],
    ['of one node', [live('e1')], ['Ready True Ready'], ['e1 Live']],
    ['with one node that can', [live('e1'), { ...live('e2'), report: reporting({ conditions: [{ type: 'Ready', status: 'False', reason: 'KernelModuleMissing' }] }) }], ['Ready True Ready', 'Degraded True NoRedundancy'], ['e1 Live', 'e2 NotReady']],
    ['with a node where some programs fail', [live('e1'), { ...live('e2'), report: reporting({ conditions: [{ type: 'Ready', status: 'False', reason: 'ProgramsFailed' }] }) }], ['Ready True Ready'], ['e1 Live', 'e2 Live']],
  ];
  for (const [name, members, conditions, states] of cases) {
    it(name, () => {
      const status = groupStatus(theGroup(), members, NOW);
      assert.deepEqual(readShape(STATUS_SHAPES.DirectorGroup, status).problems, []);
      assert.deepEqual([said(status.conditions), status.members!.map((m) => `${m.node} ${m.state}${m.ownedVIPs ? ` ${m.ownedVIPs}` : ''}`)], [conditions, states]);
      for (const c of status.conditions!) {
        REACHED.add(`DirectorGroup ${c.type} ${c.reason}`);
        if (c.reason !== 'Ready') assert.ok(c.message.length > 10);
      }
    });
  }

  it('of more nodes than its status has room for counts all, and names as many as the CRD takes', () => {
    const members = Array.from({ length: 1_500 }, (_, i) => (i < 1_200 ? dead(`a-node-with-a-name-that-is-rather-long-${i}`) : live(`b-${i}`, 1)));
    const status = groupStatus(theGroup(), members, NOW);
    assert.deepEqual(readShape(STATUS_SHAPES.DirectorGroup, status).problems, []);
    assert.deepEqual([status.members?.length, status.summary], [1_000, { members: '300/1500', ownedVIPs: 300 }]);
    assert.match(status.conditions!.find((c) => c.type === 'Degraded')!.message, /^not live: a-node.*-0, .* and 1180 more$/);
  });
  it('says since when, and keeps that while the state is the same', () => {
    const before = groupStatus(theGroup(), [live('e1'), live('e2')], '2026-05-01T10:00:00Z');
    const after = groupStatus(theGroup(before), [live('e1'), dead('e2')], NOW);
    assert.deepEqual(after.members!.map((m) => m.since), ['2026-05-01T10:00:00Z', NOW]);
    assert.deepEqual(after.summary, { members: '1/2', ownedVIPs: 0 });
    assert.deepEqual(said(groupStatus(theGroup(after), [live('e1'), live('e2')], NOW).conditions), ['Ready True Ready'], 'Degraded goes');
  });
});

describe('a VirtualIP', () => {
  const vip = (claims: object[], conditions: object[] = []): VirtualIP => ({ metadata: { name: '203.0.113.1', generation: 4 }, spec: { claims }, status: { activeNode: 'e1', conditions } }) as unknown as VirtualIP;
  it('is claimed, or being given back; the rest of its status is its owner\'s', () => {
    const owned = { type: 'Owned', status: 'True', reason: 'Owned', message: '', lastTransitionTime: NOW };
    const claimed = claimedStatus(vip([{}, {}], [owned]), NOW);
    assert.deepEqual([claimed.claims, said(claimed.conditions), Object.keys(claimed)], [2, ['Claimed True Claimed'], ['claims', 'conditions']]);
    const released = claimedStatus(vip([], [owned, ...claimed.conditions]), NOW);
    assert.deepEqual(said(released.conditions), ['Claimed False Released']);
    for (const c of [...claimed.conditions, ...released.conditions]) REACHED.add(`VirtualIP ${c.type} ${c.reason}`);
  });
});

describe('the reasons of pools, groups and VirtualIPs', () => {
  /** Never given here, and why. */
  const ELSEWHERE: Readonly<Record<string, string>> = {
    'VIPPool Ready Pending': 'an object without a status was not looked at',
    'VIPPool Ready InvalidSpec': 'of an object that no schema accepts: reconcile/invalid-writer.ts',
    'DirectorGroup Ready Pending': 'an object without a status was not looked at',
    'DirectorGroup Ready InvalidSpec': 'of an object that no schema accepts: reconcile/invalid-writer.ts',
  };
  it('are all reached, but those that others give', () => {
    const all = (['VIPPool', 'DirectorGroup', 'VirtualIP'] as const).flatMap((kind) => Object.entries(CONDITIONS_OF[kind]).flatMap(([type, { reasons }]) => Object.keys(reasons).map((reason) => `${kind} ${type} ${reason}`)));
    // Who owns a VirtualIP is its agent's to say.
    const ours = all.filter((r) => !/^VirtualIP (Owned|DuplicateAddress)/.test(r));
    assert.deepEqual(ours.filter((r) => !REACHED.has(r)), Object.keys(ELSEWHERE));
  });
});
