/** What a director does about one VIP: every situation, in one table. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { decide, type ClaimedVip, type Situation, type Standing, type Step } from '../../../../src/agent/ownership/claims.ts';
import type { Member } from '../../../../src/agent/ownership/election.ts';
import { ranked } from '../../../../src/agent/ownership/rendezvous.ts';

const ADDRESS = '10.0.1.200';
const member = (node: string): Member => ({ node, groups: new Set(['edge']), networks: [] });
/** `best` and `next` are the first two in the order for this VIP; this node is `next`. */
const [best, next, last] = ranked(['a', 'b', 'c'], ADDRESS) as [string, string, string];
const ALL = [member(best), member(next), member(last)];

interface Case extends Partial<Omit<ClaimedVip, 'status'>>, Partial<Standing> {
  activeNode?: string | null;
  members?: readonly Member[];
  now?: number;
  as?: string;
}

function outcome({ activeNode = '', members = ALL, now = 100_000, as = next, ...rest }: Case): string {
  const vip: ClaimedVip = { address: ADDRESS, group: 'edge', bySubnet: false, preferred: null, wanted: true, fit: true, ...rest, status: activeNode === null ? null : { activeNode, epoch: 3 } };
  const standing: Standing = { held: false, unseen: false, present: false, orphanSince: null, ...rest };
  const situation: Situation = { node: as, members, now, patienceMs: 6_000 };
  const { step, orphan } = decide(vip, standing, situation);
  const words = (s: Step) => [s.kind, ...('reason' in s ? [s.reason] : []), ...('first' in s && !s.first ? ['after others'] : [])].join(' ');
  return `${words(step)}${orphan ? ', orphan' : ''}`;
}

const held: Case = { held: true, present: true };
const CASES: readonly [string, Case, string][] = [
  // ---- free
  ['the best candidate takes a VIP that nobody has', { as: best }, 'claim, orphan'],
  ['the next one lets it', { as: next }, 'wait, orphan'],
  ['and lets it for a while', { orphanSince: 100_000 - 5_999 }, 'wait, orphan'],
  ['but not for ever', { orphanSince: 100_000 - 6_000 }, 'claim after others, orphan'],
  ['the third lets both', { as: last, orphanSince: 100_000 - 11_999 }, 'wait, orphan'],
  ['and then tries', { as: last, orphanSince: 100_000 - 12_000 }, 'claim after others, orphan'],
  ['without the best one, the next is the best', { members: [member(next), member(last)] }, 'claim, orphan'],
  ['a VIP whose owner is live is left alone', { activeNode: last }, 'none'],
  ['a VIP whose owner is dead is free', { as: best, activeNode: 'dead' }, 'claim, orphan'],
  ['a VIP that no program here wants is nothing to us', { as: best, wanted: false }, 'none'],
  ['nor one that this node could not serve', { as: best, fit: false }, 'none'],
  ['nothing begins while the API server is not heard', { as: best, members: [] }, 'none'],
  ['nothing begins with a VIP that was never seen', { as: best, activeNode: null }, 'none'],
  ['who is no candidate watches', { as: next, members: [member(best)] }, 'none, orphan'],
  // ---- ours by name
  ['our name and our address, after a restart: go on', { activeNode: next, present: true }, 'adopt, orphan'],
  ['our name without the address, after a reboot: ask again', { activeNode: next }, 'claim, orphan'],
  ['our name on what we cannot serve: give it back', { activeNode: next, fit: false }, 'release, orphan'],
  ['our name on what is not wanted here: give it back', { activeNode: next, wanted: false }, 'release, orphan'],
  ['but not before the address is gone', { activeNode: next, wanted: false, present: true }, 'none'],
  ['our name, and others are to have it: give it back', { activeNode: next, preferred: new Set([best]) }, 'release, orphan'],
  ['likewise not before the address is gone', { activeNode: next, preferred: new Set([best]), present: true }, 'none'],
  // ---- held
  ['what we hold we keep', { ...held, activeNode: next }, 'keep'],
  ['also while the API server is away', { ...held, activeNode: next, members: [] }, 'keep'],
  ['and while our Lease is not seen by ourselves', { ...held, activeNode: next, members: [member(best)], fit: false, preferred: new Set() }, 'withdraw yielded'],
  ['another name there: let go at once', { ...held, activeNode: best }, 'withdraw lost'],
  ['also when that one is not live any more', { ...held, activeNode: 'dead' }, 'withdraw lost'],
  ['also when we hear nobody', { ...held, activeNode: best, members: [] }, 'withdraw lost'],
  ['but not for news that is older than our own write', { ...held, activeNode: best, unseen: true }, 'keep'],
  ['no name there: write ours again', { ...held, activeNode: '' }, 'assert'],
  ['the VirtualIP is gone, a program still wants the address: it serves on', { ...held, activeNode: null }, 'keep'],
  ['no program wants it: let go', { ...held, activeNode: next, wanted: false }, 'withdraw unwanted'],
  ['also before the API server knows our name', { ...held, activeNode: '', unseen: true, wanted: false }, 'withdraw unwanted'],
  ['the real servers are elsewhere: let them', { ...held, activeNode: next, preferred: new Set([best]) }, 'withdraw yielded'],
  ['they are nowhere: keep it', { ...held, activeNode: next, preferred: new Set() }, 'keep'],
  ['our NIC lost the network, and nobody else has it: keep it', { ...held, activeNode: next, bySubnet: true }, 'keep'],
  ['what we hold and could not take today, we keep', { ...held, activeNode: next, fit: false }, 'keep'],
];
for (const [name, given, expected] of CASES) test(`claims: ${name}`, () => { assert.equal(outcome(given), expected); });
