/**
 * Whom a failed operation concerns: every VirtualServer that wants what failed. Pure; for statuses.
 */
import { serviceKey } from '../kernel/ipvs/types.ts';
import type { AgentView } from './agent.ts';
import type { Failure } from './apply.ts';
import type { Operation } from './operation.ts';

/** A failure concerns every VirtualServer that wants what failed: a sysctl of all NAT services, say. */
export function failuresByOwner(view: Pick<AgentView, 'fragments' | 'failures'>): Map<string, Failure[]> {
  const byOwner = new Map<string, Failure[]>();
  if (view.failures.length === 0) return byOwner;
  const users = new Map<string, Set<string>>();
  const use = (what: string, owner: string) => users.set(what, (users.get(what) ?? new Set()).add(owner));
  for (const { owner, services, needs } of view.fragments.values()) {
    for (const s of services) use(serviceKey(s.service), owner);
    for (const v of needs.vips) use(`address ${v.vip.address}`, owner);
    for (const s of needs.sysctls) use(`sysctl ${s.path}`, owner);
    for (const t of needs.tunnels) use(`tunnel ${t.name}`, owner);
    for (const f of needs.fou) use(`fou ${f.port}`, owner);
    if (needs.sourceNat.length + needs.marks.length + needs.mss.length > 0) use('rules', owner);
  }
  for (const failure of view.failures) {
    for (const owner of users.get(subjectOf(failure.operation)) ?? []) {
      const list = byOwner.get(owner);
      if (list) list.push(failure);
      else byOwner.set(owner, [failure]);
    }
  }
  return byOwner;
}

/** What an operation is about, in the words of failuresByOwner; '' where it is nobody's. */
function subjectOf(o: Operation): string {
  if ('service' in o) return serviceKey(o.service);
  if ('vip' in o) return `address ${o.vip.address}`;
  switch (o.kind) {
    case 'addLocalRoute': return `address ${o.route.address}`;
    case 'setSysctl': return `sysctl ${o.sysctl.path}`;
    case 'addTunnel': return `tunnel ${o.tunnel.name}`;
    case 'delTunnel': case 'linkUp': return `tunnel ${o.name}`;
    case 'addFou': case 'delFou': return `fou ${o.fou.port}`;
    case 'setRules': return 'rules';
    default: return '';
  }
}
