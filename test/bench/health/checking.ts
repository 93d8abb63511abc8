// One sample of ours: `node checking.ts TARGETS PERIOD-MS WARM-UP-MS MEASURED-MS` checks that many addresses of 127.0.0.0/8, and prints one
// line of JSON: checks begun, CPU seconds of this process, lateness; and then the longest pause while all targets are replaced.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkTarget, type CheckTarget } from '../../../src/agent/health/check.ts';
import { Checker } from '../../../src/agent/health/checker.ts';
import { latenessBelow } from '../../../src/agent/health/counts.ts';
import { openSockets } from '../../../src/kernel/net/sockets.ts';

const [count = 0, periodMs = 0, warmUpMs = 0, measuredMs = 0] = process.argv.slice(2).map(Number);
const REPLACED = 10_000;

function targets(n: number, net: number): CheckTarget[] {
  const check = { type: 'TCP', port: 8080, periodMs, timeoutMs: Math.min(periodMs, 1_000), rise: 2, fall: 3 } as const;
  return Array.from({ length: n }, (_, i) => checkTarget(`127.${net}.${i >> 8}.${i & 255}`, check));
}

const checker = new Checker({ sockets: openSockets(), now: () => performance.now(), salt: 'bench', onChange: () => {} });
const stop = new AbortController();
const ran = checker.run(stop.signal);
checker.set(targets(count, 1));
await sleep(warmUpMs);
const { counts } = checker;
counts.lateness.fill(0);
const before = { begun: counts.begun, cpu: process.cpuUsage() };
counts.begun = 0;
await sleep(measuredMs);
const cpu = process.cpuUsage(before.cpu);
const passed = counts.results.get('TCP')?.get('Answered') ?? 0;
const measured = {
  checks: counts.begun, cpuSeconds: (cpu.user + cpu.system) / 1e6, latenessP99: latenessBelow(counts, 0.99), missed: counts.missed,
  failed: [...counts.results.get('TCP') ?? []].reduce((n, [, c]) => n + c, 0) - passed,
};
// Ten thousand others instead, made beforehand: what the change itself holds up.
const others = targets(REPLACED, 2);
const another = targets(REPLACED, 3);
checker.set(others);
await sleep(warmUpMs);
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
checker.set(another);
await sleep(2_000);
delay.disable();
stop.abort();
await ran;
process.stdout.write(`${JSON.stringify({ ...measured, pauseMs: delay.max / 1e6 })}\n`);
