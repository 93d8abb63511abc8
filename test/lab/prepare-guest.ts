// What every program of the lab does first inside a guest. Refuses to go on anywhere else.

import { readFileSync, writeFileSync } from 'node:fs';

/** Ends the process outside of a guest: what follows changes addresses, links and sysctls of the machine it runs on. */
export function prepareGuest(): void {
  if (!readFileSync('/proc/cmdline', 'utf8').includes('lab.work=')) {
    process.stderr.write('this runs only inside a lab guest; use: npm run lab\n');
    process.exit(1);
  }
  // Bridges and their ports are switches: they need no address of their own.
  writeFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', '1');
}
