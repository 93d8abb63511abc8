/** What the real kernel refuses, and what we make of it; sync daemon, timeouts, statistics, reloaded modules, missing rights. */
import { afterEach, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { IpvsFailure, IpvsOperation } from '../../../src/kernel/ipvs/contract.ts';
import { probeCapabilities } from '../../../src/kernel/ipvs/capabilities.ts';
import { SCHEDULERS } from '../../../src/kernel/ipvs/constants.ts';
import { serviceKey, type SyncDaemon } from '../../../src/kernel/ipvs/types.ts';
import { NetlinkConnection } from '../../../src/kernel/netlink/connection.ts';
import { NETLINK } from '../../../src/kernel/netlink/constants.ts';
import { KernelError } from '../../../src/kernel/netlink/errors.ts';
import { destination, fwmark, persistent, service } from '../../unit/kernel/ipvs/values.ts';
import { adding, applied, client, closeClients, freshNamespace, plain, run, saved, wanted } from './guest.ts';

beforeEach(() => freshNamespace());
afterEach(closeClients);

const S = service();
const D = destination();
const codes = (failures: readonly IpvsFailure[]): [number, string, string][] => failures.map((f) => [f.index, f.error.code, f.error.errnoName]);

describe('level-triggered operations', () => {
  test('add what exists: it gets the settings', async () => {
    const ipvs = client();
    await applied(ipvs, adding({ ...S, scheduler: 'rr' }, [D]));
    await applied(ipvs, adding(persistent({ scheduler: 'mh' }), [{ ...D, weight: 7 }]));
    assert.deepEqual(saved(), ['-A -t 192.0.2.1:80 -s mh -p 300', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 7']);
  });

  test('add with scheduler none on a live service, then the real one: it ends with the real one', async () => {
    const ipvs = client();
    const mh = service({ scheduler: 'mh' });
    await applied(ipvs, adding(mh, [D]));
    await applied(ipvs, [...adding({ ...mh, scheduler: 'none' }, [D]), { kind: 'setService', service: mh, changed: ['scheduler'] }]);
    assert.equal(ipvs.read([mh]).services.get(serviceKey(mh))!.service.scheduler, 'mh');
  });

  test('set what is missing, delete what is gone', async () => {
    const ipvs = client();
    await applied(ipvs, [...adding(S), { kind: 'setDestination', service: S, destination: D, changed: [] }]);
    assert.deepEqual(plain(ipvs.read([S])), wanted([S, [D]]));
    for (let i = 0; i < 2; i++) await applied(ipvs, [{ kind: 'delDestination', service: S, destination: D }, { kind: 'delService', service: S }]);
    await applied(ipvs, [{ kind: 'delDestination', service: S, destination: D }]);
    assert.deepEqual(saved(), []);
  });

  test('fail alone: the rest of the batch takes effect', async () => {
    const other = service({ port: 81 });
    const failures = await client().apply([
      ...adding(S, [D]),
      { kind: 'addDestination', service: other, destination: D },
      { kind: 'setService', service: other, changed: [] },
      { kind: 'addService', service: service({ port: 82, scheduler: 'nosuch' }) },
      { kind: 'addService', service: persistent({ port: 83, protocol: 'UDP', engine: 'nosuch' }) },
      { kind: 'addDestination', service: S, destination: { ...D, weight: -1 } },
      { kind: 'addDestination', service: S, destination: { ...D, address: '10.0.0.2' } },
    ]);
    assert.deepEqual(codes(failures), [
      [2, 'SERVICE_GONE', 'ESRCH'], [3, 'SERVICE_GONE', 'ESRCH'], [4, 'MODULE_MISSING', 'ENOENT'], [5, 'MODULE_MISSING', 'ENOENT'], [6, 'INVALID', ''],
    ]);
    assert.match(failures[2]!.error.message, /modprobe ip_vs_nosuch/);
    assert.match(failures[3]!.error.message, /ip_vs_pe_nosuch/);
    assert.equal(saved().length, 3);
  });
});

test('while lo was never up, an IPv4 destination fails with the way out, and IPv6 works', async () => {
  freshNamespace({ lo: false });
  const v6 = service({ family: 'IPv6', address: '2001:db8::1' });
  const failures = await client().apply([...adding(S, [D]), ...adding(v6, [destination({ family: 'IPv6', address: '2001:db8::2' })])]);
  assert.deepEqual(codes(failures), [[1, 'KERNEL_REFUSED', 'EINVAL']]);
  assert.match(failures[0]!.error.message, /ip link set lo up/);
});

describe('the sync daemon', () => {
  beforeEach(() => {
    run('ip', 'link', 'add', 'd0', 'type', 'dummy');
    run('ip', 'addr', 'add', '10.1.1.1/24', 'dev', 'd0');
    run('ip', 'link', 'set', 'd0', 'up');
  });
  const master: SyncDaemon = { role: 'master', interface: 'd0', syncId: 7, maxLength: 1400, group: '239.1.2.3', port: 9999, ttl: 3 };
  const backup: SyncDaemon = { role: 'backup', interface: 'd0', syncId: 0, maxLength: 0, group: '', port: 0, ttl: 0 };
  const start = (daemon: SyncDaemon): IpvsOperation => ({ kind: 'startSync', daemon });
  const stop = (daemon: SyncDaemon): IpvsOperation => ({ kind: 'stopSync', daemon });

  test('runs as asked in both roles, is left alone when it is right, restarted when it is not, and stopped', async () => {
    const ipvs = client();
    await applied(ipvs, [start(master), start(backup)]);
    assert.match(run('ipvsadm', '-L', '--daemon'), /master sync daemon \(mcast=d0, syncid=7, maxlen=1400, group=239\.1\.2\.3, port=9999, ttl=3\)/);
    const defaults = { ...backup, port: 8848, ttl: 1 };
    const running = ipvs.syncDaemons();
    assert.deepEqual(running.map((d) => d.role === 'backup' ? { ...d, maxLength: 0 } : d), [master, defaults]);
    await applied(ipvs, [start(master), start(backup)]);
    assert.deepEqual(ipvs.syncDaemons(), running);
    await applied(ipvs, [start({ ...master, syncId: 8 })]);
    assert.equal(ipvs.syncDaemons().find((d) => d.role === 'master')!.syncId, 8);
    for (let i = 0; i < 2; i++) await applied(ipvs, [stop({ ...master, syncId: 8 }), stop(backup)]);
    assert.deepEqual(ipvs.syncDaemons(), []);
  });

  test('needs an interface that exists', async () => {
    const failures = await client().apply([start({ ...master, interface: 'nosuch' })]);
    assert.deepEqual(codes(failures), [[0, 'KERNEL_REFUSED', 'ENODEV']]);
    assert.match(failures[0]!.error.message, /sync master on nosuch/);
  });

  test('and destinations of another family exclude each other, which is said', async () => {
    const mixed = destination({ family: 'IPv6', address: '2001:db8::2', method: 'tunnel' });
    const ipvs = client();
    await applied(ipvs, [...adding(S), start(master)]);
    const [failure] = await ipvs.apply([{ kind: 'addDestination', service: S, destination: mixed }]);
    assert.match(failure!.error.message, /EINVAL.*exclude the sync daemon/);
    await applied(ipvs, [stop(master), { kind: 'addDestination', service: S, destination: mixed }]);
    const [other] = await ipvs.apply([start(master)]);
    assert.match(other!.error.message, /EINVAL.*exclude the sync daemon/);
  });
});

test('timeouts are set and read, and 0 keeps one', async () => {
  const ipvs = client();
  await applied(ipvs, [{ kind: 'setTimeouts', timeouts: { tcp: 901, tcpFin: 121, udp: 301 } }]);
  assert.match(run('ipvsadm', '-L', '--timeout'), /901 121 301/);
  await applied(ipvs, [{ kind: 'setTimeouts', timeouts: { tcp: 0, tcpFin: 5, udp: 0 } }]);
  assert.deepEqual(ipvs.timeouts(), { tcp: 901, tcpFin: 5, udp: 301 });
});

test('statistics count connections, packets and bytes in 64 bits', async () => {
  const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const vip = service({ address: '127.0.0.2' });
  const ipvs = client();
  await applied(ipvs, adding(vip, [destination({ address: '127.0.0.1', port: (server.address() as AddressInfo).port })]));
  for (let i = 0; i < 3; i++) {
    const socket = connect(80, '127.0.0.2');
    const [data] = await once(socket, 'data') as [Buffer];
    assert.equal(data.toString(), 'hello');
    socket.destroy();
  }
  server.close();
  assert.ok(ipvs.read([vip]).services.get(serviceKey(vip))!.destinations.inactive(0) > 0, 'the destination has its connections');
  // The kernel adds its counters up every 2 seconds, perhaps in the middle of the last connection: until they stand still.
  const count = async () => (await ipvs.statistics(new AbortController().signal)).get(serviceKey(vip))!;
  let counted = await count();
  for (let i = 0; i < 20; i++) {
    const before = counted;
    await setTimeout(2_500);
    counted = await count();
    if (before.connections === 3n && isDeepStrictEqual(before, counted)) break;
  }
  assert.equal(counted.connections, 3n);
  assert.deepEqual(await count(), counted);
  assert.ok(counted.inPackets >= 9n && counted.inBytes > counted.inPackets * 40n, JSON.stringify(counted, (_, v: unknown) => String(v)));
});

describe('capabilities', () => {
  test('are found without a trace', () => {
    const home = readlinkSync('/proc/thread-self/ns/net');
    const ipvs = client();
    const found = ipvs.capabilities();
    assert.deepEqual([...found.schedulers].sort(), ['none', ...SCHEDULERS].sort());
    assert.deepEqual([[...found.engines], [...found.tunnelTypes], found.ipv6, found.stats64, found.version, found.connectionTableSize],
      [['sip'], ['ipip', 'gue', 'gre'], true, true, '1.2.1', 4096]);
    assert.equal(readlinkSync('/proc/thread-self/ns/net'), home);
    assert.deepEqual(saved(), []);
    assert.equal(ipvs.capabilities(), found, 'and remembered');
  });

  test('are asked for by name, and again for other names', () => {
    const ipvs = client();
    assert.deepEqual([...ipvs.capabilities(['rr', 'nosuch']).schedulers], ['rr']);
    assert.deepEqual([...ipvs.capabilities(['nosuch', 'wrr']).schedulers], ['rr', 'wrr']);
    assert.deepEqual([...ipvs.capabilities(['nosuch']).schedulers], ['rr', 'wrr']);
  });

  test('are found without the right to make namespaces, beside services of others, and nothing stays', () => {
    // The mark that the probe would take is taken.
    run('ipvsadm', '-A', '-f', String(0x49505653), '-s', 'rr');
    const script = `import { probeCapabilities } from '${import.meta.dirname}/../../../src/kernel/ipvs/capabilities.ts';
      const found = probeCapabilities(['rr', 'mh', 'nosuch']);
      console.log(JSON.stringify([[...found.schedulers], [...found.engines], [...found.tunnelTypes], found.ipv6, found.stats64]));`;
    const output = execFileSync('setpriv', ['--bounding-set', '-sys_admin', process.execPath, '--input-type=module-typescript', '-e', script], { encoding: 'utf8' });
    assert.deepEqual(JSON.parse(output), [['rr', 'mh'], ['sip'], ['ipip', 'gue', 'gre'], true, true]);
    assert.deepEqual(saved(), [`-A -f ${0x49505653} -s rr`]);
  });
});

describe('without rights', () => {
  for (const [what, call] of [['apply', 'apply([{ kind: "delService", service: S }])'], ['readAll', 'readAll()'], ['the reading by netlink', 'readAll()'], ['capabilities', 'capabilities(["rr"])']] as const) {
    test(`${what} says that CAP_NET_ADMIN is missing`, () => {
      const script = `import { openIpvs } from '${import.meta.dirname}/../../../src/kernel/ipvs/client.ts';
        const S = ${JSON.stringify(S)};
        try { await openIpvs({ netlinkOnly: ${what.includes('netlink')} }).${call}; console.log('done'); } catch (error) { console.log(error.code, error.message); }`;
      const { stdout, stderr } = spawnSync('setpriv', ['--reuid', '65534', '--regid', '65534', '--clear-groups', process.execPath, '--input-type=module-typescript', '-e', script], { encoding: 'utf8' });
      assert.match(stdout, /^PERMISSION_DENIED .*CAP_NET_ADMIN/, stderr);
    });
  }
});

// With the kernel's own autoload this hangs for ever: see scheduler-module.ts.
test('schedulers with per-namespace state are loaded while namespaces are torn down', async () => {
  for (const scheduler of ['lblc', 'lblcr', 'lblc', 'lblcr']) {
    const last = client();
    await applied(last, adding(S));
    freshNamespace();
    const ipvs = client();
    await applied(ipvs, adding(S));
    spawnSync('modprobe', ['-r', `ip_vs_${scheduler}`]);
    // The teardown of the namespace before begins here, and needs the IPVS mutex.
    last.close();
    await applied(ipvs, adding(service({ port: 90, scheduler })));
    await applied(ipvs, [{ kind: 'delService', service: service({ port: 90 }) }]);
  }
});

test('answers that do not fit into the receive buffer are lost by name, not silently', () => {
  const connection = new NetlinkConnection(NETLINK.GENERIC, { receiveBuffer: 4096 });
  const writer = connection.writer.reset();
  // Nobody has family 0x7fff: each is ENOENT.
  for (let i = 0; i < 500; i++) writer.message(0x7fff, 1).generic(1);
  assert.throws(() => connection.transact(writer), (e) => e instanceof KernelError && e.code === 'REPLIES_LOST' && e.errnoName === 'ENOBUFS');
  const again = connection.writer.reset();
  again.message(0x7fff, 1).generic(1);
  assert.equal(connection.transact(again).refused.get(0)?.errno, 2, 'and the connection goes on');
  connection.close();
});

test('after the module was reloaded the family is found again', async () => {
  const ipvs = client();
  await applied(ipvs, adding(fwmark(1), []));
  await applied(ipvs, [{ kind: 'delService', service: fwmark(1) }]);
  await unloadIpvs();
  // Resolving the family loads the module again, and gives it another id.
  assert.deepEqual(plain(await ipvs.readAll()), {});
  await unloadIpvs();
  await applied(ipvs, adding(S, [D]));
  assert.deepEqual(plain(await ipvs.readAll()), wanted([S, [D]]));
  await applied(ipvs, [{ kind: 'delService', service: S }]);
});

test('without a module that can be loaded, everything says so, and capabilities have no version', async () => {
  await unloadIpvs();
  const loader = readFileSync('/proc/sys/kernel/modprobe', 'utf8');
  writeFileSync('/proc/sys/kernel/modprobe', '/bin/false');
  try {
    const ipvs = client();
    const missing = (error: unknown): boolean => error instanceof KernelError && error.code === 'MODULE_MISSING' && /modprobe ip_vs/.test(error.message);
    await assert.rejects(ipvs.apply(adding(S)), missing);
    await assert.rejects(ipvs.readAll(), missing);
    assert.throws(() => ipvs.fingerprint(), missing);
    assert.throws(() => ipvs.timeouts(), missing);
    assert.equal(probeCapabilities(['rr']).version, null);
    assert.equal(ipvs.capabilities(['rr']).version, null);
    writeFileSync('/proc/sys/kernel/modprobe', loader);
    assert.equal(ipvs.capabilities(['rr']).version, '1.2.1', 'and it is seen when it comes');
  } finally {
    writeFileSync('/proc/sys/kernel/modprobe', loader);
  }
});

test('a scheduler and an engine that are loaded later are seen, and until then the kernel is not asked again', async () => {
  await unloadIpvs();
  run('modprobe', '-a', 'ip_vs', 'ip_vs_rr');
  const loader = readFileSync('/proc/sys/kernel/modprobe', 'utf8');
  writeFileSync('/proc/sys/kernel/modprobe', '/bin/false');
  try {
    const ipvs = client();
    const first = ipvs.capabilities(['rr', 'ovf']);
    assert.deepEqual([[...first.schedulers], [...first.engines]], [['rr'], []]);
    assert.equal(ipvs.capabilities(['rr', 'ovf']), first);
    run('modprobe', 'ip_vs_ovf');
    assert.deepEqual([...ipvs.capabilities(['rr', 'ovf']).schedulers], ['rr', 'ovf']);
    run('modprobe', 'ip_vs_pe_sip');
    const last = ipvs.capabilities(['rr']);
    assert.deepEqual([[...last.schedulers], [...last.engines]], [['rr', 'ovf'], ['sip']]);
    assert.equal(ipvs.capabilities(['rr', 'ovf']), last);
  } finally {
    writeFileSync('/proc/sys/kernel/modprobe', loader);
  }
});

/** Namespaces of earlier tests are torn down in the background and hold the module until then; xt_ipvs is from packet-filter tests. */
async function unloadIpvs(): Promise<void> {
  for (let i = 0; ; i++) {
    const { status, stderr } = spawnSync('modprobe', ['-r', 'xt_ipvs', 'ip_vs_pe_sip', ...SCHEDULERS.map((s) => `ip_vs_${s}`), 'ip_vs'], { encoding: 'utf8' });
    if (status === 0) return;
    if (i === 300) assert.fail(`modprobe -r: ${stderr}${run('lsmod')}`);
    await setTimeout(200);
  }
}
