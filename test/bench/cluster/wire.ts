// A wire (a tap device) from the machine into a guest, for what stands beside it. Needs root. What goes over it is the caller's.

import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { managementServer } from '../../lab/management.ts';

/** The machine's address on it: in the management network of a guest (test/lab/management.ts), whose hosts and bridge have the rest of it. */
export const OUTSIDE = '192.168.250.253';

const WIRE = 'ipvs-bench0';
/**
 * A guest now and then does not notice a packet before the next one comes. Of a lone one TCP sends the next after 200 ms, and that would be
 * measured; so there is always one soon. Milliseconds.
 */
const TICK_MS = 5;
/** discard, RFC 863: nobody listens. */
const TICK_PORT = 9;

/** Runs `work` with the wire there: with what the guest's kernel is to be told, to have the other end as `vec0`. */
export async function withWire<T>(work: (kernelArguments: readonly string[]) => Promise<T>): Promise<T> {
  const ip = (command: string): void => { execFileSync('ip', command.split(' '), { stdio: ['ignore', 'ignore', 'inherit'] }); };
  ip(`tuntap add ${WIRE} mode tap`);
  try {
    ip(`address add ${OUTSIDE}/24 dev ${WIRE}`);
    ip(`link set ${WIRE} up`);
    const ticker = createSocket('udp4');
    // Before the guest is there, and when it is gone, nobody answers for its address.
    ticker.on('error', () => {});
    const timer = setInterval(() => ticker.send('', TICK_PORT, managementServer, () => {}), TICK_MS);
    try {
      return await work([`vec0:transport=tap,ifname=${WIRE},depth=128,gro=1`]);
    } finally {
      clearInterval(timer);
      ticker.close();
    }
  } finally {
    ip(`link del ${WIRE}`);
  }
}
