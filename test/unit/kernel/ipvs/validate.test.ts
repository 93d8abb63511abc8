import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { familyOf, toBytes } from '../../../../src/ip/ip.ts';
import { ipv4Text, ipv4Word } from '../../../../src/kernel/ipvs/address-words.ts';
import type { IpvsOperation } from '../../../../src/kernel/ipvs/contract.ts';
import { SERVICE_FLAG, type Destination, type Service, type SyncDaemon } from '../../../../src/kernel/ipvs/types.ts';
import { MAXIMUM_TIMEOUT_SECONDS, OperationValidator } from '../../../../src/kernel/ipvs/validate.ts';
import { anyDestination, anyService, destination, fwmark, persistent, service } from './values.ts';

const check = (operation: IpvsOperation): string | null => {
  const error = new OperationValidator().check(operation);
  if (error !== null) assert.equal(error.code, 'INVALID');
  return error?.message ?? null;
};

describe('a service is refused', () => {
  const wrong: [why: string, Service, RegExp][] = [
    ['with leading zeros in its address', service({ address: '010.0.0.1' }), /(NEW|SET)_SERVICE TCP 010\.0\.0\.1:80: address "010\.0\.0\.1" is no IPv4 address/],
    ['with an address of the other family', service({ family: 'IPv6' }), /no IPv6 address/],
    ['with an IPv4-mapped address', service({ family: 'IPv6', address: '::ffff:192.0.2.1' }), /no IPv6 address/],
    ['on the unspecified address', service({ address: '0.0.0.0' }), /address 0\.0\.0\.0 is unspecified/],
    ['on a multicast address', service({ address: '239.1.2.3' }), /multicast/],
    ['on the broadcast address', service({ address: '255.255.255.255' }), /broadcast/],
    ['on an IPv6 multicast address', service({ family: 'IPv6', address: 'ff02::1' }), /multicast/],
    ['on an IPv6 link-local address', service({ family: 'IPv6', address: 'fe80::1' }), /link-local/],
    ['on port 0 without persistence', service({ port: 0 }), /port 0 .* needs persistence/],
    ['on port 65536', service({ port: 65536 }), /port 65536/],
    ['on a fractional port', service({ port: 1.5 }), /port 1\.5/],
    ['for protocol 47', service({ protocol: 'GRE' as never }), /protocol GRE/],
    ['for a family that IPVS does not know', service({ family: 'IPX' as never }), /family IPX/],
    ['for a mark beyond 32 bits', fwmark(2 ** 32), /fwmark/],
    ['for a mark and an address', fwmark(7, { address: '192.0.2.1' }), /neither address nor port/],
    ['for a mark and a port', fwmark(7, { port: 80 }), /neither address nor port/],
    ['for a mark and UDP', fwmark(7, { protocol: 'UDP' }), /fwmark service is TCP/],
    ['without a scheduler', service({ scheduler: '' }), /scheduler ""/],
    ['with a scheduler name that the kernel would cut', service({ scheduler: 'a'.repeat(16) }), /scheduler/],
    ['with a scheduler that tries to be a path', service({ scheduler: '../x' }), /scheduler/],
    ['with the flag that is the kernel\'s own', service({ flags: 2 }), /flags 0x2/],
    ['with an unknown flag', service({ flags: 0x100 }), /flags 0x100/],
    ['with scheduler flags that its scheduler does not read', service({ scheduler: 'rr', flags: SERVICE_FLAG.sched1 }), /rr does not read/],
    ['with one-packet scheduling for TCP', service({ flags: SERVICE_FLAG.onePacket }), /one-packet/],
    ['with a timeout but no persistence', service({ timeoutSeconds: 10 }), /timeout 10 without persistence/],
    ['with a mask but no persistence', service({ prefixLength: 24 }), /without persistence/],
    ['with an engine but no persistence', service({ protocol: 'UDP', engine: 'sip' }), /without persistence/],
    ['with persistence of no time', persistent({ timeoutSeconds: 0 }), /timeout 0/],
    ['with a timeout that overflows in the kernel', persistent({ timeoutSeconds: MAXIMUM_TIMEOUT_SECONDS + 1 }), /timeout 2147484/],
    ['with prefix length 0', persistent({ prefixLength: 0 }), /prefix length 0/],
    ['with prefix length 33', persistent({ prefixLength: 33 }), /prefix length 33/],
    ['with prefix length 129', persistent({ family: 'IPv6', address: '2001:db8::1', prefixLength: 129 }), /prefix length 129/],
    ['with SIP over TCP', persistent({ engine: 'sip' }), /sip is for UDP/],
    ['with an engine name that the kernel would cut', persistent({ protocol: 'UDP', engine: 'x'.repeat(16) }), /engine/],
  ];
  for (const [why, value, message] of wrong) {
    test(why, () => {
      assert.match(check({ kind: 'addService', service: value }) ?? 'accepted', message);
      assert.match(check({ kind: 'setService', service: value, changed: [] }) ?? 'accepted', message);
    });
  }
});

describe('a destination is refused', () => {
  const v6 = { family: 'IPv6', address: '2001:db8::1' } as const;
  const wrong: [why: string, Destination, RegExp, Service?][] = [
    ['with an address that is none', destination({ address: '10.0.0' }), /-> 10\.0\.0:80: address "10\.0\.0" is no IPv4 address/],
    ['with a zone', destination({ family: 'IPv6', address: 'fe80::1%eth0' }), /no IPv6 address/],
    ['on the unspecified address', destination({ address: '0.0.0.0' }), /unspecified/],
    ['on a multicast address', destination({ address: '224.0.0.1' }), /multicast/],
    ['on the broadcast address', destination({ address: '255.255.255.255' }), /broadcast/],
    ['on an IPv6 link-local address', destination({ family: 'IPv6', address: 'fe80::1' }), /link-local/, service({ family: 'IPv6', address: '2001:db8::9' })],
    ['on port 0', destination({ port: 0 }), /port 0/],
    ['with another port than the service in DR', destination({ port: 8080, method: 'direct' }), /port 8080 differs from the service's 80/],
    ['with another port than the service in TUN', destination({ port: 8080, method: 'tunnel' }), /differs/],
    ['with a method that the kernel would show as NAT', destination({ method: 'bypass' as never }), /method bypass/],
    ['of the other family with NAT', destination(v6), /needs method tunnel, not masq/],
    ['of the other family with DR', destination({ ...v6, method: 'direct' }), /needs method tunnel, not direct/],
    ['with weight -1', destination({ weight: -1 }), /weight -1 is not 0\.\.65535/],
    ['with weight 65536', destination({ weight: 65536 }), /weight 65536/],
    ['with half a weight', destination({ weight: 0.5 }), /weight 0\.5/],
    ['with a weight that is no number', destination({ weight: NaN }), /weight NaN/],
    ['with a lower threshold above the upper', destination({ upper: 5, lower: 6 }), /lower threshold 6 is above the upper 5/],
    ['with a lower threshold alone', destination({ lower: 1 }), /lower threshold 1 is above the upper 0/],
    ['with a threshold above INT_MAX', destination({ upper: 2 ** 31 }), /upper threshold/],
    ['with a tunnel type that does not exist', destination({ method: 'tunnel', tunnelType: 'vxlan' as never }), /tunnel type vxlan/],
    ['with GUE without a port', destination({ method: 'tunnel', tunnelType: 'gue' }), /tunnel port 0/],
    ['with GRE and a port', destination({ method: 'tunnel', tunnelType: 'gre', tunnelPort: 1 }), /tunnel port 1 with gre/],
    ['with ipip and a port', destination({ method: 'tunnel', tunnelPort: 1 }), /make no sense with ipip/],
    ['with GRE and remote checksums', destination({ method: 'tunnel', tunnelType: 'gre', tunnelFlags: 2 }), /tunnel flags 2/],
    ['with flags that do not exist', destination({ method: 'tunnel', tunnelType: 'gue', tunnelPort: 1, tunnelFlags: 4 }), /tunnel flags 4/],
    ['with tunnel attributes but another method', destination({ tunnelType: 'gue', tunnelPort: 6080 }), /make no sense with method masq/],
    ['in a service whose key is wrong', destination(), /address "x" is no IPv4 address/, service({ address: 'x' })],
  ];
  for (const [why, value, message, of = service()] of wrong) {
    test(why, () => {
      assert.match(check({ kind: 'addDestination', service: of, destination: value }) ?? 'accepted', message);
      assert.match(check({ kind: 'setDestination', service: of, destination: value, changed: [] }) ?? 'accepted', message);
    });
  }

  test('only by its key when it is to be deleted: others may have written any nonsense', () => {
    assert.equal(check({ kind: 'delDestination', service: service(), destination: destination({ weight: -1, port: 0, tunnelType: 'gue' }) }), null);
    assert.match(check({ kind: 'delDestination', service: service(), destination: destination({ address: '' }) })!, /no IPv4 address/);
    assert.equal(check({ kind: 'delService', service: service({ scheduler: '', flags: 0x100 }) }), null);
  });
});

describe('what is refused otherwise', () => {
  const daemon = (changes: Partial<SyncDaemon>): SyncDaemon => ({ role: 'master', interface: 'eth0', syncId: 1, maxLength: 0, group: '', port: 0, ttl: 0, ...changes });
  const wrong: [IpvsOperation, RegExp][] = [
    [{ kind: 'setTimeouts', timeouts: { tcp: MAXIMUM_TIMEOUT_SECONDS + 1, tcpFin: 0, udp: 0 } }, /TCP timeout/],
    [{ kind: 'setTimeouts', timeouts: { tcp: 0, tcpFin: -1, udp: 0 } }, /TCP FIN timeout -1/],
    [{ kind: 'setTimeouts', timeouts: { tcp: 0, tcpFin: 0, udp: 1.5 } }, /UDP timeout/],
    [{ kind: 'startSync', daemon: daemon({ role: 'both' as never }) }, /role both/],
    [{ kind: 'startSync', daemon: daemon({ interface: '' }) }, /interface ""/],
    [{ kind: 'startSync', daemon: daemon({ interface: 'a'.repeat(16) }) }, /interface/],
    [{ kind: 'startSync', daemon: daemon({ syncId: 256 }) }, /sync id 256/],
    [{ kind: 'startSync', daemon: daemon({ group: '10.0.0.1' }) }, /no multicast address/],
    [{ kind: 'startSync', daemon: daemon({ port: 65536 }) }, /port 65536/],
    [{ kind: 'startSync', daemon: daemon({ ttl: 256 }) }, /TTL 256/],
    [{ kind: 'stopSync', daemon: daemon({ interface: 'a b' }) }, /interface "a b"/],
  ];
  for (const [operation, message] of wrong) test(message.source, () => assert.match(check(operation) ?? 'accepted', message));
  test('but not a sound daemon', () => assert.equal(check({ kind: 'startSync', daemon: daemon({ group: '224.0.0.81', port: 8848, ttl: 1 }) }), null));
});

test('sound services and destinations are accepted, also when the validator has seen others', () => {
  const validator = new OperationValidator();
  fc.assert(fc.property(anyService.chain((s) => fc.tuple(fc.constant(s), anyDestination(s))), ([s, d]) => {
    assert.equal(validator.check({ kind: 'addService', service: s }), null);
    assert.equal(validator.check({ kind: 'addDestination', service: s, destination: d }), null);
  }));
});

test('a service that was found wrong stays wrong for its next destination', () => {
  const validator = new OperationValidator();
  const wrong = service({ address: 'x' });
  for (let i = 0; i < 2; i++) assert.ok(validator.check({ kind: 'addDestination', service: wrong, destination: destination() }));
});

test('the fast reading of IPv4 accepts exactly what the strict one does, and means the same', () => {
  const part = fc.oneof(fc.nat(300).map(String), fc.constantFrom('', '0', '00', '01', '255', '256', ' 1', '1 ', '-1', '+1', '0x1', '1e1', '٣'));
  fc.assert(fc.property(fc.oneof(fc.array(part, { minLength: 3, maxLength: 5 }).map((p) => p.join('.')), fc.string(), fc.ipV4(), fc.ipV6()), (text) => {
    const word = ipv4Word(text);
    assert.equal(word >= 0, familyOf(text) === 'IPv4', text);
    if (word < 0) return;
    assert.deepEqual(new Uint8Array(Uint32Array.of(word).buffer), toBytes(text));
    assert.equal(ipv4Text(word), text);
  }), { numRuns: 1000 });
});
