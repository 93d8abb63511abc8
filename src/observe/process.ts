/**
 * What every process says of itself: CPU, memory, file descriptors, delay of the event loop. All but the delay is read when asked. Names
 * are those of Prometheus' client libraries where these have one.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { PROCESS_METRICS } from './catalogue.ts';
import type { InstrumentsOf } from './definition.ts';

/** Milliseconds between two looks at the event loop, each a wake-up. A look that comes late was held up by something that ran too long. */
const LOOK_MS = 200;

/** Starts to measure the delay; returns the hook that reads the rest. Keeps no process alive. */
export function measureProcess(metrics: InstrumentsOf<typeof PROCESS_METRICS>, now: () => number = () => performance.now()): () => void {
  // Not the runtime's own monitorEventLoopDelay: what happens right after its reset, the scrape itself for one, it does not see.
  let due = now() + LOOK_MS;
  setInterval(() => {
    const late = now() - due;
    metrics.loopDelay.observe(Math.max(0, late) / 1000);
    due = now() + LOOK_MS;
  }, LOOK_MS).unref();

  metrics.startTime.set(Date.now() / 1000 - process.uptime());
  return () => {
    const { userCPUTime, systemCPUTime } = process.resourceUsage();
    metrics.cpu.set((userCPUTime + systemCPUTime) / 1e6);
    const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
    metrics.residentMemory.set(rss);
    metrics.heapTotal.set(heapTotal);
    metrics.heapUsed.set(heapUsed);
    metrics.external.set(external);
    metrics.openFiles.set(readdirSync('/proc/self/fd').length);
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    metrics.maxFiles.set(limit === undefined ? Infinity : Number(limit));
  };
}
