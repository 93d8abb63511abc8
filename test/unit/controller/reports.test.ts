/** What agents say, asked for one VirtualServer: whom a change of a report concerns, who directs, who holds a VIP. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { MAX_APPLIED, reportApplied, type IPVSNode, type VirtualIP } from '../../../src/api/v1alpha1/index.ts';
import type { Program } from '../../../src/api/v1alpha1/program.ts';
import { Reports } from '../../../src/controller/reports.ts';

const node = (groups: string[], applied: string[] = [], failures: { virtualServer: string; code: string; message: string }[] = []): IPVSNode =>
  ({ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'IPVSNode', metadata: { name: 'x' }, spec: { directorGroups: groups, realServer: { binds: [] }, reservedAddresses: [] }, status: { applied, failures } });
const failure = (virtualServer: string, message = 'm', code = 'NoInterface') => ({ virtualServer, code, message });

test('a report concerns the VirtualServers of which it says something else than before', () => {
  const r = new Reports();
  const says = (...report: Parameters<typeof node>) => [...r.update('e1', node(...report))].sort();
  assert.deepEqual(says(['edge'], ['ns/a|1', 'ns/b|1'], [failure('ns/c')]), ['ns/a', 'ns/b', 'ns/c']);
  assert.deepEqual(says(['edge'], ['ns/a|1', 'ns/b|1'], [failure('ns/c')]), [], 'the same again');
  assert.deepEqual(says(['edge'], ['ns/a|2', 'ns/b|1'], [failure('ns/c')]), ['ns/a'], 'another hash');
  assert.deepEqual(says(['edge'], ['ns/b|1', 'ns/d|1'], [failure('ns/c')]), ['ns/a', 'ns/d'], 'one went, one came');
  assert.deepEqual(says(['edge'], ['ns/b|1', 'ns/d|1'], [failure('ns/c', 'other')]), ['ns/c'], 'another message');
  assert.deepEqual(says(['edge'], ['ns/b|1', 'ns/d|1'], [failure('ns/c', 'other', 'ForeignConflict')]), ['ns/c'], 'another code');
  assert.deepEqual(says(['edge'], ['ns/b|1', 'ns/d|1']), ['ns/c'], 'it works now');
  assert.deepEqual(says(['edge'], ['garbage', '|x', 'ns/b|1', 'ns/d|1']), [], 'a text that says nothing');
  assert.deepEqual([...r.update('e1', undefined)].sort(), ['ns/b', 'ns/d'], 'the node is gone');
  assert.deepEqual([...r.update('e1', undefined)], []);
});

test('whatever the lines of before, those of now count: also where they are in no order, and where one is there twice', () => {
  const lists: string[][] = [[], ['ns/a|1'], ['ns/a|1', 'ns/b|1'], ['ns/a-b|1', 'ns/a|1'], ['ns/a|2', 'ns/b|1', 'ns/c|9'], ['ns/b|1', 'ns/a|1'], ['ns/c|9', 'ns/b|2', 'ns/a|1'], ['ns/b|1', 'ns/b|1', 'garbage']];
  for (const before of lists) {
    for (const now of lists) {
      const r = new Reports();
      r.update('e1', node(['edge'], before));
      const hashes = (): (string | undefined)[] => ['ns/a', 'ns/a-b', 'ns/b', 'ns/c'].map((key) => r.directors('edge', key)[0]!.hash);
      const was = hashes();
      const changed = r.update('e1', node(['edge'], now));
      const fresh = new Reports();
      fresh.update('e1', node(['edge'], now));
      const expected = ['ns/a', 'ns/a-b', 'ns/b', 'ns/c'].map((key) => fresh.directors('edge', key)[0]!.hash);
      assert.deepEqual(hashes(), expected, `${before} then ${now}`);
      for (const [i, key] of ['ns/a', 'ns/a-b', 'ns/b', 'ns/c'].entries()) if (was[i] !== expected[i]) assert.ok(changed.has(key), `${key}: ${before} then ${now}`);
    }
  }
});

test('a director with more programs than its report has lines for runs those without a line when the digest says so, and until it is mended what was known goes on', () => {
  const name = (i: number): string => `ns/s${String(i).padStart(5, '0')}`;
  const all = new Map(Array.from({ length: MAX_APPLIED + 3 }, (_, i) => [name(i), 'h1']));
  const programOf = (contentHash: string, directorGroup = 'edge'): Program => ({ spec: { contentHash, directorGroup } }) as unknown as Program;
  const programs = new Map([...all].map(([owner, hash]) => [owner, programOf(hash)]));
  programs.set('ns/z-of-another-group', programOf('h1', 'core'));
  const r = new Reports(() => programs);
  const says = (hashes: Iterable<readonly [string, string]>, failing: string[] = []): string[] => {
    const { applied, digest } = reportApplied(hashes);
    const report = node(['edge'], applied, failing.map((owner) => failure(owner)));
    return [...r.update('e1', { ...report, status: { ...report.status, programs: { applied: applied.length, failed: 0, digest } } })];
  };
  const hashOf = (i: number): string | undefined => r.directors('edge', name(i))[0]!.hash;
  const last = MAX_APPLIED + 2;
  assert.equal(says(all).length, MAX_APPLIED + 3);
  assert.deepEqual([hashOf(0), hashOf(MAX_APPLIED), hashOf(last), r.directors('edge', 'ns/z-of-another-group')[0]!.hash], ['h1', 'h1', 'h1', undefined]);
  // One beyond the lines changes: of the others goes on what was known.
  programs.set(name(last), programOf('h2'));
  assert.deepEqual([says(all), hashOf(MAX_APPLIED), hashOf(last)], [[name(last)], 'h1', undefined]);
  assert.deepEqual([says(new Map([...all, [name(last), 'h2']])), hashOf(last)], [[name(last)], 'h2']);
  // One comes before them, so one more loses its line, and the director has not got that far.
  programs.set('ns/a', programOf('h1'));
  const now = new Map([...all, [name(last), 'h2']]);
  assert.deepEqual([says(now), hashOf(MAX_APPLIED - 1)], [[], 'h1']);
  now.set('ns/a', 'h1');
  says(now);
  assert.deepEqual([hashOf(MAX_APPLIED - 1), hashOf(MAX_APPLIED), r.directors('edge', 'ns/a')[0]!.hash], ['h1', 'h1', 'h1']);
  // One that fails has no part in it.
  now.delete(name(MAX_APPLIED));
  programs.set(name(MAX_APPLIED + 1), programOf('h3'));
  says(now.set(name(MAX_APPLIED + 1), 'h3'), [name(MAX_APPLIED)]);
  assert.deepEqual([hashOf(MAX_APPLIED), hashOf(MAX_APPLIED + 1), hashOf(last)], [undefined, 'h3', 'h2']);
  // One that it no longer runs, although it should.
  now.delete(name(last));
  says(now, [name(last), name(MAX_APPLIED)]);
  assert.equal(hashOf(last), undefined);
});

test('real servers that are down or drain concern their VirtualServer; how many connections they still have does not', () => {
  const r = new Reports();
  const sick = (more: object = {}) => ({ virtualServer: 'ns/a', unhealthy: 1, ignored: 0, draining: 1, connections: 50, message: 'm', ...more });
  const says = (...backends: object[]): string[] => {
    const report = node(['edge'], ['ns/a|1']);
    return [...r.update('e1', { ...report, status: { ...report.status, backends } } as IPVSNode)];
  };
  assert.deepEqual([says(), says(sick()), says(sick({ connections: 20 })), says(sick({ unhealthy: 2 })), says(sick({ unhealthy: 2, message: 'n' })), says()], [['ns/a'], ['ns/a'], [], ['ns/a'], ['ns/a'], ['ns/a']]);
  says(sick());
  assert.equal(r.directors('edge', 'ns/a')[0]!.backends?.unhealthy, 1);
});

test('the directors of a group speak of one VirtualServer, the live ones as such', () => {
  const r = new Reports();
  r.update('e1', node(['edge', 'core'], ['ns/a|1']));
  r.update('e2', node(['edge'], [], [failure('ns/a')]));
  r.update('w1', node([], ['ns/a|1']));
  assert.equal(r.setLive(new Set(['e1', 'ghost'])), true);
  assert.deepEqual(r.directors('edge', 'ns/a'), [{ node: 'e1', live: true, hash: '1', failure: undefined, backends: undefined }, { node: 'e2', live: false, hash: undefined, failure: { code: 'NoInterface', message: 'm' }, backends: undefined }]);
  assert.deepEqual([r.directors('core', 'ns/b').map((d) => d.hash), r.directors('none', 'ns/a'), r.members('edge')], [[undefined], [], ['e1', 'e2']]);
});

test('who is live is news when it is others', () => {
  const r = new Reports();
  assert.deepEqual([r.setLive(new Set()), r.setLive(new Set(['a'])), r.setLive(new Set(['a'])), r.setLive(new Set(['b'])), r.setLive(new Set(['b', 'c'])), r.setLive(new Set(['c']))], [false, true, false, true, true, true]);
  assert.deepEqual([r.isLive('c'), r.isLive('b')], [true, false]);
});

test('a VIP is held by whom its status names, live or not, and may be somebody else\'s too', () => {
  const r = new Reports();
  r.setLive(new Set(['e1']));
  const vip = (status?: object): VirtualIP => ({ ...(status ? { status } : {}) }) as unknown as VirtualIP;
  const duplicate = (status: string) => vip({ activeNode: 'e1', conditions: [{ type: 'DuplicateAddress', status, message: '00:11 answers' }] });
  assert.deepEqual(r.holder(undefined), { node: '', live: false, duplicate: '', why: '' });
  assert.deepEqual(r.holder(vip()), { node: '', live: false, duplicate: '', why: '' });
  assert.deepEqual(r.holder(vip({})), { node: '', live: false, duplicate: '', why: '' });
  assert.deepEqual(r.holder(vip({ activeNode: 'e2' })), { node: 'e2', live: false, duplicate: '', why: '' });
  assert.deepEqual(r.holder(duplicate('True')), { node: 'e1', live: true, duplicate: '00:11 answers', why: '' });
  const owned = (status: string) => vip({ activeNode: 'e2', conditions: [{ type: 'Owned', status, reason: 'OwnerLost', message: 'its kernel still answers' }] });
  assert.deepEqual([r.holder(owned('Unknown')).why, r.holder(owned('False')).why, r.holder(owned('True')).why], ['its kernel still answers', 'its kernel still answers', '']);
  assert.deepEqual(r.holder(duplicate('False')), { node: 'e1', live: true, duplicate: '', why: '' });
});
