/**
 * Rules of a VirtualServer about its ports: what may stand together, what can be rewritten, what needs UDP.
 * Whether another VirtualServer has the same port is decided in controller/compile.
 */
import type { Rule } from './rules.ts';
import type { VirtualServer, VirtualServerPort } from './virtualserver.ts';

/** The port on real servers of static and nodes backends: `targetPort`, else the VIP's port. A Service's own endpoints have theirs. */
export function targetPortOf(p: VirtualServerPort): number {
  return p.targetPort ?? p.port;
}

/** The last port of a range; the port itself when it is none. */
export function endPortOf(p: Pick<VirtualServerPort, 'port' | 'endPort'>): number {
  return p.endPort ?? p.port;
}

const UDP_ONLY = "self.ports.all(p, p.protocol == 'UDP')";

/** As people read it, here and in a program: `80/TCP`, `30000-30100/UDP`. */
export function portText(p: Pick<VirtualServerPort, 'port' | 'endPort' | 'protocol'>): string {
  return `${p.port}${endPortOf(p) === p.port ? '' : `-${endPortOf(p)}`}/${p.protocol}`;
}

/** Why the target port cannot differ, or null where it can. */
function whyFixed({ spec }: VirtualServer, p: VirtualServerPort): { because: string; fix: string } | null {
  if (spec.mode !== 'NAT') return { because: `mode ${spec.mode} cannot rewrite ports`, fix: 'or use mode NAT' };
  if (endPortOf(p) !== p.port) return { because: 'the ports of a range are not rewritten', fix: 'or list the ports one by one' };
  if (spec.persistence?.scope === 'AllPorts') return { because: 'with persistence.scope AllPorts ports are not rewritten', fix: 'or set persistence.scope to Port' };
  return null;
}

export const PORT_RULES: readonly Rule<VirtualServer>[] = [
  {
    code: 'RangeInverted',
    cel: [{ at: 'spec.ports[]', rule: '!has(self.endPort) || self.endPort >= self.port', message: 'endPort must not be below port' }],
    check({ spec: { ports } }, report) {
      ports.forEach((p, i) => {
        if (endPortOf(p) < p.port) {
          report(`spec.ports[${i}].endPort`,
            `the range ends at ${p.endPort}, before it starts at ${p.port}`,
            'swap port and endPort, or remove endPort');
        }
      });
    },
  },
  {
    code: 'PortOverlap',
    cel: [{
      at: 'spec',
      rule: 'self.ports.all(a, self.ports.exists_one(b, a.protocol == b.protocol'
        + ' && b.port <= (has(a.endPort) ? a.endPort : a.port) && a.port <= (has(b.endPort) ? b.endPort : b.port)))',
      message: 'ports of one protocol must not overlap',
    }],
    check({ spec: { ports } }, report) {
      ports.forEach((p, i) => {
        const other = ports.slice(0, i).find((o) => o.protocol === p.protocol && o.port <= endPortOf(p) && p.port <= endPortOf(o));
        if (other !== undefined) report(`spec.ports[${i}]`, `${portText(p)} overlaps ${portText(other)}`, 'remove one of them');
      });
    },
  },
  {
    code: 'DuplicatePortName',
    cel: [{
      at: 'spec',
      rule: 'self.ports.all(a, !has(a.name) || self.ports.exists_one(b, has(b.name) && a.name == b.name))',
      message: 'names of ports must be unique',
    }],
    check({ spec: { ports } }, report) {
      ports.forEach((p, i) => {
        if (p.name !== undefined && ports.findIndex((o) => o.name === p.name) < i) {
          report(`spec.ports[${i}].name`, `two ports have the name "${p.name}"`, 'give each its own name, or none');
        }
      });
    },
  },
  {
    code: 'TargetPortFixed',
    cel: [
      {
        at: 'spec',
        rule: "(self.mode == 'NAT' && !(has(self.persistence) && self.persistence.scope == 'AllPorts'))"
          + ' || self.ports.all(p, !has(p.targetPort) || p.targetPort == p.port)',
        message: 'targetPort must equal port in modes DR and TUN, and with persistence.scope AllPorts: ports are not rewritten there',
      },
      {
        at: 'spec.ports[]',
        rule: '!has(self.targetPort) || !has(self.endPort) || self.endPort == self.port || self.targetPort == self.port',
        message: 'targetPort must equal port in a range: the ports of a range are not rewritten',
      },
    ],
    check(vs, report) {
      vs.spec.ports.forEach((p, i) => {
        if (p.targetPort === undefined || p.targetPort === p.port) return;
        const fixed = whyFixed(vs, p);
        if (fixed !== null) {
          report(`spec.ports[${i}].targetPort`, `${p.targetPort} differs from port ${p.port}, but ${fixed.because}`, `set targetPort to ${p.port}, ${fixed.fix}`);
        }
      });
    },
  },
  {
    code: 'TargetPortUnused',
    cel: [{
      at: 'spec',
      rule: 'self.backends.exists(b, !has(b.serviceRef)) || self.ports.all(p, !has(p.targetPort))',
      message: 'targetPort says nothing when every backend is a Service, which has its own',
    }],
    check({ spec: { backends, ports } }, report) {
      if (backends.some((b) => b.serviceRef === undefined)) return;
      ports.forEach((p, i) => {
        if (p.targetPort !== undefined) {
          report(`spec.ports[${i}].targetPort`, 'every backend is a Service, whose own target port decides', 'remove targetPort, and set the one of the Service');
        }
      });
    },
  },
  {
    code: 'NeedsUDP',
    cel: [
      { at: 'spec', rule: `!self.scheduler.onePacket || ${UDP_ONLY}`, message: 'scheduler.onePacket needs every port to be UDP' },
      { at: 'spec', rule: `!has(self.persistence) || !has(self.persistence.engine) || ${UDP_ONLY}`, message: 'persistence.engine needs every port to be UDP' },
    ],
    check({ spec }, report) {
      const other = spec.ports.find((p) => p.protocol !== 'UDP');
      if (other === undefined) return;
      if (spec.scheduler.onePacket) {
        report('spec.scheduler.onePacket',
          `onePacket works on UDP only, and port ${portText(other)} is not UDP`,
          'remove onePacket, or put the UDP ports into a VirtualServer of their own');
      }
      if (spec.persistence?.engine !== undefined) {
        report('spec.persistence.engine',
          `engine ${spec.persistence.engine} works on UDP only, and port ${portText(other)} is not UDP`,
          'remove engine, or put the UDP ports into a VirtualServer of their own');
      }
    },
  },
];
