// The results as text: a table for the terminal, and docs/benchmarks.md. Pure, no file is written here.

import { MEASURES, type Measure, type Results } from './measures.ts';
import { judged, spread, verdict, type Spread, type Verdict } from './statistics.ts';

export interface Row {
  readonly measure: Measure;
  readonly ours: Spread;
  readonly peer: Spread | null;
  readonly judged: Spread;
  readonly verdict: Verdict;
  readonly info: readonly (readonly [name: string, values: Spread])[];
}

/** One row for each measure that has samples, in the order of the table. */
export function rowsOf({ samples }: Results): Row[] {
  return MEASURES.flatMap((measure) => {
    const taken = samples[measure.id];
    if (taken === undefined) return [];
    const values = spread(judged(measure, taken));
    return [{
      measure, ours: spread(taken.ours), peer: taken.peer.length > 0 ? spread(taken.peer) : null, judged: values, verdict: verdict(measure, values.median),
      info: Object.entries(taken.info).map(([name, list]) => [name, spread(list)] as const),
    }];
  });
}

const VERDICTS: Record<Verdict, string> = { aim: 'aim reached', must: 'must kept', MISSED: 'MISSED' };

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function withUnit(value: number, { unit }: Measure): string {
  return unit === 'ms' || unit === 'MB' ? `${number(value)} ${unit}` : `${number(value)}×`;
}

function bound(value: number, measure: Measure): string {
  return `${measure.unit === 'times faster' ? '≥' : '≤'} ${measure.unit === 'ms' || measure.unit === 'MB' ? `${value} ${measure.unit}` : `${value}×`}`;
}

const sampleUnit = ({ unit }: Measure): string => (unit === 'MB' ? 'MB' : 'ms');

function cells({ measure, ours, peer, judged: values, verdict: outcome }: Row): string[] {
  return [
    measure.what, `${number(ours.median)} ${sampleUnit(measure)}`, peer === null ? '' : `${number(peer.median)} ms`, withUnit(values.median, measure),
    bound(measure.must, measure), bound(measure.aim, measure), VERDICTS[outcome],
  ];
}

const HEAD = ['measure', 'ours', 'peer', 'result', 'must', 'aim', 'verdict'];

/** For the terminal. */
export function formatTable(rows: readonly Row[]): string {
  const lines = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) => line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')).join('\n');
}

export interface Circumstances {
  /** ISO date. */
  readonly date: string;
  /** Model name of the CPU, and how many the host has. */
  readonly cpu: string;
  readonly commit: string;
  /** Load average of the host before and after. */
  readonly load: readonly [before: number, after: number];
}

const markdownRow = (row: readonly string[]): string => `| ${row.join(' | ')} |`;

function details({ measure, ours, peer, judged: values, info }: Row): string[][] {
  const line = (name: string, s: Spread, unit: string): string[] => [name, String(s.n), number(s.min), number(s.median), number(s.max), unit];
  const unit = sampleUnit(measure);
  return [
    line(`**${measure.what}**: ${measure.ours}`, ours, unit),
    ...(peer === null ? [] : [line(`peer: ${measure.peer}`, peer, unit), line('ratio of the pairs', values, measure.unit)]),
    ...info.map(([name, s]) => line(`for information: ${name}`, s, unit)),
  ];
}

/** docs/benchmarks.md. */
export function formatDocument(rows: readonly Row[], results: Results, { date, cpu, commit, load }: Circumstances): string {
  return `# Benchmarks

\`npm run bench\` measures what is in this page, prints the table and writes the page anew; it ends with exit code 1 when a
"must" is missed. \`npm run bench -- --only 1,6\` takes some rows, and leaves the page alone.

Measured on ${date} at commit ${commit}, in one guest of User-Mode Linux (${results.kernel}) on one pinned CPU: ${cpu}; Node ${results.node}.
Load average of the host: ${load[0].toFixed(1)} before, ${load[1].toFixed(1)} after. Absolute times move with the machine, and twofold with what
else it does; ratios are of pairs taken one after the other.

${markdownRow(HEAD)}
${markdownRow(HEAD.map((_, i) => (i === 0 ? '---' : '---:')))}
${rows.map((row) => markdownRow(cells(row))).join('\n')}

A system call costs User-Mode Linux about ten times what it costs hardware. That overstates what batching gains over peers that
need a call for each change, and understates nothing of ours. On hardware expect the same order, with smaller ratios.

## How

* Each sample runs in a fresh network namespace (the kernel keeps deleted real servers for two minutes and walks them at each
  addition) and in a fresh process. Ours and the peer take turns, and take turns in going first.
* Ours is the product's own code (\`planIpvs\`, \`IpvsClient\`, \`Host\`, \`Agent\`) from the sources. The start of the process is not
  measured; the first-run compilation of the code is, except where a row says otherwise. Desired state lies in memory. A row that
  applies begins with reading what is there.
* \`ipvsadm\` (Debian's) is measured as a user sees it: fork, exec, and reading its file included.
* The C peer (\`test/bench/per-ack.c\`) sends one request and waits for its acknowledgement, as other controllers do; "C, batch" is
  the same program with 64 KiB a send and one acknowledgement: the floor.
* After each sample the kernel is asked: the product's own reading and diff must find no difference, and \`/proc/net/ip_vs\`
  the right numbers.
* "Replace" and its first load run in one process, in a namespace of their own, after the same was done once in another
  one: both warm. Both cold is given for information.
* "Change" goes through the compiler, the agent and the kernel with 10,000 VirtualServers loaded, each with a VIP of its own; a sample is
  the median of 25 changes in a row. Files that are written behind it (snapshot, status) are not in it; the clock
  stops when the kernel has the change.
* "Read back" goes by dumps, many of them in one system call, because the product finds that a call costs much here; where it costs little, as on
  hardware, the product asks by \`getsockopt\`, once a service (\`src/kernel/ipvs/dumped-tables.ts\`). A sample is the median of the fifth to the
  ninth reading of a process; one of five besides asks netlink for the list of services, as the product does once a minute.
* Memory is that of \`node dist/main.js standalone\`, read 35 s after it settled. MB are 10^6 bytes.

## Samples

| | n | min | median | max | |
|---|---:|---:|---:|---:|---|
${rows.flatMap(details).map(markdownRow).join('\n')}
`;
}
