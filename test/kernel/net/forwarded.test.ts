/**
 * Forwarded checks on a real kernel: a marked check reaches the one real server that its mark stands for, by DR and by a tunnel, on the
 * director that holds the VIP and on one that does not; and it sees what a check of the real server's own address cannot see.
 */
import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { checkTarget, type CheckPath, type Probe } from '../../../src/agent/health/check.ts';
import { Flights } from '../../../src/agent/health/flights.ts';
import { forwardedWays, wayName, type ForwardedTo, type ForwardedWay } from '../../../src/agent/health/forwarded.ts';
import type { Result } from '../../../src/agent/health/outcome.ts';
import { openIpvs } from '../../../src/kernel/ipvs/client.ts';
import type { IpvsClient } from '../../../src/kernel/ipvs/contract.ts';
import { openSockets } from '../../../src/kernel/net/sockets.ts';
import { enterFreshNamespace, sh } from './traffic.ts';

/** Answers HTTP with status 20N (N: the real server), and UDP, at every address or at the VIP. */
const SERVER = `
const net = require('net'), dgram = require('dgram');
const status = 200 + Number(process.argv[1]);
let bound = 0;
const listening = () => { if (++bound === 3) console.log('ready'); };
net.createServer((s) => { s.on('error', () => {}); s.once('data', () => s.end('HTTP/1.1 ' + status + ' OK\\r\\n\\r\\n')); }).listen(80, '::', listening);
for (const [kind, address] of [['udp4', '10.9.9.9'], ['udp6', 'fd09::9']]) {
  const s = dgram.createSocket(kind); s.on('message', (m, from) => s.send('yes', from.port, from.address)); s.bind(80, address, listening);
}
`;
const VIP = { IPv4: '10.9.9.9', IPv6: 'fd09::9' } as const;
const own = (n: number) => ({ IPv4: `10.8.${n}.1`, IPv6: `fd08:${n}::1` }) as const;
const real = (n: number) => ({ IPv4: `10.8.${n}.2`, IPv6: `fd08:${n}::2` }) as const;
type Family = 'IPv4' | 'IPv6';

function check(address: string, probe: Probe, path: CheckPath): Promise<Result> {
  const sockets = openSockets();
  return new Promise((resolve) => {
    const flights = new Flights<object>({ sockets, now: () => performance.now(), onEnd: (_, result) => { clearInterval(look); sockets.end(); resolve(result); } });
    const look = setInterval(() => { flights.look(performance.now()); flights.expire(performance.now()); }, 5);
    flights.start({}, checkTarget(address, { port: 80, periodMs: 4_000, timeoutMs: 3_000, rise: 1, fall: 1, ...probe } as never, path), performance.now());
  });
}

describe('forwarded checks', () => {
  let ipvs: IpvsClient;
  let ways = new Map<string, ForwardedWay>();
  const servers: ChildProcess[] = [];
  const to = (n: number, family: Family, method: 'direct' | 'tunnel'): ForwardedTo => ({
    family, destination: { family, address: real(n)[family], port: 0, method, weight: 1, upper: 0, lower: 0, tunnelType: 'ipip', tunnelPort: 0, tunnelFlags: 0 },
  });
  const forwarded = (n: number, family: Family, method: 'direct' | 'tunnel', source: string = own(n)[family]): CheckPath => ({ kind: 'Forwarded', vip: VIP[family], mark: ways.get(wayName(to(n, family, method)))!.mark, source });
  /** The HTTP status that came back says which real server it was. */
  const answered = async (n: number, family: Family, method: 'direct' | 'tunnel', source?: string): Promise<string> => {
    const { reason, message } = await check(real(n)[family], { type: 'HTTP', path: '/', host: '', statuses: [201, 202] }, forwarded(n, family, method, source));
    return reason === 'Answered' ? message : reason;
  };
  const everybody = async (families: readonly Family[], method: 'direct' | 'tunnel') => Object.fromEntries(await Promise.all(families.flatMap((f) => [1, 2].map(async (n) => [`${f} ${n}`, await answered(n, f, method)]))));

  before(async () => {
    sh('modprobe -a ip_vs ip_vs_rr ipv6 ipip ip6_tunnel');
    enterFreshNamespace();
    for (const n of [1, 2]) {
      sh(`ip netns add rs${n}; ip link add v${n} type veth peer name e0 netns rs${n}; ip link set v${n} up; ip -n rs${n} link set lo up; ip -n rs${n} link set e0 up`);
      sh(`ip addr add ${own(n).IPv4}/24 dev v${n}; ip addr add ${own(n).IPv6}/64 dev v${n} nodad; ip -n rs${n} addr add ${real(n).IPv4}/24 dev e0; ip -n rs${n} addr add ${real(n).IPv6}/64 dev e0 nodad`);
      sh(`ip -n rs${n} addr add ${VIP.IPv4}/32 dev lo; ip -n rs${n} addr add ${VIP.IPv6}/128 dev lo nodad`);
      sh(`ip netns exec rs${n} sh -c 'ip link set tunl0 up; ip link set ip6tnl0 up; for f in all tunl0 e0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done'`);
      const server = spawn('ip', ['netns', 'exec', `rs${n}`, process.execPath, '-e', SERVER, String(n)], { stdio: ['ignore', 'pipe', 'inherit'] });
      servers.push(server);
      await once(server.stdout, 'data');
      sh(`echo 0 > /proc/sys/net/ipv4/conf/v${n}/rp_filter`);
    }
    sh('echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; ip route add default via 10.8.1.2; ip -6 route add default via fd08:1::2');
    ipvs = openIpvs();
    ways = forwardedWays([1, 2].flatMap((n) => (['IPv4', 'IPv6'] as const).flatMap((f) => [to(n, f, 'direct'), to(n, f, 'tunnel')])));
    const failures = await ipvs.apply([...ways.values()].flatMap(({ service, destination }) => [{ kind: 'addService' as const, service }, { kind: 'addDestination' as const, service, destination }]));
    assert.deepEqual(failures.map((f) => f.error.message), []);
  });
  after(() => {
    ipvs.close();
    for (const server of servers) server.kill('SIGKILL');
    sh('ip netns del rs1; ip netns del rs2');
  });

  const all = { 'IPv4 1': 'status 201', 'IPv4 2': 'status 202', 'IPv6 1': 'status 201', 'IPv6 2': 'status 202' };
  for (const method of ['direct', 'tunnel'] as const) {
    it(`reaches the one real server of its mark by ${method}, on a director that does not hold the VIP`, async () => {
      assert.deepEqual(await everybody(['IPv4', 'IPv6'], method), all);
    });
  }

  it('does not where the director holds the VIP: an IPv4 answer from its own address is dropped', async () => {
    sh(`ip addr add ${VIP.IPv4}/32 dev v1; ip addr add ${VIP.IPv6}/128 dev v1 nodad`);
    assert.deepEqual(await everybody(['IPv4', 'IPv6'], 'direct'), { ...all, 'IPv4 1': 'Timeout', 'IPv4 2': 'Timeout' });
  });

  for (const method of ['direct', 'tunnel'] as const) {
    it(`does with accept_local on the links that answers come in by, by ${method}, beside the service of the VIP itself`, async () => {
      sh(`for n in 1 2; do echo 1 > /proc/sys/net/ipv4/conf/v$n/accept_local; done; ipvsadm -A -t ${VIP.IPv4}:80 -s rr 2>/dev/null || true`);
      assert.deepEqual(await everybody(['IPv4', 'IPv6'], method), all);
    });
  }

  it('needs a source: the kernel would take the VIP, to which no answer comes back', async () => {
    assert.equal(await answered(1, 'IPv4', 'direct', VIP.IPv4), 'Timeout');
  });

  it('UDP goes the same way and leaves nothing in the connection table', async () => {
    const udp = () => readFileSync('/proc/net/ip_vs_conn', 'utf8').split('\n').filter((line) => line.startsWith('UDP')).length;
    for (const n of [1, 2]) for (const family of ['IPv4', 'IPv6'] as const) {
      const { reason, message } = await check(real(n)[family], { type: 'UDP', payload: '', reply: true }, forwarded(n, family, 'direct'));
      assert.equal(reason, 'Answered', message);
    }
    assert.equal(udp(), 0);
  });

  it('sees a real server that answers on its own address and has lost the VIP', async () => {
    sh(`ip -n rs2 addr del ${VIP.IPv4}/32 dev lo; ip -n rs2 addr del ${VIP.IPv6}/128 dev lo`);
    for (const family of ['IPv4', 'IPv6'] as const) {
      const direct = await check(real(2)[family], { type: 'HTTP', path: '/', host: '', statuses: [202] }, { kind: 'Direct' });
      assert.equal(direct.reason, 'Answered', direct.message);
    }
    const found = await everybody(['IPv4', 'IPv6'], 'direct');
    assert.deepEqual([found['IPv4 1'], found['IPv6 1']], ['status 201', 'status 201']);
    // Silence, or a word of the network that nobody is there.
    for (const reason of [found['IPv4 2']!, found['IPv6 2']!]) assert.match(reason, /^(Timeout|Unreachable)$/);
    sh(`ip -n rs2 addr add ${VIP.IPv4}/32 dev lo; ip -n rs2 addr add ${VIP.IPv6}/128 dev lo nodad`);
  });

  it('sees a real server whose tunnel is gone', async () => {
    sh('ip -n rs2 link set tunl0 down; ip -n rs2 link set ip6tnl0 down');
    const found = await everybody(['IPv4', 'IPv6'], 'tunnel');
    assert.deepEqual([found['IPv4 1'], found['IPv6 1']], ['status 201', 'status 201']);
    assert.notEqual(found['IPv4 2'], 'status 202');
    assert.notEqual(found['IPv6 2'], 'status 202');
  });

  it('a source that is not ours is an errno, and says nothing about the real server', async () => {
    const { reason, message } = await check(real(1).IPv4, { type: 'TCP' }, forwarded(1, 'IPv4', 'direct', '192.0.2.99'));
    assert.deepEqual([reason, message], ['NotChecked', 'EADDRNOTAVAIL: this node has no free port, or not the source address']);
  });
});
