/**
 * Upkeep: what of a plan is done although nothing can be remembered, as on a full disk: of services and addresses that the ledger has, all that
 * clients need. Without it they would be sent to who died for as long as the disk is full, because of something else that is new. What the
 * ledger does not have waits: it would be a stranger after a restart. Pure.
 */
import { serviceKey } from '../kernel/ipvs/types.ts';
import type { Ledger } from './ledger.ts';
import type { Work } from './operation.ts';
import { keyOf } from './state.ts';

export function upkeepOf(operations: readonly Work[], { services, addresses }: Ledger): Work[] {
  return operations.filter((o) => {
    switch (o.kind) {
      case 'addService': case 'setService': case 'addTable': case 'addDestination': case 'setDestination': case 'delDestination':
        return serviceKey(o.service) in services;
      case 'addAddress': case 'announce': return keyOf.vip(o.vip) in addresses;
      case 'addLocalRoute': return keyOf.vip(o.route) in addresses;
      default: return false;
    }
  });
}
