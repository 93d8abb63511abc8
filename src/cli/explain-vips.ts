/** Steps about the VIPs: claimed, and held by a live director; and when nobody holds one, why. Pure. */
import type { VirtualIP } from '../api/v1alpha1/index.ts';
import { names } from '../api/v1alpha1/problems.ts';
import { candidatesFor, type Member } from '../agent/ownership/election.ts';
import { memberOf } from '../agent/ownership/membership.ts';
import type { Case } from './explain-case.ts';
import { valueOf } from './explain-facts.ts';
import { good, look, unread, unsure, wrong, type Step } from './explain-step.ts';
import { formatSeconds } from './table.ts';

export function addressSteps(c: Case): Step[] {
  return c.addresses.flatMap((address) => {
    const read = c.facts.virtualIPs.get(address);
    if (read === undefined) return [];
    if ('unread' in read) {
      const step = unread('address', address, read.unread);
      const holder = c.holders.get(address);
      return [holder ? { ...step, text: `${step.text}; the controller says that ${holder} holds it` } : step];
    }
    return read.value === null ? [unclaimed(address, c)] : [...duplicateStep(address, read.value), addressStep(address, read.value, c)];
  });
}

function unclaimed(address: string, { facts }: Case): Step {
  return wrong('address', address, 'there is no VirtualIP: the controller has not claimed it', look.controllerLog(facts.systemNamespace));
}

function addressStep(address: string, vip: VirtualIP, c: Case): Step {
  const { facts, raw } = c;
  const { namespace, name } = facts;
  const show = `kubectl get vip ${vip.metadata.name} -o yaml`;
  const claim = vip.spec.claims.find((x) => x.namespace === namespace && x.name === name);
  if (!claim) {
    const others = names(vip.spec.claims.map((x) => `${x.namespace}/${x.name}`));
    return wrong('address', address, `it is claimed by ${others || 'nobody'}, not by ${namespace}/${name}`, show);
  }
  if (raw?.metadata.uid !== undefined && claim.uid !== raw.metadata.uid) {
    const text = `the claim is that of an earlier VirtualServer ${namespace}/${name}; the controller renews it`;
    return wrong('address', address, text, look.controllerLog(facts.systemNamespace));
  }
  const { activeNode = '', since } = vip.status ?? {};
  if (activeNode === '') return nobodyHolds(address, vip, c);
  const nodes = valueOf(facts.ipvsNodes);
  const { directorGroup } = vip.spec;
  if (nodes && !nodes.some((n) => n.metadata.name === activeNode && n.spec.directorGroups.includes(directorGroup))) {
    const text = `${activeNode} holds it, and does not direct for DirectorGroup ${directorGroup} any more`;
    return wrong('address', address, text, `kubectl get dgroup ${directorGroup} -o yaml`);
  }
  if ('unread' in facts.leases) {
    const step = unread('address', address, facts.leases.unread);
    return { ...step, text: `${activeNode} holds it; whether it is live was ${step.text}` };
  }
  const held = `${activeNode} holds it${since === undefined ? '' : ` since ${since}${age(since, facts.now)}`}`;
  if (c.leaseOf?.get(activeNode)?.live) return good('address', address, `claimed; ${held} and is live`);
  const owned = vip.status?.conditions?.find((x) => x.type === 'Owned');
  // Its kernel goes on without an agent: then it is well served, and nobody can see whether it is.
  if (owned?.reason === 'OwnerLost') {
    return unsure('address', address, `${held}, but its agent is gone: ${owned.message}`, look.agentOn(facts.systemNamespace, activeNode));
  }
  return wrong('address', address, `${held}, but does not renew its Lease, and no other director has taken over`, look.agentOn(facts.systemNamespace, activeNode));
}

/** Somebody else answers too: some clients reach him. */
function duplicateStep(address: string, vip: VirtualIP): Step[] {
  const duplicate = vip.status?.conditions?.find((x) => x.type === 'DuplicateAddress' && x.status === 'True');
  // When nobody holds it, this is why, and said there.
  if (!duplicate || !vip.status?.activeNode) return [];
  return [wrong('address', address, `${duplicate.reason}: ${duplicate.message}`, `kubectl get vip ${vip.metadata.name} -o yaml`, false)];
}

function nobodyHolds(address: string, vip: VirtualIP, c: Case): Step {
  const { facts, leaseOf } = c;
  const { systemNamespace: system } = facts;
  const group = vip.spec.directorGroup;
  const no = (why: string, fix: string) => wrong('address', address, `no director holds it: ${why}`, fix);
  if (group === '') return no('there is no DirectorGroup', 'kubectl get dgroup; create one whose nodeSelector selects the nodes that are to direct');
  const all = valueOf(facts.ipvsNodes);
  const members = all?.filter((n) => n.spec.directorGroups.includes(group));
  const object = valueOf(facts.groups.get(group));
  if (members?.length === 0) {
    const labels = object?.spec.nodeSelector?.matchLabels ?? {};
    if (object === null) return no(`there is no DirectorGroup ${group}`, 'kubectl get dgroup');
    const give = Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(' ');
    return no(`DirectorGroup ${group} selects no node`, give === '' ? `kubectl get dgroup ${group} -o yaml` : `kubectl label node NODE ${give}`);
  }
  const blocked = vip.status?.conditions?.find((x) => x.type === 'Owned' && x.reason === 'AddressInUse');
  if (blocked) return no(blocked.message, `ip neigh show ${address} on a director, to find the host`);
  if (leaseOf === undefined) return no('why is not known without the Leases of the directors', `kubectl get vip ${vip.metadata.name} -o yaml`);
  const live = [...leaseOf.values()].flatMap(({ lease, live: yes }): Member[] => (yes ? [memberOf(lease)!] : [])).filter((m) => m.groups.has(group));
  if (live.length === 0) {
    const whom = members === undefined ? '' : ` (${names(members.map((n) => n.metadata.name))})`;
    return no(`no agent of DirectorGroup ${group} is live${whom}`, look.pods(system, 'agent'));
  }
  const bySubnet = (object?.spec.interface.match ?? 'SubnetOf') === 'SubnetOf';
  const candidates = candidatesFor({ address, group, bySubnet, preferred: null }, live).sort();
  if (candidates.length === 0) {
    return no(`no live director (${names(live.map((m) => m.node).sort())}) has a NIC with a carrier in a network that holds it`,
      `kubectl get leases -n ${system} -o yaml shows their networks; or set spec.interface of DirectorGroup ${group}`);
  }
  return no(`${names(candidates)} can and ${candidates.length === 1 ? 'has' : 'have'} not taken it yet`, look.pods(system, 'agent'));
}

function age(since: string, now: number): string {
  const seconds = (now - Date.parse(since)) / 1000;
  return Number.isFinite(seconds) && seconds >= 0 ? ` (${formatSeconds(seconds)})` : '';
}
