// The health bench's results as text: rows for the terminal, and the section of docs/benchmarks.md. Pure, no file is written here.

import { quantile } from '../cluster/measures.ts';
import { spread } from '../statistics.ts';

/** Checks per CPU second of the checking process, a sample each; one check that serves ten services counts ten times. */
export interface Rates { readonly ours: number[]; readonly peer: number[] }

export interface Figures {
  readonly kernel: string;
  /** Version; '' when there was none to compare with. */
  readonly keepalived: string;
  readonly distinct: Rates;
  readonly shared: Rates;
  /** Milliseconds, a sample each. */
  readonly latenessP99: number[];
  readonly pauseMs: number[];
  /** Milliseconds from each death to weight 0 beyond fallCount × period, by sample. */
  readonly beyondMs: number[][];
  missed: number;
  failed: number;
}

export interface Row {
  readonly name: 'distinct' | 'shared' | 'lateness' | 'pause' | 'death' | 'missed';
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly must: string;
  readonly kept: boolean;
}

export interface Circumstances {
  readonly date: string;
  readonly cpu: string;
  readonly commit: string;
  readonly load: readonly [before: number, after: number];
}

/** Samples were taken in turns: the ratio of each pair. */
const ratios = ({ ours, peer }: Rates): number[] => peer.map((p, i) => ours[i]! / p);

export function rowsOf({ distinct, shared, latenessP99, pauseMs, beyondMs, missed, failed }: Figures): Row[] {
  const atLeast = (name: Row['name'], what: string, values: readonly number[], must: number): Row[] => {
    if (values.length === 0) return [];
    const { median } = spread(values);
    return [{ name, what, value: median, unit: '×', must: `≥ ${must}×`, kept: median >= must }];
  };
  const atMost = (name: Row['name'], what: string, value: number, must: number, unit: string): Row => ({ name, what, value, unit, must: `≤ ${must}${unit}`, kept: value <= must });
  return [
    ...atLeast('distinct', 'checks per CPU second, 2,000 distinct targets, against keepalived', ratios(distinct), 1.5),
    ...atLeast('shared', 'the same, 200 targets in 10 services each', ratios(shared), 5),
    atMost('lateness', 'lateness p99 at 2,000 targets every 2 s', spread(latenessP99).median, 250, ' ms'),
    atMost('pause', 'longest pause while 10,000 targets are replaced by others', spread(pauseMs).median, 100, ' ms'),
    atMost('death', 'death of a real server to weight 0 in the kernel, beyond fallCount × period, p99', quantile(beyondMs.flat(), 0.99), 50, ' ms'),
    atMost('missed', 'checks that never were, or failed', missed + failed, 0, ''),
  ];
}

const number = (value: number): string => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const markdownRow = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
const cells = ({ what, value, unit, must, kept }: Row): string[] => [what, `${number(value)}${unit}`, must, kept ? 'must kept' : 'MISSED'];

/** For the terminal. */
export function formatTable(rows: readonly Row[]): string {
  return rows.map((row) => cells(row).map((cell, i) => (i === 0 ? cell.padEnd(84) : cell.padStart(10))).join('  ')).join('\n');
}

function samples({ distinct, shared, latenessP99, pauseMs, beyondMs }: Figures): string[][] {
  const line = (name: string, values: readonly number[], unit: string): string[][] => {
    if (values.length === 0) return [];
    const { n, min, median, max } = spread(values);
    return [[name, String(n), number(min), number(median), number(max), unit]];
  };
  return [
    ...line('distinct targets: ours', distinct.ours, 'checks/CPU s'), ...line('keepalived', distinct.peer, 'checks/CPU s'), ...line('ratio of the pairs', ratios(distinct), '×'),
    ...line('each in 10 services: ours', shared.ours, 'checks/CPU s'), ...line('keepalived', shared.peer, 'checks/CPU s'), ...line('ratio of the pairs', ratios(shared), '×'),
    ...line('lateness p99, upper bound of its bucket', latenessP99, 'ms'), ...line('longest pause', pauseMs, 'ms'),
    ...line('death to weight 0 beyond fallCount × period', beyondMs.flat(), 'ms'), ...line('p99 of each sample', beyondMs.map((sample) => quantile(sample, 0.99)), 'ms'),
  ];
}

/** The section of docs/benchmarks.md; begins with its heading. */
export function formatSection(figures: Figures, { date, cpu, commit, load }: Circumstances): string {
  return `## Health checks

\`npm run bench:health\` measures what is in this section; with \`-- --page\` it writes it anew. It ends with exit code 1 when a "must" is missed. keepalived is the one in PATH, or
\`$KEEPALIVED\`; without one only ours is measured.

Measured on ${date} at commit ${commit}, in one guest of User-Mode Linux (${figures.kernel}) on one pinned CPU: ${cpu}; Node ${process.version}${figures.keepalived === '' ? '' : `; keepalived ${figures.keepalived}`}.
Load average of the host: ${load[0].toFixed(1)} before, ${load[1].toFixed(1)} after.

| measure | result | must | verdict |
| --- | ---: | ---: | ---: |
${rowsOf(figures).map((row) => markdownRow(cells(row))).join('\n')}

### How

* TCP checks of addresses that the same kernel answers for, every two seconds. Ours is \`Checker\`, keepalived its checker process alone, in turns. Checks are those that were really begun:
  ours counts them, keepalived's are the kernel's count of connections. CPU is user and system time of the process. Our one check of a target that is in ten services counts ten times, as keepalived makes ten.
* Lateness: from the moment at which a check is due to that at which it is begun.
* Pause: the longest time that the event loop did not come round while 10,000 checked targets were replaced by 10,000 others, at once.
* Death: \`dist/main.js standalone\` checks 2,000 real servers in 20 VirtualServers every two seconds, \`fallCount\` is 3. A victim stops listening right after it has accepted a check: the worst moment
  there is, as a whole period passes until the next one. Its weight is read from the kernel each 4 ms until it is 0. Given is what that took beyond 3 × 2 s, over all victims of all samples: lateness,
  the last check, the decision, the message to the kernel, and the reading.
* A system call costs User-Mode Linux about ten times what it costs hardware, and both sides make them for each check.

### Samples

| | n | min | median | max | |
|---|---:|---:|---:|---:|---|
${samples(figures).map(markdownRow).join('\n')}
`;
}
