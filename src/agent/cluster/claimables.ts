/**
 * Claimables: the VIPs of this node's groups, each with what claims.ts decides upon: its VirtualIP, who wants it here, where its address would
 * be, whether this node could serve it. Pure.
 */
import type { VirtualIP } from '../../api/v1alpha1/index.ts';
import { ADDRESS_BITS, familyOf } from '../../ip/ip.ts';
import { serviceKey } from '../../kernel/ipvs/types.ts';
import { ADDRESS_PROTOCOL, type Link, type NetObservation, type VipAddress } from '../../kernel/net/types.ts';
import type { AgentView } from '../agent.ts';
import type { Failure } from '../apply.ts';
import { interfaceFor, isUsable, type NodeIndex } from '../facts.ts';
import { failuresByOwner } from '../failures.ts';
import type { Claimable } from '../ownership/claimer.ts';
import type { Assignment } from './assignment.ts';

export interface ClaimablesInput {
  readonly assignment: Pick<Assignment, 'groups' | 'ownersOf' | 'preferredOf'>;
  readonly index: NodeIndex;
  readonly view: Pick<AgentView, 'refusals' | 'fragments' | 'failures' | 'services'>;
  /** Addresses that are ours, by `link address`. */
  readonly addresses: Readonly<Record<string, VipAddress>>;
  /** Groups of which every program is known: elsewhere nothing new is taken and nothing is unwanted. */
  readonly known: ReadonlySet<string>;
}

/** Makes the Claimable of an address of a group. `object`: its VirtualIP, if it was seen. `held`: this node has it. */
export function claimables(input: ClaimablesInput): (address: string, group: string, object: VirtualIP | null, held: boolean) => Claimable {
  const { assignment, index, view, addresses, known } = input;
  // Owners, and single VIPs of owners.
  const unable = new Set(view.refusals.flatMap((r) => (r.code === 'EndpointNotPermitted' ? [] : [r.vip === undefined ? r.owner : `${r.owner} ${r.vip}`])));
  for (const [owner, failures] of failuresByOwner(view)) if (isGrave(failures, view.services)) unable.add(owner);
  const present = presentIn(addresses, index.links);
  return (address, group, object, held) => {
    const settings = assignment.groups.get(group)?.settings ?? null;
    const owners = [...assignment.ownersOf(address)];
    const place = placeOf(address, settings, index);
    return {
      address, group, object,
      bySubnet: (settings?.interface.match ?? 'SubnetOf') === 'SubnetOf',
      preferred: assignment.preferredOf(address),
      status: object ? { activeNode: object.status?.activeNode ?? '', epoch: object.status?.epoch ?? 0 } : null,
      wanted: owners.length > 0 || (held && !known.has(group)),
      fit: known.has(group) && owners.some((owner) => view.fragments.has(owner) && !unable.has(owner) && !unable.has(`${owner} ${address}`)),
      place,
      present: present.has(address) || (place !== null && `${place.vip.link} ${address}` in addresses),
    };
  };
}

/** Whether more failed than some real servers of services that have others: those serve, as they do where one is refused. */
function isGrave(failures: readonly Failure[], services: AgentView['services']): boolean {
  const lacking = new Map<string, number>();
  for (const { operation: o } of failures) {
    if (o.kind === 'addDestination') lacking.set(serviceKey(o.service), (lacking.get(serviceKey(o.service)) ?? 0) + 1);
    else if (o.kind !== 'setDestination' && o.kind !== 'delDestination') return true;
  }
  return [...lacking].some(([key, count]) => count >= (services.get(key)?.destinations.length ?? 0));
}

/**
 * Of ours those on NICs. Nobody changes ledger or links in place, so what was found of them is remembered with them: it is asked for at
 * each look.
 */
function presentIn(addresses: ClaimablesInput['addresses'], links: NodeIndex['links']): ReadonlySet<string> {
  const known = PRESENT.get(addresses);
  if (known?.links === links) return known.present;
  const present = new Set<string>();
  for (const a of Object.values(addresses)) if (isNic(links.get(a.link))) present.add(a.address);
  PRESENT.set(addresses, { links, present });
  return present;
}

const PRESENT = new WeakMap<ClaimablesInput['addresses'], { readonly links: NodeIndex['links']; readonly present: ReadonlySet<string> }>();

function placeOf(address: string, settings: Parameters<typeof interfaceFor>[1], index: NodeIndex): Claimable['place'] {
  const nic = interfaceFor(address, settings, index);
  if ('problem' in nic) return null;
  const link = index.links.get(nic.link)!;
  return isUsable(link) ? { vip: { link: nic.link, family: familyOf(address)!, address }, mac: link.mac } : null;
}

/** VIPs of ours that are on a NIC of this node now: by the ledger, or by our mark where the ledger was lost. */
export function presentVips({ addresses, links }: NetObservation, ours: Readonly<Record<string, VipAddress>>): string[] {
  const byName = new Map(links.map((l) => [l.name, l]));
  const isOurs = (a: NetObservation['addresses'][number]): boolean => a.protocol === ADDRESS_PROTOCOL || `${a.link} ${a.address}` in ours;
  return addresses
    .filter((a) => a.prefixLength === ADDRESS_BITS[a.family] && isNic(byName.get(a.link)) && isOurs(a))
    .map((a) => a.address);
}

/** Where a director has VIPs; real servers have theirs on lo and on tunnels. */
function isNic(link: Link | undefined): boolean {
  return link !== undefined && !link.loopback && link.tunnelLocal === '' && !TUNNELS.has(link.kind);
}

const TUNNELS: ReadonlySet<string> = new Set(['ipip', 'sit', 'gre', 'ip6tnl', 'ip6gre']);
