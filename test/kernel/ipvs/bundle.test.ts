/** Many dumps in one system call: each is answered whole, or not at all, and one that is not disturbs no other bundle. */
import { afterEach, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { COMMAND } from '../../../src/kernel/ipvs/constants.ts';
import { encodeServiceKey } from '../../../src/kernel/ipvs/encode.ts';
import { NetlinkConnection } from '../../../src/kernel/netlink/connection.ts';
import { BUNDLE_DUMPS, DumpBundle } from '../../../src/kernel/netlink/bundle.ts';
import { NETLINK, NLM_F } from '../../../src/kernel/netlink/constants.ts';
import { GenericFamily } from '../../../src/kernel/netlink/genl.ts';
import type { Service } from '../../../src/kernel/ipvs/types.ts';
import { destination, service } from '../../unit/kernel/ipvs/values.ts';
import { adding, applied, client, closeClients, freshNamespace } from './guest.ts';

beforeEach(() => freshNamespace());
afterEach(closeClients);

/** More than the kernel says of one destination. */
const EACH = 512;
const vip = (n: number): Service => service({ address: `10.96.0.${n + 1}`, port: 80, scheduler: 'rr' });
/** Service n has n destinations. */
const load = (count: number): Promise<void> => applied(client(), Array.from({ length: count }, (_, n) => n).flatMap((n) =>
  adding(vip(n), Array.from({ length: n }, (__, d) => destination({ address: `172.16.${n}.${d + 1}`, port: 8080, weight: 1 })))));

/** Asks for services, with room for so many destinations; how many were told of each, null for what was not answered. */
function ask(bundle: DumpBundle, family: GenericFamily, dumps: readonly (readonly [service: number, room: number])[]): (number | null)[] {
  assert.ok(bundle.works, 'this kernel has no AIO');
  const writer = bundle.reset();
  for (const [n, room] of dumps) {
    assert.ok(bundle.fits(room * EACH));
    encodeServiceKey(family.message(writer, COMMAND.GET_DEST, NLM_F.DUMP), vip(n));
    bundle.add(room * EACH);
  }
  bundle.run();
  return dumps.map((_, i) => {
    let messages = 0;
    for (let at = bundle.start(i); at < bundle.end(i); at += bundle.words[at]! >>> 2) messages++;
    return messages === 0 ? null : messages;
  });
}

test('dumps of tables of several sizes are answered whole; nothing there, no room or several datagrams is no answer, and the next bundle is right again', async () => {
  await load(40);
  await applied(client(), Array.from({ length: 120 }, (_, d) => ({ kind: 'addDestination', service: vip(0), destination: destination({ address: `172.17.0.${d + 1}`, port: 8080 }) })));
  const connection = new NetlinkConnection(NETLINK.GENERIC);
  const bundle = new DumpBundle();
  try {
    const family = new GenericFamily(connection, 'IPVS', 'ip_vs');
    const right: [number, number][] = [[1, 2], [2, 3], [10, 11], [39, 40], [3, 4]];
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(ask(bundle, family, right), [1, 2, 10, 39, 3]);
      assert.deepEqual(ask(bundle, family, [[1, 2], [99, 2], [2, 3]]).slice(0, 2), [1, null], 'a service that is not there');
      assert.deepEqual(ask(bundle, family, right), [1, 2, 10, 39, 3]);
      assert.deepEqual(ask(bundle, family, [[5, 6], [20, 3], [2, 3]]).slice(0, 2), [5, null], 'an answer that is longer than its room');
      assert.deepEqual(ask(bundle, family, right), [1, 2, 10, 39, 3]);
      assert.deepEqual(ask(bundle, family, [[5, 6], [0, 60], [2, 3]]).slice(0, 2), [5, null], 'an answer of several datagrams');
    }
    assert.deepEqual(ask(bundle, family, Array.from({ length: BUNDLE_DUMPS }, (_, i) => [1 + (i % 7), 7])), Array.from({ length: BUNDLE_DUMPS }, (_, i) => 1 + (i % 7)));
    assert.ok(!bundle.fits(1), 'and that is all of one bundle');
  } finally {
    bundle.close();
    bundle.close();
    connection.close();
  }
});
