// A client that opens one new connection after the other and says who answered, and when, whenever that is another than before. Runs on
// a host of the lab: node dialer.ts ADDRESS PORT. Lines of `SERVER NANOSECONDS`, of the one monotonic clock of the guest.

import { setTimeout as sleep } from 'node:timers/promises';
import { open } from '../../lab/probe/dial.ts';

const [address = '', port = '80'] = process.argv.slice(2);
/** Between two connections. */
const EVERY_MS = 5;
let last = '';
for (;;) {
  const opened = await open({ address, port: Number(port), timeoutMs: 1_000 });
  if (typeof opened !== 'string') {
    // With a reset: thousands of connections in TIME_WAIT would be another test.
    opened.socket.resetAndDestroy();
    const { server } = opened.greeting;
    if (server !== last) process.stdout.write(`${server} ${process.hrtime.bigint()}\n`);
    last = server;
  }
  await sleep(EVERY_MS);
}
