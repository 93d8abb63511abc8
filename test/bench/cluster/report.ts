// The cluster bench's results as text: a table for the terminal, and the section of docs/benchmarks.md. Pure, no file is written here.

import type { Section } from '../page.ts';
import { MEASURES, quantile, type Line, type Measure, type Results, type Unit } from './measures.ts';

/** What the section begins with. */
export const SECTION = '## In a cluster' satisfies Section;

export interface Row { readonly measure: Measure; readonly value: number }

/** Those that were measured. */
export function rowsOf(results: Results): Row[] {
  return MEASURES.flatMap((measure) => {
    const value = measure.value(results);
    return value === null ? [] : [{ measure, value }];
  });
}

export function verdictOf({ measure, value }: Row): 'aim reached' | 'must kept' | 'MISSED' {
  return value <= measure.aim ? 'aim reached' : value <= measure.must ? 'must kept' : 'MISSED';
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

const withUnit = (text: string, unit: Unit): string => (unit === 'times' ? `${text}×` : `${text} ${unit}`);
const HEAD = ['measure', 'result', 'must', 'aim', 'verdict'];

function cells({ measure, value }: { readonly measure: Measure; readonly value: number | null }): string[] {
  const { what, unit, must, aim } = measure;
  const [result, verdict] = value === null ? ['', 'not measured yet'] : [withUnit(number(value), unit), verdictOf({ measure, value })];
  return [what, result, `≤ ${withUnit(String(must), unit)}`, `≤ ${withUnit(String(aim), unit)}`, verdict];
}

/** For the terminal. */
export function formatTable(rows: readonly Row[]): string {
  const lines = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) => line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')).join('\n');
}

/** Of whatever was measured, with what it consists of. */
export function sampleLines(results: Results): string[][] {
  const spread = ({ name, values, unit }: Line): string[] => [name, String(values.length), ...[0, 0.5, 0.99, 1].map((part) => number(quantile(values, part))), unit];
  return MEASURES.flatMap((measure) => {
    const lines = measure.samples(results);
    return lines.length === 0 ? [] : [[`**${measure.what}**`, '', '', '', '', '', ''], ...lines.map(spread)];
  });
}

export interface Circumstances {
  readonly date: string;
  readonly cpu: string;
  readonly commit: string;
  /** Null: not known. */
  readonly load: readonly [before: number, after: number] | null;
}

const markdownRow = (row: readonly string[]): string => `| ${row.join(' | ')} |`;

export function formatSection(results: Results, { date, cpu, commit, load }: Circumstances): string {
  return `${SECTION}

\`npm run bench:cluster\` measures what is in this section and writes it anew; it ends with exit code 1 when a "must" is missed.
\`npm run bench:cluster -- --only 1,3\` takes some rows (1 to 7, from the top; two rows are 5, two are 6), and leaves the page alone. It needs what
\`npm run test:cluster\` needs, and root for rows 1 to 4.

Measured on ${date} at commit ${commit}: ${cpu}; Node ${results.node}. All kernels of directors are network namespaces of a guest of User-Mode Linux
(${results.kernel}) on one pinned CPU. Rows 5 to 7 run in it whole, controller, agents and bench on that one CPU; in rows 1 to 4 the API server, or its stand-in, and the controller
run on the machine beside the guest, as they do in a cluster.${load === null ? '' : ` Load average of the host: ${load[0].toFixed(1)} before, ${load[1].toFixed(1)} after.`}

${markdownRow(HEAD)}
${markdownRow(HEAD.map((_, i) => (i === 0 ? '---' : '---:')))}
${MEASURES.map((measure) => markdownRow(cells({ measure, value: measure.value(results) }))).join('\n')}

### How

* Controller and agents are the processes of \`dist/\`, with their usual options, talking HTTP to an API server and netlink to the kernel.
* **Rows 1 and 2.** The API server is a stand-in in the bench's process (\`test/bench/cluster/stand-in.ts\`): it lists, watches and writes, checks
  nothing, and has one clock for what it sends and hears. It and the controller are on the machine; the director is alone in a guest, over a tap device. Each VirtualServer has its own
  VIP and ten endpoints of a Service. Every 271 ms one endpoint of one Service is replaced by another; the first twenty changes do not count. *Controller*: from just before the slice's
  event goes to its socket until the head of its write of the program arrives. *Agent*: from just before the program's event goes to its socket until word comes over the wire that
  the new real server is in the kernel with a weight, for which the service is read from the kernel each millisecond. The row is the p99 of the sum, less the controller's window of 50 ms, in which it
  waits for what else comes; the way through the API server between the two is not in it. A change that falls into a window that has begun waits less
  than 50 ms, and is counted as if it had waited all of it. What the product does besides (read-back of everything, status, snapshot, Lease) goes on.
* **Row 3.** A real API server with etcd and RBAC and the controller on the machine itself; in the guest, over a tap device, three directors, two real servers and a client
  that opens a new connection 5 ms after the one before. An EndpointSlice's only endpoint is replaced by another: from the \`PUT\`, sent from the guest, to the first connection
  that the new real server answered; window, etcd, watches and all are in it.
* **Row 4.** The same cluster, without a VirtualServer. One file with 1,000 of them, ten real servers each, \`kubectl apply --server-side -f\` on the machine itself; the clock of the guest
  starts when it asks for that and stops when \`ipvsadm -Sn\` on all three directors shows all of it, of which one after the other is asked, twice a second, after kubectl has ended.
* **Row 5.** Stand-in, ten directors on kernels of their own. Counted is every POST, PUT, PATCH and DELETE that arrives. *Churn*: 20 changes a second for
  half a minute, an endpoint more or one less, spread over 20 Services; Leases are left out, and what is written in the 25 s after the last change counts.
  A change alone costs more, for each director then reports by itself (under churn it reports every five seconds); that is in the table below. *Idle*: everything, Leases included, over half a minute.
* **Rows 6 and 7.** VmRSS, read 35 s after the last write, of as many processes as the table says. Stand-in; the controller of row 7 has no directors. MB are 10^6 bytes.

### What rows 1 and 2 meet

Half of the changes take what the controller's pass and the agent's pass take, some milliseconds. A change waits for no more than a few milliseconds of anything else: the controller writes
statuses between its passes; in the agent everything is compared every ten seconds in pieces, claims are looked at when something changed, a few VIPs at a time, and of a report only what is new is made and sent.
What still holds the agent up as a whole, for some tens of milliseconds about once a minute, are garbage collections of its old generation.

### Samples

| | n | min | median | p99 | max | |
|---|---:|---:|---:|---:|---:|---|
${sampleLines(results).map(markdownRow).join('\n')}
`;
}
