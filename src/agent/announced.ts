/** Announced: the VIPs of ours that this node answers for. Asked for often and changing seldom, so remembered until one of them does. */
import type { VipAddress } from '../kernel/net/types.ts';
import type { Ledger } from './ledger.ts';
import type { SharedState } from './state.ts';

export class Announced {
  #vips: SharedState['vips'] | null = null;
  #addresses: Ledger['addresses'] | null = null;
  #held: ReadonlyMap<string, VipAddress> = new Map();

  /** Of what is wanted, what is ours; by `link address`. The same object until one of the two is another. */
  of(vips: SharedState['vips'], addresses: Ledger['addresses']): ReadonlyMap<string, VipAddress> {
    if (vips === this.#vips && addresses === this.#addresses) return this.#held;
    const held = new Map<string, VipAddress>();
    for (const [key, { value: { vip, announce } }] of vips) if (announce && key in addresses) held.set(key, vip);
    [this.#vips, this.#addresses, this.#held] = [vips, addresses, held];
    return held;
  }
}
