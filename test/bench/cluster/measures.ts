// What the cluster bench measures, and what is asked of it, as data; and the arithmetic from samples to the numbers that are judged.
// How a sample is taken is pipeline.ts, real.ts, writes.ts and memory.ts.

import type { MemorySample } from './memory.ts';
import type { PipelineSample } from './pipeline.ts';
import type { ApplySample } from './real.ts';
import type { WritesSample } from './writes.ts';

/** What the guest hands back: what was asked for. */
export interface Results {
  readonly kernel: string;
  readonly node: string;
  /** By number of services. */
  readonly pipeline: Readonly<Record<string, readonly PipelineSample[]>>;
  /** Milliseconds. */
  readonly connections?: readonly number[];
  readonly apply?: ApplySample;
  readonly writes?: WritesSample;
  readonly idleAgents?: readonly MemorySample[];
  readonly loadedAgents?: readonly MemorySample[];
  readonly controllers?: readonly MemorySample[];
}

export type Unit = 'ms' | 's' | 'times' | 'MB' | 'writes' | 'writes/s';

export interface Measure {
  /** For --only. Rows of one number are measured together. */
  readonly number: number;
  readonly what: string;
  readonly unit: Unit;
  readonly must: number;
  readonly aim: number;
  /** Null: not measured. */
  readonly value: (results: Results) => number | null;
  /** What else was found out: name, number of samples, min, median, p99, max. */
  readonly samples: (results: Results) => readonly Line[];
}

export interface Line { readonly name: string; readonly values: readonly number[]; readonly unit: Unit }

/** The controller waits so long for what comes together (COALESCE_MS in src/controller/controller.ts). */
export const WINDOW_MS = 50;
/** Real servers of each VirtualServer. */
export const REALS = 10;
export const SIZES = { least: 100, usual: 1_000, most: 5_000 } as const;

/** The smallest value that `part` of them do not exceed. Throws RangeError on none. */
export function quantile(values: readonly number[], part: number): number {
  if (values.length === 0) throw new RangeError('no samples');
  return [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(part * values.length) - 1)]!;
}

const p99 = (values: readonly number[]): number => quantile(values, 0.99);
const sum = (list: readonly PipelineSample[]): number[] => list.map((s) => s.controllerMs + s.agentMs);
const work = ({ pipeline }: Results, size: number): number | null => (pipeline[size] === undefined ? null : p99(sum(pipeline[size])) - WINDOW_MS);

function pipelineLines({ pipeline }: Results, sizes: readonly number[]): Line[] {
  return sizes.flatMap((size) => {
    const list = pipeline[size];
    if (list === undefined) return [];
    const name = size.toLocaleString('en');
    return [
      { name: `${name} services: controller, its window of ${WINDOW_MS} ms in it`, values: list.map((s) => s.controllerMs), unit: 'ms' as const },
      { name: `${name} services: agent`, values: list.map((s) => s.agentMs), unit: 'ms' as const },
      { name: `${name} services: both`, values: sum(list), unit: 'ms' as const },
      { name: `${name} services: the same with the stand-in's round trip`, values: list.map((s) => s.wholeMs), unit: 'ms' as const },
    ];
  });
}

const memoryLines = (list: readonly MemorySample[] | undefined): Line[] => (list === undefined ? [] : [
  { name: 'VmRSS', values: list.map((s) => s.resident), unit: 'MB' }, { name: 'peak (VmHWM)', values: list.map((s) => s.peak), unit: 'MB' },
  { name: 'of it mapped files (RssFile)', values: list.map((s) => s.files), unit: 'MB' },
]);
const medianMemory = (list: readonly MemorySample[] | undefined): number | null => (list === undefined ? null : quantile(list.map((s) => s.resident), 0.5));

export const MEASURES: readonly Measure[] = [
  {
    number: 1, what: `slice event to kernel, 1,000 services: controller and agent, p99, without the window of ${WINDOW_MS} ms and the API's round trips`, unit: 'ms', must: 50, aim: 10,
    value: (r) => work(r, SIZES.usual), samples: (r) => pipelineLines(r, [SIZES.usual]),
  },
  {
    number: 2, what: 'the same with 5,000 services, against 100', unit: 'times', must: 1.5, aim: 1.1,
    value: (r) => { const [most, least] = [work(r, SIZES.most), work(r, SIZES.least)]; return most === null || least === null ? null : most / least; },
    samples: (r) => pipelineLines(r, [SIZES.least, SIZES.most]),
  },
  {
    number: 3, what: 'EndpointSlice written to first new connection on the new real server, p99, window and real API server in it', unit: 'ms', must: 500, aim: 150,
    value: (r) => (r.connections === undefined ? null : p99(r.connections)), samples: (r) => (r.connections === undefined ? [] : [{ name: 'PUT sent to connection answered', values: r.connections, unit: 'ms' }]),
  },
  {
    number: 4, what: '1,000 VirtualServers × 10 applied by one kubectl, to the kernels of three directors, real API server', unit: 's', must: 30, aim: 10,
    value: (r) => (r.apply === undefined ? null : r.apply.programmedMs / 1000),
    samples: (r) => (r.apply === undefined ? [] : [
      { name: 'kubectl apply --server-side itself', values: [r.apply.kubectlMs / 1000], unit: 's' }, { name: 'programmed', values: [r.apply.programmedMs / 1000], unit: 's' }, { name: 'all are Ready', values: [r.apply.readyMs / 1000], unit: 's' },
      ...(r.apply.writes === undefined ? [] : [
        { name: 'writes for each VirtualServer until all are programmed, besides kubectl\'s', values: [r.apply.writes.programmed], unit: 'writes' as const },
        { name: 'the same a minute later: events and all', values: [r.apply.writes.all], unit: 'writes' as const },
      ]),
    ]),
  },
  {
    number: 5, what: 'writes for each change of an endpoint, of all kinds, under churn; 1,000 VirtualServers, 10 directors', unit: 'writes', must: 2, aim: 1.1,
    value: (r) => r.writes?.perChange ?? null, samples: (r) => (r.writes === undefined ? [] : [{ name: 'for one change alone in 25 s', values: [r.writes.perLoneChange], unit: 'writes' }]),
  },
  {
    number: 5, what: 'writes a second while nothing happens, Leases included', unit: 'writes/s', must: 6, aim: 5.1,
    value: (r) => r.writes?.idlePerSecond ?? null, samples: () => [],
  },
  { number: 6, what: 'resident memory of an agent with one VirtualServer', unit: 'MB', must: 70, aim: 55, value: (r) => medianMemory(r.idleAgents), samples: (r) => memoryLines(r.idleAgents) },
  { number: 6, what: 'resident memory of an agent with 1,000 VirtualServers × 10', unit: 'MB', must: 90, aim: 65, value: (r) => medianMemory(r.loadedAgents), samples: (r) => memoryLines(r.loadedAgents) },
  { number: 7, what: 'resident memory of the controller with 1,000 VirtualServers × 100', unit: 'MB', must: 220, aim: 150, value: (r) => medianMemory(r.controllers), samples: (r) => memoryLines(r.controllers) },
];
