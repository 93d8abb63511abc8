// What is measured, against what, and what is asked of it: the table of the issue as data. How a sample is taken is
// sample.ts and memory.ts; this file runs nothing.

export type Unit = 'times faster' | 'times as long' | 'ms' | 'MB';

export interface Measure {
  /** For --only. Rows of one number are measured together. */
  readonly number: number;
  readonly id: string;
  readonly what: string;
  readonly ours: string;
  /** '' where the bound is absolute. */
  readonly peer: string;
  readonly unit: Unit;
  readonly must: number;
  readonly aim: number;
}

export const MEASURES: readonly Measure[] = [
  {
    number: 1, id: 'apply-1000', what: 'apply 1,000 services × 10 real servers, rr, to an empty table',
    ours: 'readAll, planIpvs, apply', peer: 'ipvsadm -R < file', unit: 'times faster', must: 60, aim: 120,
  },
  {
    number: 2, id: 'apply-10000', what: 'apply 10,000 × 10, rr, to an empty table',
    ours: 'readAll, planIpvs, apply', peer: 'C, one request per ACK', unit: 'times faster', must: 8, aim: 15,
  },
  {
    number: 3, id: 'mh-none', what: 'apply 1,000 × 10, mh, to an empty table',
    ours: 'scheduler `none` first', peer: 'the same without', unit: 'times faster', must: 3, aim: 5,
  },
  {
    number: 4, id: 'replace', what: 'replace 10,000 real servers of 1,000 services by others',
    ours: 'readAll, planIpvs, apply', peer: 'first load of 1,000 × 10', unit: 'times as long', must: 3, aim: 1.5,
  },
  {
    number: 5, id: 'read-back', what: 'read back 10,000 × 10',
    ours: 'readAll as the agent repeats it, the fifth to the ninth time', peer: 'ipvsadm -Sn > /dev/null', unit: 'times faster', must: 15, aim: 30,
  },
  {
    number: 6, id: 'change', what: 'one real server changed on a loaded 10,000 × 10 table: parsed manifest to kernel',
    ours: 'Host.readManifests, Agent.reconcile', peer: '', unit: 'ms', must: 5, aim: 1,
  },
  {
    number: 7, id: 'diff', what: 'diff of 10,000 × 10 unchanged real servers, in memory',
    ours: 'planIpvs, first call', peer: '', unit: 'ms', must: 150, aim: 50,
  },
  {
    number: 8, id: 'memory-idle', what: 'resident memory of `standalone` with one small VirtualServer',
    ours: 'VmRSS', peer: '', unit: 'MB', must: 70, aim: 50,
  },
  {
    number: 8, id: 'memory-100k', what: 'resident memory of `standalone` with 10,000 VirtualServers × 10',
    ours: 'VmRSS', peer: '', unit: 'MB', must: 150, aim: 90,
  },
];

/** Samples of one measure, one number each; pairs of ours and peer were taken one after the other. */
export interface Samples {
  readonly ours: readonly number[];
  readonly peer: readonly number[];
  /** What else was found out, by name. */
  readonly info: Readonly<Record<string, readonly number[]>>;
}

/** What the guest hands back. */
export interface Results {
  readonly kernel: string;
  readonly node: string;
  readonly samples: Readonly<Record<string, Samples>>;
}
