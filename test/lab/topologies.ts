// The networks that scenarios share. Addresses here are agreed: examples, docs and scenarios use the same ones.
// A scenario that needs a variation spreads one of these; it does not edit it.

import type { HostSpec, Topology } from './topology.ts';

/** The VIP of every topology but the tutorials. */
export const vip = '10.0.1.200';
export const vip6 = 'fd00:1::200';

const lanRoutes = ['default via 10.0.1.1', 'default via fd00:1::1'];

/** A host in the LAN 10.0.1.0/24 and fd00:1::/64 whose default gateway is `gw`. */
function lanHost(number: number): HostSpec {
  return { links: { e0: { bridge: 'lan', addresses: [`10.0.1.${number}/24`, `fd00:1::${number}/64`] } }, routes: lanRoutes };
}

/** A client behind the router: 10.0.9.100, fd00:9::100. */
const farClient: HostSpec = {
  links: { e0: { bridge: 'out', addresses: ['10.0.9.100/24', 'fd00:9::100/64'] } },
  routes: ['default via 10.0.9.1', 'default via fd00:9::1'],
};

/**
 * One LAN with everything in it, and a client behind a router:
 *
 *     c1 10.0.9.100 -- 10.0.9.1 gw 10.0.1.1 --+-- lan 10.0.1.0/24 ------------------------------+
 *                                             dir1 .11  dir2 .12  rs1 .21  rs2 .22  rs3 .23  lc .50
 */
export const lan: Topology = {
  name: 'lan',
  bridges: ['lan', 'out'],
  hosts: {
    gw: {
      links: {
        e0: { bridge: 'lan', addresses: ['10.0.1.1/24', 'fd00:1::1/64'] },
        e1: { bridge: 'out', addresses: ['10.0.9.1/24', 'fd00:9::1/64'] },
      },
      router: true,
    },
    c1: farClient,
    lc: lanHost(50),
    dir1: lanHost(11),
    dir2: lanHost(12),
    rs1: lanHost(21),
    rs2: lanHost(22),
    rs3: lanHost(23),
  },
};

/** `lan` as a cluster has it: three directors, dir1 to dir3 .11 to .13, and four nodes with real servers, rs1 to rs4 .21 to .24. */
export const fleet: Topology = {
  ...lan,
  name: 'fleet',
  hosts: { ...lan.hosts, dir3: lanHost(13), rs4: lanHost(24) },
};

/** A real server in the inner network of `twoArmed`; the director is its gateway. */
function innerHost(number: number): HostSpec {
  return {
    links: { e0: { bridge: 'inner', addresses: [`10.0.5.${number}/24`, `fd00:5::${number}/64`] } },
    routes: ['default via 10.0.5.11', 'default via fd00:5::11'],
  };
}

/**
 * A director between two networks, the gateway of its real servers:
 *
 *     c1 10.0.9.100 -- gw -- lan 10.0.1.0/24 -- e0 10.0.1.11 dir1 e1 10.0.5.11 -- inner 10.0.5.0/24 -- rs1 .21 rs2 .22 rs3 .23
 *                             lc 10.0.1.50
 */
export const twoArmed: Topology = {
  name: 'two-armed',
  bridges: ['lan', 'out', 'inner'],
  hosts: {
    gw: lan.hosts['gw']!,
    c1: farClient,
    lc: lanHost(50),
    dir1: {
      links: {
        e0: { bridge: 'lan', addresses: ['10.0.1.11/24', 'fd00:1::11/64'] },
        e1: { bridge: 'inner', addresses: ['10.0.5.11/24', 'fd00:5::11/64'] },
      },
      routes: lanRoutes,
    },
    rs1: innerHost(21),
    rs2: innerHost(22),
    rs3: innerHost(23),
  },
};

/** A real server in a subnet of its own, behind router r2 or r3. */
function remoteHost(subnet: 2 | 3, number: number): HostSpec {
  return {
    links: { e0: { bridge: `lan${subnet}`, addresses: [`10.0.${subnet}.${number}/24`, `fd00:${subnet}::${number}/64`] } },
    routes: [`default via 10.0.${subnet}.1`, `default via fd00:${subnet}::1`],
  };
}

/** A router between the transit network 10.0.8.0/24 and one subnet of real servers. */
function remoteRouter(subnet: 2 | 3): HostSpec {
  return {
    links: {
      e0: { bridge: 'transit', addresses: [`10.0.8.${subnet}/24`, `fd00:8::${subnet}/64`] },
      e1: { bridge: `lan${subnet}`, addresses: [`10.0.${subnet}.1/24`, `fd00:${subnet}::1/64`] },
    },
    routes: ['default via 10.0.8.1', 'default via fd00:8::1'],
    router: true,
  };
}

/**
 * Real servers in other subnets, behind routers, all links with MTU 1500:
 *
 *     c1 10.0.9.100 -- gw --+-- lan 10.0.1.0/24: dir1 .11, dir2 .12, lc .50
 *                           +-- transit 10.0.8.0/24 --+-- r2 -- 10.0.2.0/24: rs1 10.0.2.21, rs2 10.0.2.22
 *                                                     +-- r3 -- 10.0.3.0/24: rs3 10.0.3.23
 */
export const routed: Topology = {
  name: 'routed',
  bridges: ['lan', 'out', 'transit', 'lan2', 'lan3'],
  hosts: {
    gw: {
      links: {
        ...lan.hosts['gw']!.links,
        e2: { bridge: 'transit', addresses: ['10.0.8.1/24', 'fd00:8::1/64'] },
      },
      routes: [
        '10.0.2.0/24 via 10.0.8.2', '10.0.3.0/24 via 10.0.8.3',
        'fd00:2::/64 via fd00:8::2', 'fd00:3::/64 via fd00:8::3',
      ],
      router: true,
    },
    c1: farClient,
    lc: lanHost(50),
    dir1: lanHost(11),
    dir2: lanHost(12),
    r2: remoteRouter(2),
    r3: remoteRouter(3),
    rs1: remoteHost(2, 21),
    rs2: remoteHost(2, 22),
    rs3: remoteHost(3, 23),
  },
};

/** NAT as the classic tutorial has it: VIP 192.168.1.12, real servers 192.168.20.15 and .16, gateway 192.168.20.14. */
export const tutorialNat: Topology = {
  name: 'tutorial-nat',
  bridges: ['front', 'back'],
  hosts: {
    c1: { links: { e0: { bridge: 'front', addresses: ['192.168.1.100/24'] } } },
    dir1: {
      links: {
        e0: { bridge: 'front', addresses: ['192.168.1.5/24'] },
        e1: { bridge: 'back', addresses: ['192.168.20.14/24'] },
      },
    },
    rs1: { links: { e0: { bridge: 'back', addresses: ['192.168.20.15/24'] } }, routes: ['default via 192.168.20.14'] },
    rs2: { links: { e0: { bridge: 'back', addresses: ['192.168.20.16/24'] } }, routes: ['default via 192.168.20.14'] },
  },
};

/** A flat network with a router to a client outside, which the tutorial's DR and TUN parts share in shape. */
function flat(name: string, network: string, router: number, hosts: Readonly<Record<string, number>>): Topology {
  return {
    name,
    bridges: ['lan', 'out'],
    hosts: {
      gw: {
        links: {
          e0: { bridge: 'lan', addresses: [`${network}.${router}/24`] },
          e1: { bridge: 'out', addresses: ['10.0.9.1/24'] },
        },
        router: true,
      },
      c1: { links: { e0: { bridge: 'out', addresses: ['10.0.9.100/24'] } }, routes: ['default via 10.0.9.1'] },
      ...Object.fromEntries(Object.entries(hosts).map(([host, number]): [string, HostSpec] => [host, {
        links: { e0: { bridge: 'lan', addresses: [`${network}.${number}/24`] } },
        routes: [`default via ${network}.${router}`],
      }])),
    },
  };
}

/** DR as the classic tutorial has it: VIP 192.168.1.10, director 192.168.1.5, real servers 192.168.1.13 and .14. */
export const tutorialDr: Topology = flat('tutorial-dr', '192.168.1', 1, { lc: 100, dir1: 5, rs1: 13, rs2: 14 });

/** TUN as the classic tutorial has it: VIP 200.168.10.10, director 200.168.10.1, real servers 200.168.10.2 and .3. */
export const tutorialTun: Topology = flat('tutorial-tun', '200.168.10', 254, { lc: 100, dir1: 1, rs1: 2, rs2: 3 });
