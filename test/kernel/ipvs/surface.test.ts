/** Every kind of service and destination, written by us and read by ipvsadm, and the other way round on both read paths. */
import { afterEach, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { SCHEDULERS } from '../../../src/kernel/ipvs/constants.ts';
import { SCHEDULER_FLAG, SERVICE_FLAG, serviceKey, type Destination, type Service } from '../../../src/kernel/ipvs/types.ts';
import { destination, fwmark, persistent, service } from '../../unit/kernel/ipvs/values.ts';
import { adding, applied, client, closeClients, freshNamespace, plain, restore, run, saved, wanted } from './guest.ts';

beforeEach(() => freshNamespace());
afterEach(closeClients);

const v6 = (changes: Partial<Service> = {}): Service => service({ family: 'IPv6', address: '2001:db8::1', ...changes });
const d6 = (changes: Partial<Destination> = {}): Destination => destination({ family: 'IPv6', address: '2001:db8::10', ...changes });
const { persistent: P, onePacket: OPS } = SERVICE_FLAG;

const table: [what: string, Service, Destination[], lines: string[]][] = [
  ['TCP with NAT and another port', service(), [destination({ port: 8080, weight: 3 })], ['-A -t 192.0.2.1:80 -s wlc', '-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3']],
  ['UDP with DR', service({ protocol: 'UDP', port: 53, scheduler: 'rr' }), [destination({ port: 53, method: 'direct', weight: 0 })], ['-A -u 192.0.2.1:53 -s rr', '-a -u 192.0.2.1:53 -r 10.0.0.1:53 -g -w 0']],
  ['SCTP', service({ protocol: 'SCTP', port: 3868 }), [destination({ port: 3868, weight: 65535 })], ['-A --sctp-service 192.0.2.1:3868 -s wlc', '-a --sctp-service 192.0.2.1:3868 -r 10.0.0.1:3868 -m -w 65535']],
  ['TCP over IPv6', v6(), [d6({ port: 8080 })], ['-A -t [2001:db8::1]:80 -s wlc', '-a -t [2001:db8::1]:80 -r [2001:db8::10]:8080 -m -w 1']],
  ['a fwmark', fwmark(0x7fffffff), [destination({ method: 'direct' })], ['-A -f 2147483647 -s wlc', '-a -f 2147483647 -r 10.0.0.1:80 -g -w 1']],
  ['a fwmark over IPv6', fwmark(77, { family: 'IPv6', prefixLength: 128 }), [d6()], ['-A -f 77 -6 -s wlc', '-a -f 77 -6 -r [2001:db8::10]:80 -m -w 1']],
  ['persistence', persistent(), [], ['-A -t 192.0.2.1:80 -s wlc -p 300']],
  ['persistence by network', persistent({ prefixLength: 24, timeoutSeconds: 2_147_483 }), [], ['-A -t 192.0.2.1:80 -s wlc -p 2147483 -M 255.255.255.0']],
  ['persistence of everything', persistent({ prefixLength: 1 }), [], ['-A -t 192.0.2.1:80 -s wlc -p 300 -M 128.0.0.0']],
  ['persistence by IPv6 network', persistent({ family: 'IPv6', address: '2001:db8::1', prefixLength: 64 }), [], ['-A -t [2001:db8::1]:80 -s wlc -p 300 -M 64']],
  ['every port', persistent({ port: 0 }), [destination({ port: 0, method: 'direct' })], ['-A -t 192.0.2.1:0 -s wlc -p 300', '-a -t 192.0.2.1:0 -r 10.0.0.1:0 -g -w 1']],
  ['SIP', persistent({ protocol: 'UDP', port: 5060, engine: 'sip', flags: P | OPS }), [], ['-A -u 192.0.2.1:5060 -s wlc -p 300 --pe sip -o']],
  ['one-packet scheduling', service({ protocol: 'UDP', flags: OPS }), [], ['-A -u 192.0.2.1:80 -s wlc -o']],
  ['no scheduler', service({ scheduler: 'none' }), [destination()], ['-A -t 192.0.2.1:80 -s none', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1']],
  ['sh with its flags', service({ scheduler: 'sh', flags: SCHEDULER_FLAG.fallback | SCHEDULER_FLAG.portAware }), [], ['-A -t 192.0.2.1:80 -s sh -b sh-fallback,sh-port']],
  ['mh with its flags', service({ scheduler: 'mh', flags: SCHEDULER_FLAG.fallback | SCHEDULER_FLAG.portAware }), [], ['-A -t 192.0.2.1:80 -s mh -b mh-fallback,mh-port']],
  ['mh that falls back', service({ scheduler: 'mh', flags: SCHEDULER_FLAG.fallback }), [], ['-A -t 192.0.2.1:80 -s mh -b mh-fallback']],
  ['TUN with ipip', service(), [destination({ method: 'tunnel' })], ['-A -t 192.0.2.1:80 -s wlc', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type ipip']],
  ['TUN with GUE', service(), [destination({ method: 'tunnel', tunnelType: 'gue', tunnelPort: 6080 })],
    ['-A -t 192.0.2.1:80 -s wlc', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum']],
  ['TUN with GUE and checksums', service(), [destination({ method: 'tunnel', tunnelType: 'gue', tunnelPort: 65535, tunnelFlags: 1 })],
    ['-A -t 192.0.2.1:80 -s wlc', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 65535 --tun-csum']],
  ['TUN with GUE and remote checksums', service(), [destination({ method: 'tunnel', tunnelType: 'gue', tunnelPort: 1, tunnelFlags: 2 })],
    ['-A -t 192.0.2.1:80 -s wlc', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 1 --tun-remcsum']],
  ['TUN with GRE', service(), [destination({ method: 'tunnel', tunnelType: 'gre', tunnelFlags: 1 })],
    ['-A -t 192.0.2.1:80 -s wlc', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type gre --tun-csum']],
  ['TUN to both families, beside each other', service(), [destination({ method: 'tunnel' }), d6({ method: 'tunnel', tunnelType: 'gre' }), destination({ address: '10.0.0.2' })],
    ['-A -t 192.0.2.1:80 -s wlc', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type ipip', '-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1',
      '-a -t 192.0.2.1:80 -r [2001:db8::10]:80 -i -w 1 --tun-type gre --tun-nocsum']],
  ['an IPv6 service with IPv4 behind tunnels', v6(), [destination({ method: 'tunnel' }), d6({ method: 'direct' })],
    ['-A -t [2001:db8::1]:80 -s wlc', '-a -t [2001:db8::1]:80 -r 10.0.0.1:80 -i -w 1 --tun-type ipip', '-a -t [2001:db8::1]:80 -r [2001:db8::10]:80 -g -w 1']],
  ...SCHEDULERS.map((scheduler): [string, Service, Destination[], string[]] => [`scheduler ${scheduler}`, service({ scheduler }), [destination(), destination({ address: '10.0.0.2' })],
    [`-A -t 192.0.2.1:80 -s ${scheduler}`, '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1', '-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1']]),
];

describe('what we write is what ipvsadm shows', () => {
  for (const [what, s, destinations, lines] of table) {
    test(what, async () => {
      const ipvs = client();
      await applied(ipvs, adding(s, destinations));
      assert.deepEqual(saved(), [...lines].sort());
      await applied(ipvs, [...destinations].map((d) => ({ kind: 'delDestination', service: s, destination: d })));
      assert.deepEqual(plain(client({ netlinkOnly: true }).read([s])), wanted([s, []]));
      await applied(ipvs, [{ kind: 'delService', service: s }]);
      assert.deepEqual(saved(), []);
    });
  }

  test('thresholds', async () => {
    await applied(client(), adding(service(), [destination({ upper: 0x7fffffff, lower: 0x7ffffffe })]));
    assert.match(run('ipvsadm', '-Ln', '--thresholds'), /2147483647 +2147483646/);
  });
});

describe('what ipvsadm wrote is what we read', () => {
  for (const [what, s, destinations, lines] of table) {
    test(what, async () => {
      restore(lines);
      const expected = wanted([s, destinations]);
      const fast = client();
      const reference = client({ netlinkOnly: true });
      for (const ipvs of [fast, reference]) {
        assert.deepEqual(plain(await ipvs.readAll()), expected);
        assert.deepEqual(plain(ipvs.read([s])), expected);
      }
      assert.equal(fast.read([{ ...s, ...(s.fwmark === 0 ? { port: 1234 } : { fwmark: 1 }) }]).services.size, 0);
    });
  }

  test('thresholds', async () => {
    restore(['-A -t 192.0.2.1:80 -s rr', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1 -x 200 -y 100']);
    for (const ipvs of [client(), client({ netlinkOnly: true })]) {
      const [d] = [...(await ipvs.readAll()).services.values()].flatMap((o) => o.destinations.toArray());
      assert.deepEqual([d!.upper, d!.lower], [200, 100]);
    }
  });
});

test('every field of a service and of a destination can be changed in place', async () => {
  const ipvs = client();
  const before = persistent({ protocol: 'UDP', scheduler: 'rr', engine: 'sip', prefixLength: 24 });
  await applied(ipvs, adding(before, [destination()]));
  const versions: [Service, Destination, string[]][] = [
    [service({ protocol: 'UDP', scheduler: 'sh', flags: SCHEDULER_FLAG.portAware }), destination({ weight: 9, method: 'tunnel', tunnelType: 'gue', tunnelPort: 6080, tunnelFlags: 1 }),
      ['-A -u 192.0.2.1:80 -s sh -b sh-port', '-a -u 192.0.2.1:80 -r 10.0.0.1:80 -i -w 9 --tun-type gue --tun-port 6080 --tun-csum']],
    [persistent({ protocol: 'UDP', scheduler: 'mh', timeoutSeconds: 10 }), destination({ weight: 0, method: 'tunnel' }),
      ['-A -u 192.0.2.1:80 -s mh -p 10', '-a -u 192.0.2.1:80 -r 10.0.0.1:80 -i -w 0 --tun-type ipip']],
    [service({ protocol: 'UDP', scheduler: 'none' }), destination({ method: 'direct', upper: 5, lower: 2 }), ['-A -u 192.0.2.1:80 -s none', '-a -u 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1']],
    [before, destination(), ['-A -u 192.0.2.1:80 -s rr -p 300 -M 255.255.255.0 --pe sip', '-a -u 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1']],
  ];
  for (const [s, d, lines] of versions) {
    await applied(ipvs, [{ kind: 'setService', service: s, changed: ['scheduler'] }, { kind: 'setDestination', service: s, destination: d, changed: [] }]);
    assert.deepEqual(saved(), [...lines].sort());
    for (const reader of [ipvs, client({ netlinkOnly: true })]) assert.deepEqual(plain(reader.read([s])), wanted([s, [d]]));
  }
});

// ipvsadm saves these wrongly (a signed mark, a local destination as -g), so it is asked in other ways.
test('marks with the highest bit, and local destinations', async () => {
  const mark = fwmark(0xfffffffe);
  const near = service({ address: '127.0.0.2' });
  const local = destination({ address: '127.0.0.1', method: 'local' });
  const ipvs = client();
  await applied(ipvs, [...adding(mark, [destination()]), ...adding(near, [local])]);
  assert.match(run('ipvsadm', '-Ln'), /127\.0\.0\.1:80 +Local/);
  for (const reader of [ipvs, client({ netlinkOnly: true })]) assert.deepEqual(plain(await reader.readAll()), wanted([mark, [destination()]], [near, [local]]));
  await applied(ipvs, [{ kind: 'delService', service: mark }, { kind: 'delService', service: near }]);
  assert.deepEqual(saved(), []);
});

test('services of protocols without a name are told and left alone', async () => {
  restore(['-A -t 192.0.2.1:80 -s rr']);
  const { NetlinkConnection } = await import('../../../src/kernel/netlink/connection.ts');
  const { GenericFamily } = await import('../../../src/kernel/netlink/genl.ts');
  const raw = new NetlinkConnection(16);
  const writer = new GenericFamily(raw, 'IPVS', 'ip_vs').message(raw.writer.reset(), 1, 0);
  writer.begin(1).u16(1, 2).u16(2, 47).data(3, Uint8Array.of(192, 0, 2, 9)).u16be(4, 7).string(6, 'rr').data(7, new Uint8Array(8)).u32(8, 0).u32(9, 0xffffffff).end();
  assert.equal(raw.transact(writer).refused.size, 0);
  raw.close();
  for (const ipvs of [client(), client({ netlinkOnly: true })]) {
    const all = await ipvs.readAll();
    assert.deepEqual([[...all.services.keys()], all.skipped, all.complete], [[serviceKey(service())], ['protocol 47 192.0.2.9 port 7'], true]);
  }
});
