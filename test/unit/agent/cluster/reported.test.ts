/** What of a report is new, and by what it is known again: all that decides whether a node writes. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { IPVSNodeStatus } from '../../../../src/api/v1alpha1/index.ts';
import { patched } from '../../kube/json-patch.ts';
import { editsBetween, newsIn, sameReport } from '../../../../src/agent/cluster/reported.ts';

const report: IPVSNodeStatus = {
  agentVersion: '1', kernel: '6', observedGeneration: 3, programs: { applied: 2, failed: 0, digest: 'aa' }, applied: ['shop/a|1', 'shop/b|1'], ownedVIPs: ['192.0.2.1'], boundVIPs: ['192.0.2.1'],
  failures: [], backends: [], drifts: 0, conditions: [{ type: 'Ready', status: 'True', reason: 'Ready', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }],
};

const CASES: readonly (readonly [string, Partial<IPVSNodeStatus>, 'nothing' | 'forms' | 'more'])[] = [
  ['the same in other objects', { ownedVIPs: ['192.0.2.1'], applied: ['shop/a|1', 'shop/b|1'] }, 'nothing'],
  ['another form of a program', { applied: ['shop/a|1', 'shop/b|2'], programs: { applied: 2, failed: 0, digest: 'bb' } }, 'forms'],
  ['another form of a program that the list has no room for', { programs: { applied: 2, failed: 0, digest: 'bb' } }, 'forms'],
  ['a program more', { applied: ['shop/a|1', 'shop/b|1', 'shop/c|1'], programs: { applied: 3, failed: 0, digest: 'bb' } }, 'more'],
  ['a program less', { applied: ['shop/a|1'], programs: { applied: 1, failed: 0, digest: 'bb' } }, 'more'],
  ['another program instead of one', { applied: ['shop/a|1', 'shop/c|1'], programs: { applied: 2, failed: 0, digest: 'bb' } }, 'more'],
  ['a program that fails, with the forms as they were', { programs: { applied: 2, failed: 1, digest: 'aa' } }, 'more'],
  ['a VIP', { ownedVIPs: [] }, 'more'],
  ['another form and a drift', { applied: ['shop/a|1', 'shop/b|2'], drifts: 1 }, 'more'],
  ['one that drains', { backends: [{ virtualServer: 'shop/a', unhealthy: 0, ignored: 0, draining: 1, connections: 5, drainedBy: '2026-01-01T00:01:00Z', message: '192.0.2.9:80 drains' }] }, 'forms'],
  ['one that is down', { backends: [{ virtualServer: 'shop/a', unhealthy: 1, ignored: 0, draining: 0, message: '192.0.2.9:80 is down' }] }, 'more'],
  ['another form, and one whose check is not obeyed', { applied: ['shop/a|1', 'shop/b|2'], backends: [{ virtualServer: 'shop/b', unhealthy: 0, ignored: 1, draining: 0, message: '' }] }, 'more'],
  ['a field that was not there', { capabilities: { schedulers: [], tunnels: [], netfilter: '' } }, 'more'],
];

/** What goes as edits and not as a whole. */
const EDITS: ReadonlySet<string> = new Set(CASES.map(([what]) => what).filter((what) => !['a program more', 'a program less', 'a field that was not there'].includes(what)));

for (const [what, change] of CASES) {
  test(`${what}: ${EDITS.has(what) ? 'edits make the one report the other' : 'no edits'}`, () => {
    const after = { ...report, ...change };
    const edits = editsBetween(report, after);
    assert.equal(edits !== null, EDITS.has(what));
    if (edits) assert.deepEqual(patched({ status: report }, edits)?.status, after);
    if (edits) assert.equal(patched({ status: { ...report, programs: { ...report.programs, digest: 'of another' } } }, edits), null, 'not where the lines are others');
  });
}

for (const [what, change, news] of CASES) {
  test(`${what}: ${news}`, () => {
    assert.equal(newsIn(report, { ...report, ...change }), news);
    assert.equal(sameReport(report, structuredClone({ ...report, ...change })), news === 'nothing');
  });
}

test('conditions, which others may have beside ours, and fields that come and go, are never edited', () => {
  for (const change of [{ conditions: [] }, { backends: undefined }, { kernel: '7' }, { foreign: { services: 1, destinations: 0, addresses: 0, examples: [] } }, { failures: [{ virtualServer: 'shop/a', code: 'X', message: '' }] }]) {
    assert.equal(editsBetween(report, { ...report, ...change } as IPVSNodeStatus), null, Object.keys(change).join());
  }
});

test('a field that is gone is news', () => {
  const { ownedVIPs, ...rest } = report;
  assert.ok(ownedVIPs);
  assert.equal(newsIn(report, rest), 'more');
});

test('two reports are the same by value, not by the order of keys, and undefined is as good as absent', () => {
  assert.ok(sameReport({ a: 1, b: { c: ['x'], d: [{ e: 1, f: 2 }] } }, { b: { d: [{ f: 2, e: 1 }], c: ['x'] }, a: 1, z: undefined }));
  const different = [{ a: ['x', 'y'] }, { a: ['x,y'] }, { a: [['x', 'y']] }, { a: { x: 'y' } }, { a: 'x' }, { a: [{ x: 1 }, { y: 2 }] }, { a: [{ x: 1, y: 2 }] }, { a: [] }, {}, { a: [{ x: [] }] }, { a: null }];
  for (const one of different) for (const other of different) assert.equal(sameReport(one, other), one === other, `${JSON.stringify(one)} and ${JSON.stringify(other)}`);
});
