/** A host's status for people: the overview, and one VirtualServer in full. Pure. Decides nothing: what is ok was decided in standalone/status.ts. */
import type { Condition, HostStatus, ServerStatus } from '../standalone/status.ts';
import { connectionsOf, type LiveRealServer } from './status-live.ts';
import { formatSeconds, formatTable, oneLine } from './table.ts';

export interface StatusView {
  readonly status: HostStatus;
  /** Since the status was written. */
  readonly ageSeconds: number;
  /** Whether the process that wrote it still runs. */
  readonly running: boolean;
  /** By VirtualServer; empty where nothing is known. */
  readonly realServers: ReadonlyMap<string, readonly LiveRealServer[]>;
  /** What could not be looked at, and why. */
  readonly missing: readonly string[];
}

export function overviewText(view: StatusView): string {
  const { status } = view;
  const names = Object.keys(status.virtualServers).sort();
  const rows = names.map((name) => {
    const s = status.virtualServers[name]!;
    const ready = deciding(s);
    return [name, s.mode, s.addresses.join(',') || '-', s.ports, backendsText(s), s.role, conditionOf(s, 'Ready')?.status ?? 'Unknown', ready?.reason ?? '-'];
  });
  return [
    headText(view),
    rows.length > 0 ? `\n${formatTable(['VIRTUAL SERVER', 'MODE', 'ADDRESS', 'PORTS', 'BACKENDS', 'ROLE', 'READY', 'REASON'], rows)}` : '\nno VirtualServers\n',
    connectionsText(view),
    section('Problems in manifests', status.problems.map((p) => `${p.severity}: ${p.file}: ${p.object ? `${p.object}: ` : ''}${p.message}`)),
    section('Failed operations', status.failures.map((f) => `${f.operation}: ${f.message}`)),
    section('Not ours, not touched', [
      ...status.foreign.services.map((s) => `service ${s}`),
      ...status.foreign.destinations.map((d) => `real server ${d}`),
      ...status.foreign.addresses.map((a) => `address ${a}`),
    ]),
    section('Notes', status.notes),
    section('Not shown', view.missing),
  ].join('');
}

export function serverText(view: StatusView, name: string): string {
  const s = view.status.virtualServers[name]!;
  const facts: readonly (readonly [string, string])[] = [
    ['mode', s.mode], ['addresses', s.addresses.join(', ') || 'none'], ['ports', s.ports], ['scheduler', s.scheduler],
    ['role', s.role], ['backends', backendsText(s)],
  ];
  const rows = view.realServers.get(name) ?? [];
  const state = (r: LiveRealServer) => (r.state === 'draining' ? `draining, ${formatSeconds(r.drainSecondsLeft ?? 0)} left` : STATE_TEXT[r.state]);
  const hidden = s.excludedCount - s.excluded.length;
  const realServers = rows.map((r) => [r.realServer, r.service, r.weight, r.active, r.inactive, state(r)]);
  const excluded = s.excluded.map((e) => [e.backend, e.reason, e.message]);
  const more = hidden > 0 ? `and ${hidden} more\n` : '';
  return [
    headText(view),
    `\nVirtualServer ${name}\n${facts.map(([key, value]) => `  ${key.padEnd(10)}${value}\n`).join('')}`,
    `\n${formatTable(['CONDITION', 'STATUS', 'REASON', 'MESSAGE'], s.conditions.map((c) => [c.type, c.status, c.reason, c.message]))}`,
    rows.length > 0 ? `\n${formatTable(['REAL SERVER', 'SERVICE', 'WEIGHT', 'ACTIVE', 'INACTIVE', 'STATE'], realServers)}` : '',
    s.excluded.length > 0 ? `\n${formatTable(['EXCLUDED', 'REASON', 'MESSAGE'], excluded)}${more}` : '',
    section('Health checks that fail', s.unhealthy ?? []),
    section('Problems in manifests', view.status.problems.filter((p) => p.object.endsWith(`/${name}`)).map((p) => `${p.severity}: ${p.file}: ${p.message}`)),
    section('Not shown', view.missing),
  ].join('');
}

/** Whether a VirtualServer is all that its manifest asks for; a suspended one is, and one that is served in an older form is not. */
export function serverOk(s: ServerStatus): boolean {
  return s.conditions.every((c) => c.reason === 'Suspended' || (c.status === 'True' && c.reason !== 'UsingLastGood'));
}

const STATE_TEXT: Record<Exclude<LiveRealServer['state'], 'draining'>, string> = {
  serving: 'serving', quiesced: 'no new connections (weight 0)', missing: 'not in the kernel', extra: 'in the kernel, not in the manifest', unknown: 'not looked at',
};

function headText({ status, ageSeconds, running }: StatusView): string {
  const state = status.ok ? 'ok' : status.error ? 'failing' : status.settled ? 'not ok' : 'working';
  const lines = [`host ${oneLine(status.node)}: ${state}, as of ${formatSeconds(ageSeconds)} ago`];
  if (!running) lines.push(`the process that wrote this (pid ${status.pid}) has ended: nobody applies changes or repairs drift; the kernel goes on forwarding`);
  if (status.error) lines.push(`last reconcile: ${oneLine(status.error)}`);
  const { release, ipvs, netfilter } = status.kernel;
  const kernel = `kernel ${release || 'unknown'}, IPVS ${ipvs ?? 'none'}, packet filter ${netfilter ?? 'none'}`;
  lines.push(`${kernel}; ${status.operations} operations, ${status.drifts} drifts repaired`);
  return lines.map((l) => `${l}\n`).join('');
}

function connectionsText({ realServers }: StatusView): string {
  const sum = connectionsOf([...realServers.values()].flat());
  return sum ? `\nconnections: ${sum.active} active, ${sum.inactive} inactive\n` : '';
}

function backendsText({ backends }: ServerStatus): string {
  const notes = [[backends.unhealthy, 'unhealthy'], [backends.ignored, 'failing and kept'], [backends.draining, 'draining']]
    .flatMap(([n, what]) => (n ? [`${n} ${what}`] : []));
  return `${backends.ready}/${backends.total}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`;
}

function conditionOf(s: ServerStatus, type: string): Condition | undefined {
  return s.conditions.find((c) => c.type === type);
}

/** The condition that says why: not "NotAccepted", but what Accepted says. */
function deciding(s: ServerStatus): Condition | undefined {
  const ready = conditionOf(s, 'Ready');
  if (ready?.reason === 'NotAccepted') return conditionOf(s, 'Accepted') ?? ready;
  if (ready?.reason === 'NotProgrammed') return conditionOf(s, 'Programmed') ?? ready;
  return ready;
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `\n${title}:\n${lines.map((l) => `  ${oneLine(l)}\n`).join('')}`;
}
