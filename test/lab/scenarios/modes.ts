// The three modes with the product's own code in every director and real server: from a manifest to answers, and back to nothing.

import assert from 'node:assert/strict';
import { scenario, type Lab } from '../lab.ts';
import { file, pool, server } from '../manifests.ts';
import { lan, routed, twoArmed, vip, vip6 } from '../topologies.ts';

const even = { rs1: 4, rs2: 4, rs3: 4 };
const rr = { scheduler: { name: 'rr' } };
const both = [{ port: 80 }, { port: 53, protocol: 'UDP' }];
const lanServers = ['10.0.1.21', '10.0.1.22', '10.0.1.23'];
const lanServers6 = ['fd00:1::21', 'fd00:1::22', 'fd00:1::23'];

/** TCP and UDP from each client to each address, spread evenly. Returns the client addresses that servers saw. */
async function spread(lab: Lab, clients: readonly string[], addresses: readonly string[]): Promise<string[]> {
  const seen = new Set<string>();
  for (const client of clients) {
    for (const address of addresses) {
      const tcp = await lab.get(client, { address, port: 80, count: 12 });
      assert.deepEqual(tcp.by, even, `${client} over TCP to ${address}: ${JSON.stringify(tcp)}`);
      const udp = await lab.get(client, { address, port: 53, protocol: 'udp', count: 12 });
      assert.deepEqual(udp.by, even, `${client} over UDP to ${address}: ${JSON.stringify(udp)}`);
      for (const source of tcp.sources) seen.add(source);
    }
  }
  return [...seen].sort();
}

/** Servers on all addresses; UDP on the VIPs, since a socket on all addresses would answer from the wrong one. */
async function serve(lab: Lab, udpOn: readonly string[] = []): Promise<void> {
  for (const rs of ['rs1', 'rs2', 'rs3']) {
    await lab.serve(rs, { tcp: [80] });
    await lab.serve(rs, udpOn.length > 0 ? { udp: [53], bind: udpOn } : { udp: [53] });
  }
}

async function everywhere(lab: Lab, text: string, hosts = ['dir1', 'rs1', 'rs2', 'rs3']): Promise<void> {
  const agents = await Promise.all(hosts.map((host) => lab.agent(host, { manifests: { 'lab.yaml': text } })));
  await Promise.all(agents.map((agent) => agent.settled()));
}

export const dr = scenario({
  name: 'dr',
  about: 'DR, both families: both clients, TCP and UDP; only the director answers ARP and ND; the VIP moves into nothing on cleanup',
  topology: lan,
  tags: ['dr', 'modes'],
  run: async (lab) => {
    const text = file(pool(), server({ mode: 'DR', vips: [vip, vip6], ports: both, endpoints: [...lanServers, ...lanServers6], more: rr }));
    await everywhere(lab, text);
    await serve(lab, [vip, vip6]);
    assert.deepEqual(await spread(lab, ['c1', 'lc'], [vip, vip6]), ['10.0.1.50', '10.0.9.100', 'fd00:1::50', 'fd00:9::100']);
    // The real servers' neighbour entries for their gateway are empty now: what they send to fill them must not name the VIP.
    for (const rs of ['rs1', 'rs2', 'rs3']) await lab.host(rs).flushNeighbours();
    await spread(lab, ['c1', 'lc'], [vip, vip6]);
    assert.deepEqual(await lab.arp('lc', vip), [lab.host('dir1').mac()], 'only the director answers for the VIP');
    assert.deepEqual(await lab.nd('lc', vip6), [lab.host('dir1').mac()]);
  },
});

export const natGateway = scenario({
  name: 'nat-gateway',
  about: 'NAT with the director as gateway of the real servers, both families: they see the client',
  topology: twoArmed,
  tags: ['nat', 'modes'],
  run: async (lab) => {
    const endpoints = ['10.0.5.21', '10.0.5.22', '10.0.5.23', 'fd00:5::21', 'fd00:5::22', 'fd00:5::23'];
    await everywhere(lab, file(pool(), server({ mode: 'NAT', vips: [vip, vip6], ports: [{ port: 80 }, { port: 53, protocol: 'UDP' }], endpoints, more: { ...rr, nat: { sourceAddress: 'Preserve' } } })));
    await serve(lab);
    assert.deepEqual(await spread(lab, ['c1', 'lc'], [vip, vip6]), ['10.0.1.50', '10.0.9.100', 'fd00:1::50', 'fd00:9::100']);
  },
});

function natSource(choice: 'Masquerade' | 'VirtualIP', expected: readonly string[]) {
  return scenario({
    name: `nat-${choice.toLowerCase()}`,
    about: `NAT with source NAT (${choice}), both families, one-armed: works for clients everywhere, and the port is rewritten`,
    topology: lan,
    tags: ['nat', 'modes'],
    run: async (lab) => {
      const ports = [{ port: 80, targetPort: 8080 }, { port: 53, protocol: 'UDP', targetPort: 5353 }];
      await everywhere(lab, file(pool(), server({ mode: 'NAT', vips: [vip, vip6], ports, endpoints: [...lanServers, ...lanServers6], more: { ...rr, nat: { sourceAddress: choice } } })));
      for (const rs of ['rs1', 'rs2', 'rs3']) await lab.serve(rs, { tcp: [8080], udp: [5353] });
      assert.deepEqual(await spread(lab, ['c1', 'lc'], [vip, vip6]), [...expected].sort());
    },
  });
}
export const natMasquerade = natSource('Masquerade', ['10.0.1.11', 'fd00:1::11']);
export const natVirtualIP = natSource('VirtualIP', [vip, vip6]);

function tun(name: string, about: string, tunnel: Record<string, unknown>, endpoints: readonly string[], vips: readonly string[]) {
  return scenario({
    name, about, topology: routed, tags: ['tun', 'modes'], timeoutSeconds: 180,
    run: async (lab) => {
      await everywhere(lab, file(pool(), server({ mode: 'TUN', vips, ports: both, endpoints, more: { ...rr, tun: tunnel } })));
      await serve(lab, vips);
      await spread(lab, ['c1', 'lc'], vips);
      for (const address of vips) {
        const up = await lab.big('c1', { address, port: 80, bytes: 300_000, direction: 'upload' });
        assert.equal(up.stalled, false, `upload through the tunnel to ${address}: ${JSON.stringify(up)}`);
      }
    },
  });
}
const remote = ['10.0.2.21', '10.0.2.22', '10.0.3.23'];
const remote6 = ['fd00:2::21', 'fd00:2::22', 'fd00:3::23'];
export const tunIpip = tun('tun-ipip', 'TUN with IPIP to real servers behind routers, both families', {}, [...remote, ...remote6], [vip, vip6]);
export const tunGre = tun('tun-gre', 'TUN with GRE, both families', { encapsulation: 'GRE' }, [...remote, ...remote6], [vip, vip6]);
export const tunGreChecksum = tun('tun-gre-checksum', 'TUN with GRE and checksums', { encapsulation: 'GRE', checksum: 'Checksum' }, remote, [vip]);
export const tunGue = tun('tun-gue', 'TUN with GUE, both families', { encapsulation: 'GUE' }, [...remote, ...remote6], [vip, vip6]);
export const tunGueRemote = tun('tun-gue-remcsum', 'TUN with GUE and remote checksum offload on a port of its own', { encapsulation: 'GUE', port: 6666, checksum: 'RemoteChecksum' }, remote, [vip]);
export const tunV4OverV6 = tun('tun-v4-over-v6', 'an IPv4 VIP over IPv6 real servers', {}, remote6, [vip]);
export const tunV6OverV4 = tun('tun-v6-over-v4', 'an IPv6 VIP over IPv4 real servers', {}, remote, [vip6]);
