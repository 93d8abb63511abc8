// The shared topologies as data: a slip here would show as a strange failure in every scenario.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as topologies from '../../lab/topologies.ts';
import { macAddress, type Topology } from '../../lab/topology.ts';

const all = Object.values(topologies).filter((one): one is Topology => typeof one === 'object' && 'hosts' in one);
/** IFNAMSIZ of linux/if.h, without the final zero. */
const longestLinkName = 15;

test('every topology is checked', () => assert.ok(all.length >= 6));

for (const topology of all) {
  const hosts = Object.entries(topology.hosts);
  const links = hosts.flatMap(([host, spec]) => Object.entries(spec.links).map(([link, value]) => ({ host, link, ...value })));

  test(`${topology.name}: links lead to bridges that exist, and their names fit into the kernel`, () => {
    for (const { host, link, bridge } of links) {
      assert.ok(topology.bridges.includes(bridge), `${host} ${link} leads to ${bridge}`);
      assert.ok(`${host}-${link}`.length <= longestLinkName);
    }
    for (const bridge of topology.bridges) {
      assert.ok(!hosts.some(([host]) => host === bridge));
      assert.ok(links.filter((one) => one.bridge === bridge).length >= 2, `somebody to talk to on ${bridge}`);
    }
  });

  test(`${topology.name}: no address and no MAC address is there twice`, () => {
    const addresses = links.flatMap((one) => one.addresses.map((address) => address.replace(/\/\d+$/, '')));
    assert.equal(new Set(addresses).size, addresses.length);
    assert.ok(!addresses.includes(topologies.vip) && !addresses.includes(topologies.vip6), 'the VIP belongs to the scenario');
    const macs = links.map(({ host, link }) => macAddress(topology, host, link));
    assert.equal(new Set(macs).size, macs.length);
  });

  test(`${topology.name}: every gateway is a neighbour, and routes packets unless it is a director`, () => {
    for (const [host, spec] of hosts) {
      for (const route of spec.routes ?? []) {
        const gateway = / via (\S+)$/.exec(route)?.[1];
        assert.ok(gateway !== undefined, route);
        const at = links.find((one) => one.addresses.some((address) => address.startsWith(`${gateway}/`)));
        assert.ok(at !== undefined, `${host}: nobody has ${gateway}`);
        assert.ok(Object.values(spec.links).some((link) => link.bridge === at.bridge), `${host} has no link to ${gateway}`);
        assert.ok(topology.hosts[at.host]!.router === true || at.host.startsWith('dir'), `${at.host} does not route`);
      }
    }
  });
}

test('a MAC address is told apart by host and link, and asking for a stranger fails', () => {
  assert.equal(macAddress(topologies.lan, 'gw', 'e1'), '02:00:00:00:01:01');
  assert.throws(() => macAddress(topologies.lan, 'gw', 'e9'), /no link e9 of host gw/);
});
