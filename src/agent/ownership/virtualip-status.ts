/**
 * What a director writes into the status of a VirtualIP: that it holds the address, that it let go, or who keeps it from taking it. Pure:
 * merge patches that hold only in the state that was seen. Who takes it also says that it is claimed: it would be one more write of the controller's.
 */
import { claimedOf, type ConditionOf, type VirtualIP, type VirtualIPStatus } from '../../api/v1alpha1/index.ts';
import { dropCondition, findCondition, setCondition, type Condition, type WantedCondition } from '../../kube/conditions.ts';

/** The patch of one VirtualIP; with the resourceVersion, a compare-and-set. */
export interface StatusPatch {
  readonly metadata: { readonly resourceVersion: string };
  readonly status: Partial<VirtualIPStatus>;
}

type Reason<T extends ConditionOf<'VirtualIP'>['type']> = Extract<ConditionOf<'VirtualIP'>, { type: T }>['reason'];

/** `now`: RFC 3339. */
export function ownedPatch(vip: VirtualIP, node: string, mac: string, now: string): StatusPatch {
  const { activeNode, since, epoch = 0 } = vip.status ?? {};
  const again = activeNode === node;
  const { claims, condition } = claimedOf(vip);
  // That nobody has it any more is the controller's to find.
  const said = claims === 0 ? conditionsOf(vip) : setCondition(conditionsOf(vip), condition, now);
  const owned = wanted(vip, 'Owned', 'True', 'Owned', `${node} holds the address`);
  return patch(vip, {
    activeNode: node, epoch: again ? epoch : epoch + 1, since: again && since !== undefined ? since : now, mac, ...(claims > 0 && { claims }),
    conditions: list(dropCondition(setCondition(said, owned, now), 'DuplicateAddress')),
  });
}

export function releasedPatch(vip: VirtualIP, now: string): StatusPatch {
  const pending = set(vip, 'Owned', 'False', 'Pending', 'its director let go of it; another one takes it', now);
  return patch(vip, { activeNode: '', epoch: (vip.status?.epoch ?? 0) + 1, mac: '', conditions: list(pending) });
}

/**
 * Somebody answers for an address that a director wants to take. Null when that is said already. When it is the director whose name is there,
 * its agent is gone and its kernel goes on serving: that is well, and only said.
 */
export function blockedPatch(vip: VirtualIP, mac: string, now: string): StatusPatch | null {
  const { activeNode = '', mac: last = '' } = vip.status ?? {};
  const shown = mac === '' ? 'a host that does not tell its MAC address' : mac;
  const before = conditionsOf(vip);
  const after = activeNode !== '' && mac === last
    ? set(vip, 'Owned', 'Unknown', 'OwnerLost',
      `${activeNode} does not renew its Lease and still answers for the address (${shown}), so it is left alone; start its agent again, or take the node off the network`,
      now)
    : setCondition(
      set(vip, 'Owned', 'False', 'AddressInUse', `${shown} answers for the address and is no director of the group; it is not taken until nobody answers`, now),
      wanted(vip, 'DuplicateAddress', 'True', 'ForeignHost',
        `${shown} answers for the address; find the host and take the address off it, or exclude it from the pool`),
      now,
    );
  return after === before ? null : patch(vip, { conditions: list(after) });
}

/** Whether the conditions say of an owner that it owns: an owner puts right what others wrote while it was away. */
export function saysOwned(vip: VirtualIP): boolean {
  const conditions = conditionsOf(vip);
  return findCondition(conditions, 'Owned')?.status === 'True' && !findCondition(conditions, 'DuplicateAddress');
}

const NONE: readonly Condition[] = [];

function conditionsOf({ status }: VirtualIP): readonly Condition[] { return (status?.conditions as readonly Condition[] | undefined) ?? NONE; }

type Type = ConditionOf<'VirtualIP'>['type'];

function set<T extends Type>(
  vip: VirtualIP, type: T, status: Condition['status'], reason: Reason<T>, message: string, now: string,
): readonly Condition[] {
  return setCondition(conditionsOf(vip), wanted(vip, type, status, reason, message), now);
}

function wanted<T extends Type>(vip: VirtualIP, type: T, status: Condition['status'], reason: Reason<T>, message: string): WantedCondition {
  const { generation } = vip.metadata;
  return { type, status, reason, message, ...(generation !== undefined && { observedGeneration: generation }) };
}

function patch(vip: VirtualIP, status: Partial<VirtualIPStatus>): StatusPatch {
  return { metadata: { resourceVersion: vip.metadata.resourceVersion ?? '' }, status };
}

function list(conditions: readonly Condition[]): Condition[] { return [...conditions]; }
