// Everything that must be the same after a rollout whoever was killed in it, as lines of text: IPVS tables and addresses of all
// nodes, and what the API server has of the product, without what counts or tells time. Reading it changes nothing.

import type { Lab, LabCluster } from '../lab.ts';
import { runCommand } from '../process.ts';
import { directors, realServers } from './fleet-services.ts';

const nodes = [...directors, ...realServers].map(({ name }) => name);

/** Runs a command on all nodes, one after the other, in as few processes as can be: a guest has one CPU, and what is looked at needs it. By node. */
async function onAll(lab: Lab, command: (node: string) => string): Promise<[node: string, lines: string[]][]> {
  const script = nodes.map((node) => `echo '== ${node}'\n${command(node)}`).join('\n');
  const { stdout, stderr, code } = await runCommand(['sh', '-c', script], { signal: lab.signal });
  if (code !== 0 || stderr !== '') throw new Error(`the state of the kernel: ${stderr}`);
  return stdout.split(/^== /m).slice(1).map((part) => {
    const [node, ...lines] = part.trimEnd().split('\n');
    return [node!, lines];
  });
}

/** IPVS tables and addresses. */
export async function kernelState(lab: Lab): Promise<string> {
  const all = await onAll(lab, (node) => `ip -n ${node} -o addr show; nsenter --net=/run/netns/${node} ipvsadm -Sn`);
  // `3: e0    inet 10.0.1.200/32 scope global e0\       valid_lft ...`; `-a -t 10.0.1.200:80 -r ...`
  const line = (text: string): string => /^\d+: ([^\\]*)/.exec(text)?.[1]?.replace(/ +/g, ' ') ?? text;
  return all.map(([node, lines]) => lines.map((text) => `${node} ${line(text)}`).sort().join('\n')).join('\n');
}

interface Resource {
  readonly metadata: { readonly name: string; readonly generation?: number };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>> & { readonly conditions?: readonly Condition[] };
}
interface Condition { readonly type: string; readonly status: string; readonly reason: string; readonly observedGeneration?: number }

const resources = ['virtualservers', 'virtualserverprograms', 'virtualips', 'ipvsnodes', 'directorgroups', 'vippools'];
/** What counts up, or tells when; and of a program of which generation it is, while its hash says what it is. */
const moving = new Set(['generation', 'since', 'epoch', 'drifts', 'observedGeneration', 'uid']);

async function list(cluster: LabCluster, plural: string): Promise<Resource[]> {
  const { status, body } = await cluster.request<{ items: Resource[] }>('GET', `/apis/ipvs-operator.dev/v1alpha1/${plural}`, undefined, { timeoutMs: 10_000 });
  if (status !== 200) throw new Error(`GET ${plural}: ${status}`);
  return body.items;
}

/** One line an object, and `stale` in it where a status is not of the newest generation. Rejects when the API server does not answer for all. */
export async function apiState(cluster: LabCluster): Promise<string> {
  const lines: string[] = [];
  for (const plural of resources) {
    for (const { metadata, spec, status } of await list(cluster, plural)) {
      const stale = status?.['observedGeneration'] !== undefined && status['observedGeneration'] !== metadata.generation ? ' stale' : '';
      const { conditions = [], ...rest } = status ?? {};
      const told = [...conditions].map((c) => `${c.type}=${c.status} ${c.reason}`).sort();
      lines.push(`${plural} ${metadata.name}${stale} ${JSON.stringify({ spec, status: rest }, (key, value: unknown) => (moving.has(key) ? undefined : value))} ${told.join(', ')}`);
    }
  }
  return lines.sort().join('\n');
}

/**
 * What else the product changes on nodes: links, routes, rules, sysctls of IPVS and of IPv4 interfaces, packet filter. Not all of /proc/sys as
 * lab.snapshot reads it: that takes the CPU away from whoever has to renew a Lease.
 */
export async function restOfKernel(lab: Lab): Promise<string> {
  const one = 'ip -o link show; ip -4 route show table all; ip -4 rule show; grep -s . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/vs/* /proc/sys/net/ipv4/conf/*/*; iptables-legacy-save';
  const all = await onAll(lab, (node) => `nsenter --net=/run/netns/${node} sh -c '${one}'`);
  // Comments of iptables-save tell the time, brackets count packets.
  return all.map(([node, lines]) => lines.filter((text) => !text.startsWith('#')).map((text) => `${node} ${text.replace(/\[\d+:\d+\]/, '').replace(/^\d+: /, '')}`).join('\n')).join('\n');
}
