// Real servers of DR made by hand, as every LVS howto has it: for what is shown of the kernel alone, or of a director whose real servers are
// somebody else's. What the product does on a real server is not here.

import type { Lab } from './lab.ts';

/** They serve TCP on port 80, have the VIP on lo and are quiet about it on ARP. */
export async function realServersByHand(lab: Lab, names: readonly string[], vip: string): Promise<void> {
  for (const rs of names) {
    await lab.serve(rs, { tcp: [80] });
    await lab.host(rs).sh(`echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce; ip addr add ${vip}/32 dev lo`);
  }
}
