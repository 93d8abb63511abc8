/**
 * An IPVS table as text for `ipvsadm -R`, one command a line, numbers only, as `ipvsadm-save -n` writes it. Pure.
 * Two differences: thresholds are written (ipvsadm forgets them when it saves), at the end of the line; and no flag is lost.
 * The way back is ipvsadm-parse.ts.
 */
import { ADDRESS_BITS } from '../ip/ip.ts';
import { destinationKey, SERVICE_FLAG, TUNNEL_FLAG, type Destination, type Service } from '../kernel/ipvs/types.ts';
import { netmaskOf, type TableEntry } from './ipvs-table.ts';

const SERVICE_OPTION = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service' } as const;

/** Names of the three scheduler flags: sh and mh have their own for two of them. */
export const FLAG_NAMES: Readonly<Record<string, readonly (readonly [bit: number, name: string])[]>> = {
  sh: [[SERVICE_FLAG.sched1, 'sh-fallback'], [SERVICE_FLAG.sched2, 'sh-port'], [SERVICE_FLAG.sched3, 'flag-3']],
  mh: [[SERVICE_FLAG.sched1, 'mh-fallback'], [SERVICE_FLAG.sched2, 'mh-port'], [SERVICE_FLAG.sched3, 'flag-3']],
};
export const PLAIN_FLAG_NAMES = [[SERVICE_FLAG.sched1, 'flag-1'], [SERVICE_FLAG.sched2, 'flag-2'], [SERVICE_FLAG.sched3, 'flag-3']] as const;

/** The table as text, in the order given; ends with a newline unless empty. */
export function printIpvsadm(entries: readonly TableEntry[]): string {
  const lines: string[] = [];
  for (const { service, destinations } of entries) {
    const key = serviceWords(service);
    lines.push(`-A ${key}${scheduling(service)}\n`);
    for (const d of destinations) lines.push(`-a ${key} -r ${destinationKey(d)}${forwarding(d)}\n`);
  }
  return lines.join('');
}

function serviceWords(s: Service): string {
  if (s.fwmark !== 0) return `-f ${s.fwmark}${s.family === 'IPv6' ? ' -6' : ''}`;
  return `${SERVICE_OPTION[s.protocol]} ${destinationKey(s)}`;
}

function scheduling(s: Service): string {
  let text = ` -s ${s.scheduler}`;
  if (s.flags & SERVICE_FLAG.persistent) {
    text += ` -p ${s.timeoutSeconds}`;
    if (s.prefixLength !== ADDRESS_BITS[s.family]) text += ` -M ${s.family === 'IPv4' ? netmaskOf(s.prefixLength) : s.prefixLength}`;
  }
  if (s.engine !== '') text += ` --pe ${s.engine}`;
  if (s.flags & SERVICE_FLAG.onePacket) text += ' -o';
  const names = (FLAG_NAMES[s.scheduler] ?? PLAIN_FLAG_NAMES).filter(([bit]) => s.flags & bit).map(([, name]) => name);
  return names.length > 0 ? `${text} -b ${names.join(',')}` : text;
}

function forwarding(d: Destination): string {
  // `local` cannot be asked for: the kernel finds out by itself that an address is its own.
  let text = ` ${d.method === 'masq' ? '-m' : d.method === 'tunnel' ? '-i' : '-g'} -w ${d.weight}`;
  if (d.method === 'tunnel') text += tunnel(d);
  if (d.upper !== 0) text += ` -x ${d.upper}`;
  if (d.lower !== 0) text += ` -y ${d.lower}`;
  return text;
}

function tunnel(d: Destination): string {
  if (d.tunnelType === 'ipip') return ' --tun-type ipip';
  const port = d.tunnelType === 'gue' ? ` --tun-port ${d.tunnelPort}` : '';
  const checksum = d.tunnelFlags & TUNNEL_FLAG.remoteChecksum ? '--tun-remcsum' : d.tunnelFlags & TUNNEL_FLAG.checksum ? '--tun-csum' : '--tun-nocsum';
  return ` --tun-type ${d.tunnelType}${port} ${checksum}`;
}
