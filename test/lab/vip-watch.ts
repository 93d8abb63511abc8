// Which hosts have which VIPs on their NICs, at every moment: the kernel itself tells each address that comes or goes
// (`ip monitor`), so nothing falls between two looks, and through one socket for all hosts, so in the order in which it happened. Not for loopback
// or tunnel devices, where real servers have VIPs.

import { createInterface } from 'node:readline';
import type { Lab } from './lab.ts';
import { runCommand, startProcess } from './process.ts';

export interface VipMove { readonly host: string; readonly vip: string; readonly kind: 'came' | 'went'; readonly atMs: number }

export interface VipWatch {
  /** Every VIP that came to a NIC or left one, in order. */
  readonly moves: readonly VipMove[];
  /** Moments at which a VIP was on two hosts; empty is what everybody wants. */
  readonly overlaps: readonly string[];
  /** Who has a VIP now, by what was seen. */
  holders(vip: string): string[];
  /** Resolves when everything that happened on all hosts before is seen. Rejects when a host cannot be watched any more. */
  caughtUp(): Promise<void>;
}

/**
 * `ip -o monitor all-nsid`: `[nsid 1]3: ...    inet 10.0.1.200/32 scope global deprecated e0\ ...`, with `Deleted ` in front when it went. The name
 * after the number is that of a link here with the same number; the last word before the line break is the one there.
 */
const addressLine = /^(Deleted )?\d+: \S+\s+inet ([0-9.]+)\/32 [^\\]*?(\S+)\\/;
/** An address of nobody, whose neighbour entry marks a place in the stream of what is told; nobody else looks at those. */
const marker = '192.0.2.98';
const markLine = /^192\.0\.2\.98 .*lladdr ([0-9a-f:]+)/;

/** Watches `link` of hosts that have no VIP yet. Ends with the scenario. */
export async function watchVips(lab: Lab, hosts: readonly string[], link = 'e0'): Promise<VipWatch> {
  const moves: VipMove[] = [];
  const overlaps: string[] = [];
  const held = new Map<string, Set<string>>();
  /** Marks seen, as `host mac`. */
  const seen = new Set<string>();
  let marks = 0;
  const take = (host: string, line: string): void => {
    const mark = markLine.exec(line)?.[1];
    if (mark !== undefined) seen.add(`${host} ${mark}`);
    const [, gone, vip, where] = addressLine.exec(line) ?? [];
    if (where !== link) return;
    moves.push({ host, vip: vip!, kind: gone ? 'went' : 'came', atMs: Math.round(performance.now()) });
    const holders = held.get(vip!) ?? new Set();
    held.set(vip!, holders);
    if (gone) holders.delete(host);
    else holders.add(host);
    if (holders.size > 1) overlaps.push(`${vip} on ${[...holders].join(' and ')}`);
  };
  const numbers = await numberNamespaces(hosts);
  // One process a host would tell what happened on two of them in the order in which they get the CPU.
  const monitor = startProcess(['ip', '-o', 'monitor', 'address', 'neigh', 'all-nsid']);
  createInterface({ input: monitor.stdout! }).on('line', (text) => {
    const [, number, line] = /^\[nsid (\d+)\](.*)$/.exec(text) ?? [];
    const host = number === undefined ? undefined : numbers.get(number);
    if (host !== undefined) take(host, line!);
  });
  monitor.stderr!.resume();
  const caughtUp = async (): Promise<void> => {
    await Promise.all(hosts.map((host) => lab.eventually(async () => {
      const mac = `02:00:00:98:${(++marks >>> 8).toString(16).padStart(2, '0')}:${(marks & 0xff).toString(16).padStart(2, '0')}`;
      await lab.host(host).sh(`ip neigh replace ${marker} lladdr ${mac} dev ${link} nud permanent; ip neigh del ${marker} dev ${link}`);
      for (let tries = 0; tries < 20 && !seen.has(`${host} ${mac}`); tries++) await lab.sleep(50);
      return seen.has(`${host} ${mac}`);
    }, { withinMs: 30_000, what: `what happens on ${host} is seen` })));
  };
  await caughtUp();
  return { moves, overlaps, caughtUp, holders: (vip) => [...held.get(vip) ?? []] };
}

/** Gives the hosts' namespaces numbers here, without which nobody hears of them; the hosts by number. */
async function numberNamespaces(hosts: readonly string[]): Promise<Map<string, string>> {
  for (const host of hosts) await runCommand(['ip', 'netns', 'set', host, 'auto']); // It fails where there is one: the list tells.
  const { stdout } = await runCommand(['ip', 'netns', 'list-id']);
  const numbers = new Map([...stdout.matchAll(/^nsid (\d+) \(iproute2 netns name: (\S+)\)$/gm)].filter(([, , name]) => hosts.includes(name!)).map(([, number, name]) => [number!, name!]));
  if (numbers.size !== hosts.length) throw new Error(`not every host has a number: ${stdout}`);
  return numbers;
}
