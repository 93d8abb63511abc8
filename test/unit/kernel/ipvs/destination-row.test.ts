/** A row of a table is the destination that was packed, and goes to the kernel as the same bytes and under the same rules. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openIpvs } from '../../../../src/kernel/ipvs/client.ts';
import type { IpvsOperation, IpvsWork } from '../../../../src/kernel/ipvs/contract.ts';
import { DestinationSeries } from '../../../../src/kernel/ipvs/encode.ts';
import { DestinationTable } from '../../../../src/kernel/ipvs/destinations.ts';
import { invalidDestination } from '../../../../src/kernel/ipvs/validate.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import type { Destination } from '../../../../src/kernel/ipvs/types.ts';
import { FakeKernel } from './fake-kernel.ts';
import { destination, service } from './values.ts';

const octet = fc.integer({ min: 0, max: 255 });
const any: fc.Arbitrary<Destination> = fc.record({
  address: fc.oneof(fc.tuple(octet, octet, octet, octet).map((o) => o.join('.')), octet.map((n) => `fd00::${(n + 1).toString(16)}`)),
  port: fc.constantFrom(0, 80, 8080, 65535),
  method: fc.constantFrom('masq' as const, 'direct' as const, 'tunnel' as const, 'local' as const),
  weight: fc.constantFrom(0, 1, 65535, 65536, 0x7fffffff),
  upper: fc.constantFrom(0, 10, 0x7fffffff),
  lower: fc.constantFrom(0, 5, 20),
  tunnelType: fc.constantFrom('ipip' as const, 'gue' as const),
  tunnelPort: fc.constantFrom(0, 6080),
  tunnelFlags: fc.constantFrom(0, 1),
}).map((d) => ({ family: d.address.includes(':') ? 'IPv6' as const : 'IPv4' as const, ...d }));

/** What nearly all destinations are. */
const plain = fc.tuple(octet, octet).map(([a, b]) => destination({ address: `172.16.${a}.${b}`, port: 8080, weight: 1 + (b % 3) }));

test('a row is the value that was packed, field by field', () => {
  fc.assert(fc.property(any, (destination) => {
    const row = DestinationTable.from([destination]).row(0);
    assert.deepEqual(row.toJSON(), destination);
    for (const field of Object.keys(destination) as (keyof Destination)[]) assert.equal(row[field], destination[field]);
  }));
});

test('what is refused as a value is refused as a row, with the same words', () => {
  const s = service({ address: '10.96.0.1', port: 80 });
  fc.assert(fc.property(any, (destination) => {
    assert.equal(invalidDestination(s, DestinationTable.from([destination]).row(0)), invalidDestination(s, destination));
  }), { numRuns: 1000 });
});

test('a series of rows becomes the same bytes as a series of values', () => {
  const s = service({ address: '10.96.0.1', port: 80 });
  fc.assert(fc.property(fc.array(any, { minLength: 1, maxLength: 6 }), (destinations) => {
    const bytes = (list: readonly Destination[]): Uint8Array => {
      const writer = new MessageWriter();
      const series = new DestinationSeries();
      for (const destination of list) series.write(writer, 28, 5, s, destination);
      writer.finish();
      return writer.bytes.slice(0, writer.bytesUsed);
    };
    assert.deepEqual(bytes(destinations.map((d) => DestinationTable.from([d]).row(0))), bytes(destinations));
  }));
});

test('rows one by one, and tables whole, are sent and refused like the same as values: same bytes, same chunks, same failures', async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(fc.record({ scheduler: fc.constantFrom('rr', 'mh'), destinations: fc.oneof(fc.array(any, { maxLength: 6 }), fc.array(plain, { maxLength: 700 })) }), { maxLength: 4 }), fc.boolean(), fc.boolean(),
    async (services, none, gone) => {
      const run = async (form: 'values' | 'rows' | 'tables') => {
        const kernel = new FakeKernel();
        const client = openIpvs({ socket: kernel.socket });
        const rows = form !== 'values';
        const work = services.flatMap(({ scheduler, destinations }, n): IpvsWork[] => {
          const s = service({ address: `10.96.0.${n + 1}`, port: 80, scheduler });
          const table = DestinationTable.from(destinations);
          return [
            { kind: 'addService', service: none ? { ...s, scheduler: 'none' } : s },
            ...(form === 'tables' ? [{ kind: 'addTable' as const, service: s, destinations: table }]
              : Array.from({ length: table.length }, (_, i): IpvsOperation => ({ kind: 'addDestination', service: s, destination: rows ? table.row(i) : table.get(i) }))),
            ...Array.from({ length: gone ? table.length : 0 }, (_, i): IpvsOperation => ({ kind: 'delDestination', service: s, destination: rows ? table.row(i) : table.get(i) })),
            ...(none ? [{ kind: 'setService' as const, service: s, changed: ['scheduler'] }] : []),
          ];
        });
        const failures = await client.apply(work);
        return { sent: kernel.socket.sent, failures: failures.map((f) => [f.operation.kind, f.error.object, f.error.message]) };
      };
      const values = await run('values');
      assert.deepEqual(await run('rows'), values);
      assert.deepEqual(await run('tables'), values);
    },
  ), { numRuns: 60 });
});
