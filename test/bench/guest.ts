// The benchmark inside the guest: takes samples, ours and the peer's in turns, each in a fresh namespace, and leaves the
// numbers in $LAB_WORK/results.json. What a sample is: sample.ts, per-ack.c, memory.ts. It judges nothing.
//   node test/bench/guest.ts PER-ACK SAMPLES NUMBER ...

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Results, Samples } from './measures.ts';
import { memorySamples } from './memory.ts';
import { addNamespace, dropNamespace } from './namespace.ts';
import { ipvsadmCommands } from './workload.ts';

const [perAck = '', count = '5', ...chosen] = process.argv.slice(2);
const n = Number(count);
const numbers = new Set(chosen.map(Number));
const restoreFile = '/run/restore.ipvsadm';

type One = Record<string, number>;

/** Runs one sample in a fresh namespace of its own, or in `namespace`. */
async function sample(argv: readonly string[], namespace?: string): Promise<One> {
  const name = namespace ?? addNamespace();
  try {
    const out = execFileSync('nsenter', [`--net=/run/netns/${name}`, ...argv], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 20 });
    return argv[0] === perAck ? { ms: Number(out) } : JSON.parse(out.trim().split('\n').at(-1)!) as One;
  } finally {
    if (namespace === undefined) await dropNamespace(name);
  }
}

const node = (...args: readonly string[]): string[] => ['node', join(import.meta.dirname, 'sample.ts'), ...args];

interface Taken { readonly ours: One; readonly peer?: One; readonly info?: Readonly<Record<string, number>> }

/** `n` samples of `take`, which is told whether the peer goes first this time. */
async function collect(label: string, take: (peerFirst: boolean) => Promise<Taken>): Promise<Samples> {
  const ours: number[] = [];
  const peer: number[] = [];
  const info: Record<string, number[]> = {};
  for (let i = 0; i < n; i++) {
    const taken = await take(i % 2 === 1);
    ours.push(taken.ours.ms!);
    if (taken.peer) peer.push(taken.peer.ms!);
    for (const [name, value] of Object.entries(taken.info ?? {})) (info[name] ??= []).push(value);
    const rest = Object.entries(taken.info ?? {}).map(([name, value]) => `, ${name} ${value.toFixed(1)}`).join('');
    process.stdout.write(`${label} ${i + 1}/${n}: ${taken.ours.ms!.toFixed(1)} ms${taken.peer ? `, peer ${taken.peer.ms!.toFixed(1)} ms` : ''}${rest}\n`);
  }
  return { ours, peer, info };
}

async function pair(peerFirst: boolean, ours: () => Promise<One>, peer: () => Promise<One>): Promise<{ ours: One; peer: One }> {
  if (!peerFirst) return { ours: await ours(), peer: await peer() };
  const first = await peer();
  return { ours: await ours(), peer: first };
}

const MEASURED: Readonly<Record<number, () => Promise<Record<string, Samples>>>> = {
  1: async () => {
    writeFileSync(restoreFile, ipvsadmCommands({ services: 1000, reals: 10 }, 'rr'));
    return {
      'apply-1000': await collect('apply 1000 × 10', async (peerFirst) => ({
        ...await pair(peerFirst, () => sample(node('apply', '1000', '10', 'rr', 'none')), () => sample(node('restore', '1000', '10', 'rr', restoreFile))),
        info: { 'C, batch': (await sample([perAck, 'batch', '1000', '10', 'rr'])).ms! },
      })),
    };
  },
  2: async () => ({
    'apply-10000': await collect('apply 10000 × 10', async (peerFirst) => ({
      ...await pair(peerFirst, () => sample(node('apply', '10000', '10', 'rr', 'none')), () => sample([perAck, 'ack', '10000', '10', 'rr'])),
      info: { 'C, batch': (await sample([perAck, 'batch', '10000', '10', 'rr'])).ms! },
    })),
  }),
  3: async () => ({
    'mh-none': await collect('mh 1000 × 10', (peerFirst) => pair(peerFirst,
      () => sample(node('apply', '1000', '10', 'mh', 'none')), () => sample(node('apply', '1000', '10', 'mh', 'plain')))),
  }),
  4: async () => ({
    replace: await collect('replace 10000', async () => {
      const { ms, load, coldMs, coldLoad } = await sample(node('replace', '1000', '10', 'rr'));
      return { ours: { ms: ms! }, peer: { ms: load! }, info: { 'replace, first run': coldMs!, 'load, first run': coldLoad! } };
    }),
  }),
  5: async () => ({
    'read-back': await collect('read back 10000 × 10', async (peerFirst) => {
      const name = addNamespace();
      try {
        await sample([perAck, 'batch', '10000', '10', 'rr'], name);
        const { ours, peer } = await pair(peerFirst, () => sample(node('read', '10000', '10', 'rr'), name), () => sample(node('save', '10000', '10'), name));
        return { ours, peer, info: { 'slowest of the five': ours.slowest!, 'first call of the process, nothing expected': ours.cold! } };
      } finally {
        await dropNamespace(name);
      }
    }),
  }),
  6: async () => ({
    change: await collect('change one of 10000 × 10', async () => {
      const { ms, first, slowest, load } = await sample(node('change', '10000', '10'));
      return { ours: { ms: ms! }, info: { 'first change': first!, 'slowest change': slowest!, 'load, compiled and applied': load! } };
    }),
  }),
  7: async () => ({
    diff: await collect('diff 10000 × 10', async () => {
      const { ms, warm } = await sample(node('diff', '10000', '10', 'rr'));
      return { ours: { ms: ms! }, info: { 'fifth call': warm! } };
    }),
  }),
  8: () => memorySamples(n),
};

for (const module of ['ip_vs', 'ip_vs_rr', 'ip_vs_mh', 'dummy']) execFileSync('modprobe', [module]);
const samples: Record<string, Samples> = {};
for (const number of numbers) {
  Object.assign(samples, await MEASURED[number]!());
  await sleep(100);
}
const results: Results = { kernel: `${readFileSync('/proc/sys/kernel/ostype', 'utf8').trim()} ${release()}`, node: process.version, samples };
writeFileSync(join(process.env.LAB_WORK!, 'results.json'), JSON.stringify(results));
