// A host's state as text, for comparing before and after: addresses, links, routes, rules, sysctls, IPVS, packet filter.
// Counters, times and the kernel's own moving numbers are left out, so that two snapshots of an idle host are equal.

import { inHost, runCommand } from './process.ts';
import type { SnapshotOptions } from './lab.ts';

const script = `
# ipvsadm -Sn forgets thresholds; behind them stand connections, which come and go.
section() { sed "s|^|$1 |"; }
ip -o addr show | sed 's/^[0-9]*: //; s/  */ /g; s/\\\\.*//' | section address
ip -o link show | sed 's/^[0-9]*: //; s/\\\\/ /; s/  */ /g' | section link
ip -4 route show table all | section route
ip -6 route show table all | sed 's/ expires [0-9]*sec//; s/ error -[0-9]*//' | section route
ip -4 rule show | section rule
ip -6 rule show | section rule
grep -rs . /proc/sys/net | sed 's|^/proc/sys/||; s|/|.|g' | grep -v -e nf_conntrack_count -e nf_conntrack_buckets | sort | section sysctl
[ ! -e /proc/net/ip_vs ] || { ipvsadm -Sn | sort; ipvsadm -Ln --thresholds | awk '\$1 != "->" {at = \$1 " " \$2} \$1 == "->" && \$3 + \$4 > 0 {print at, \$2, \$3, \$4}' | sort; ipvsadm -L --timeout; ipvsadm -L --daemon; } | section ipvs
for four in "" 6; do
  [ ! -e /proc/net/ip\${four}_tables_names ] || ip\${four}tables-legacy-save | sed '/^#/d; s/\\[[0-9:]*\\]//' | section filter\${four:-4}
done
if [ "$LAB_GUEST" = qemu ] && command -v nft >/dev/null; then nft list ruleset | section nft; fi
`;

/** Lines, each beginning with its section. Rejects when a part cannot be read. */
export async function snapshot(host: string, options: SnapshotOptions, signal: AbortSignal): Promise<string> {
  const result = await runCommand(inHost(host, ['sh', '-c', script]), { signal });
  if (result.stderr.trim() !== '') throw new Error(`snapshot of ${host}: ${result.stderr}`);
  const lines = result.stdout.split('\n').filter((line) => line !== '' && (options.filter?.(line) ?? true));
  return `${lines.join('\n')}\n`;
}
