/**
 * Rules of a VirtualServer about its address, its mode and its real servers. Rules about ports are in virtualserver.ports.ts,
 * about health checks in virtualserver.checks.ts.
 * They look at this one object: what pools, other VirtualServers and nodes have to say is decided in controller/compile.
 */
import { isIPv4 } from 'node:net';
import { familyOf } from '../../ip/ip.ts';
import { celCanonical, celUnicast, checkAddress, checkUnicast, type Report, type Rule } from './rules.ts';
import { CHECK_RULES } from './virtualserver.checks.ts';
import { PORT_RULES } from './virtualserver.ports.ts';
import type { VirtualServer } from './virtualserver.ts';

const ENDPOINT = 'spec.backends[].static.endpoints[].address';
const VIP = 'spec.vip.addresses[]';
/** CEL: every address of a static real server satisfies `test`. */
const allEndpoints = (test: string) => `self.backends.all(b, !has(b.static) || b.static.endpoints.all(e, ${test}))`;
const SOURCES = ['static', 'serviceRef', 'nodes'] as const;

function eachEndpoint(vs: VirtualServer, visit: (address: string, path: () => string) => void): void {
  const backends = vs.spec.backends;
  for (let b = 0; b < backends.length; b++) {
    const endpoints = backends[b]!.static?.endpoints ?? [];
    for (let e = 0; e < endpoints.length; e++) visit(endpoints[e]!.address, () => `spec.backends[${b}].static.endpoints[${e}].address`);
  }
}

export const VIRTUAL_SERVER_RULES: readonly Rule<VirtualServer>[] = [
  {
    code: 'VIPSourceConflict',
    cel: [{
      at: 'spec.vip',
      rule: '!has(self.sharedFrom) || (!has(self.poolRef) && !has(self.addresses) && !has(self.families))',
      message: 'sharedFrom excludes poolRef, addresses and families',
    }],
    check({ spec: { vip } }, report) {
      if (vip?.sharedFrom === undefined) return;
      const others = (['poolRef', 'addresses', 'families'] as const).filter((f) => vip[f] !== undefined);
      if (others.length > 0) {
        report('spec.vip', `sharedFrom takes the address of VirtualServer "${vip.sharedFrom.name}", so ${others.join(' and ')} cannot be given too`,
          `remove ${others.join(' and ')}, or remove sharedFrom`);
      }
    },
  },
  {
    code: 'InvalidAddress',
    cel: [celCanonical(VIP), celCanonical(ENDPOINT)],
    check(vs, report) {
      vs.spec.vip?.addresses?.forEach((a, i) => checkAddress(a, `spec.vip.addresses[${i}]`, report));
      eachEndpoint(vs, (a, path) => {
        if (!isIPv4(a)) checkAddress(a, path(), report);
      });
    },
  },
  {
    code: 'ForbiddenAddress',
    cel: [celUnicast(VIP), celUnicast(ENDPOINT)],
    check(vs, report) {
      vs.spec.vip?.addresses?.forEach((a, i) => checkUnicast(a, `spec.vip.addresses[${i}]`, 'a VIP', report));
      eachEndpoint(vs, (a, path) => checkUnicast(a, path(), 'a real server', report));
    },
  },
  {
    code: 'DuplicateAddress',
    cel: [],
    why: 'spec.vip.addresses and spec.vip.families are lists of type set',
    check({ spec: { vip } }, report) {
      for (const field of ['addresses', 'families'] as const) {
        vip?.[field]?.forEach((a: string, i) => {
          if ((vip[field] as string[]).indexOf(a) < i) report(`spec.vip.${field}[${i}]`, `${a} is in the list twice`, 'remove one of them');
        });
      }
    },
  },
  {
    code: 'FamilyMismatch',
    cel: [{
      at: 'spec.vip',
      rule: "!has(self.families) || !has(self.addresses) || self.addresses.all(a, (a.contains(':') ? 'IPv6' : 'IPv4') in self.families)",
      message: 'addresses must be of the families',
    }],
    check({ spec: { vip } }, report) {
      const families = vip?.families;
      if (families === undefined) return;
      vip?.addresses?.forEach((a, i) => {
        const family = familyOf(a);
        if (family !== null && !families.includes(family)) {
          report(`spec.vip.addresses[${i}]`,
            `${a} is ${family}, but families has only ${families.join(', ')}`,
            `add ${family} to spec.vip.families, or remove families`);
        }
      });
    },
  },
  {
    code: 'ModeMismatch',
    cel: [
      { at: 'spec', rule: "!has(self.nat) || self.mode == 'NAT'", message: 'nat is only for mode NAT' },
      { at: 'spec', rule: "!has(self.tun) || self.mode == 'TUN'", message: 'tun is only for mode TUN' },
    ],
    check({ spec }, report) {
      if (spec.nat !== undefined && spec.mode !== 'NAT') {
        report('spec.nat', `nat is only for mode NAT, and the mode is ${spec.mode}`, 'remove nat, or set mode to NAT');
      }
      if (spec.tun !== undefined && spec.mode !== 'TUN') {
        report('spec.tun', `tun is only for mode TUN, and the mode is ${spec.mode}`, 'remove tun, or set mode to TUN');
      }
    },
  },
  {
    code: 'TunnelOption',
    cel: [
      { at: 'spec.tun', rule: "!has(self.port) || self.encapsulation == 'GUE'", message: 'port is only for GUE' },
      { at: 'spec.tun', rule: "self.checksum == 'None' || self.encapsulation != 'IPIP'", message: 'IPIP has no checksum' },
      { at: 'spec.tun', rule: "self.checksum != 'RemoteChecksum' || self.encapsulation == 'GUE'", message: 'RemoteChecksum is only for GUE' },
    ],
    check({ spec: { tun } }, report) {
      if (tun === undefined) return;
      if (tun.port !== undefined && tun.encapsulation !== 'GUE') {
        report('spec.tun.port', `${tun.encapsulation} has no port, only GUE has`, 'remove port, or set encapsulation to GUE');
      }
      if (tun.checksum !== 'None' && tun.encapsulation === 'IPIP') {
        report('spec.tun.checksum', 'IPIP has no header that could carry a checksum', 'remove checksum, or set encapsulation to GUE or GRE');
      } else if (tun.checksum === 'RemoteChecksum' && tun.encapsulation !== 'GUE') {
        report('spec.tun.checksum',
          `RemoteChecksum is only for GUE, and encapsulation is ${tun.encapsulation}`,
          'set checksum to Checksum or None, or encapsulation to GUE');
      }
    },
  },
  {
    code: 'SchedulerOption',
    cel: [{
      at: 'spec.scheduler',
      rule: "self.name in ['sh', 'mh'] || (!self.fallback && !self.portAware)",
      message: 'fallback and portAware are only for the schedulers sh and mh',
    }],
    check({ spec: { scheduler } }, report) {
      if (scheduler.name === 'sh' || scheduler.name === 'mh') return;
      for (const option of ['fallback', 'portAware'] as const) {
        if (scheduler[option]) {
          report(`spec.scheduler.${option}`, `scheduler ${scheduler.name} does not know ${option}; only sh and mh do`, `remove ${option}, or use scheduler mh`);
        }
      }
    },
  },
  {
    code: 'ThresholdsInverted',
    cel: [{ at: 'spec.connectionLimits', rule: 'self.lower <= self.upper', message: 'lower must not be above upper' }],
    check({ spec: { connectionLimits: { lower, upper } } }, report) {
      if (lower > upper) {
        report('spec.connectionLimits.lower', `lower is ${lower}, above upper, which is ${upper === 0 ? '0 (no limit)' : upper}`,
          upper === 0 ? 'set upper too, or remove lower' : `set lower to ${upper} or less`);
      }
    },
  },
  {
    code: 'BackendSource',
    cel: [{
      at: 'spec.backends[]',
      rule: `[${SOURCES.map((s) => `has(self.${s})`).join(', ')}].exists_one(b, b)`,
      message: 'a backend has exactly one of static, serviceRef and nodes',
    }],
    check({ spec: { backends } }, report) {
      backends.forEach((b, i) => {
        const given = SOURCES.filter((s) => b[s] !== undefined);
        if (given.length === 0) report(`spec.backends[${i}]`, 'the backend has no real servers', 'add one of static, serviceRef and nodes');
        if (given.length > 1) report(`spec.backends[${i}]`, `the backend has ${given.join(' and ')}; it can have one source only`, 'make a backend of each');
      });
    },
  },
  {
    code: 'EmptySelector',
    cel: [{ at: 'spec.backends[].nodes.selector.matchLabels', rule: 'self.size() > 0', message: 'needs at least one label' }],
    check({ spec: { backends } }, report) {
      backends.forEach((b, i) => {
        if (b.nodes !== undefined && Object.keys(b.nodes.selector.matchLabels).length === 0) {
          report(`spec.backends[${i}].nodes.selector.matchLabels`, 'no label is given', 'add one that the nodes have, as kubernetes.io/os: linux');
        }
      });
    },
  },
  ...PORT_RULES,
  ...CHECK_RULES,
  {
    code: 'RealServerIsVIP',
    cel: [{
      at: 'spec',
      rule: `!has(self.vip) || !has(self.vip.addresses) || ${allEndpoints('!(e.address in self.vip.addresses)')}`,
      message: 'a real server must not have the address of the VIP',
    }],
    check(vs, report) {
      const vips = vs.spec.vip?.addresses;
      if (vips === undefined) return;
      eachEndpoint(vs, (a, path) => {
        if (vips.includes(a)) report(path(), `${a} is the VIP itself; packets would go in circles`, "write the real server's own address");
      });
    },
  },
  {
    code: 'EndpointFamily',
    cel: [
      {
        at: 'spec',
        rule: "self.mode == 'TUN' || !has(self.vip) || !has(self.vip.families) || ("
          + `('IPv6' in self.vip.families || ${allEndpoints("!e.address.contains(':')")}) && `
          + `('IPv4' in self.vip.families || ${allEndpoints("e.address.contains(':')")}))`,
        message: "without a tunnel, real servers must be of the VIP's families",
      },
      {
        at: 'spec',
        rule: "self.mode == 'TUN' || !has(self.vip) || !has(self.vip.addresses) || has(self.vip.families) || ("
          + `(self.vip.addresses.exists(a, a.contains(':')) || ${allEndpoints("!e.address.contains(':')")}) && `
          + `(self.vip.addresses.exists(a, !a.contains(':')) || ${allEndpoints("e.address.contains(':')")}))`,
        message: "without a tunnel, real servers must be of the VIP's families",
      },
    ],
    check(vs, report) {
      const { mode, vip } = vs.spec;
      if (mode === 'TUN') return;
      const families: readonly (string | null)[] | undefined = vip?.families ?? vip?.addresses?.map(familyOf);
      if (families === undefined || families.includes(null)) return;
      const wrong: string[] = [];
      let firstPath = '';
      eachEndpoint(vs, (a, path) => {
        if (families.includes(a.includes(':') ? 'IPv6' : 'IPv4') || familyOf(a) === null) return;
        if (wrong.push(a) === 1) firstPath = path();
      });
      if (wrong.length === 0) return;
      const family = familyOf(wrong[0]!)!;
      const more = wrong.length === 1 ? '' : ` (and ${wrong.length - 1} more)`;
      report(firstPath, `${wrong[0]}${more} is ${family}, but the VIP is ${[...new Set(families)].join(', ')} and mode ${mode} cannot change the family`,
        `use real servers of the VIP's family, add an ${family} VIP, or use mode TUN`);
    },
  },
  { code: 'DuplicateEndpoint', cel: [], why: 'endpoints is a list of type map with key address; across backends only here', check: checkDuplicateEndpoints },
];

function checkDuplicateEndpoints(vs: VirtualServer, report: Report): void {
  const seen = new Set<string>();
  eachEndpoint(vs, (a, path) => {
    if (seen.has(a)) report(path(), `real server ${a} is given twice`, 'remove one of them; a share is given by weight');
    seen.add(a);
  });
}
