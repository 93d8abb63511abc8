// The probe's stream: one new connection or datagram every few milliseconds, for seeing outages as a client does.

import type { StreamOptions, StreamReport } from '../lab.ts';
import { dial } from './dial.ts';

interface Stream {
  readonly timer: NodeJS.Timeout;
  readonly open: Set<Promise<void>>;
  sent: number;
  ok: number;
  lost: number;
  lastOk: number;
  maxGapMs: number;
  readonly by: Record<string, number>;
  readonly errors: Record<string, number>;
}

const streams = new Map<number, Stream>();
let nextStream = 1;

export function startStream(options: StreamOptions): number {
  const { everyMs = 50, timeoutMs = 500, ...target } = options;
  const probe = async (): Promise<void> => {
    stream.sent += 1;
    const outcome = await dial({ ...target, timeoutMs });
    if (typeof outcome === 'string') {
      stream.lost += 1;
      stream.errors[outcome] = (stream.errors[outcome] ?? 0) + 1;
      return;
    }
    stream.ok += 1;
    stream.by[outcome.server] = (stream.by[outcome.server] ?? 0) + 1;
    gapUntilNow(stream);
    stream.lastOk = performance.now();
  };
  const timer = setInterval(() => {
    const running = probe().finally(() => stream.open.delete(running));
    stream.open.add(running);
  }, everyMs);
  const stream: Stream = { timer, open: new Set(), sent: 0, ok: 0, lost: 0, lastOk: performance.now(), maxGapMs: 0, by: {}, errors: {} };
  streams.set(nextStream, stream);
  return nextStream++;
}

function gapUntilNow(stream: Stream): void {
  stream.maxGapMs = Math.max(stream.maxGapMs, performance.now() - stream.lastOk);
}

export function reportStream(options: { stream: number }): StreamReport {
  const stream = streams.get(options.stream);
  if (stream === undefined) throw new Error('no such stream');
  const { sent, ok, lost, by, errors } = stream;
  const sinceLast = performance.now() - stream.lastOk;
  return { sent, ok, lost, maxGapMs: Math.round(Math.max(stream.maxGapMs, sinceLast)), by, errors };
}

export async function stopStream(options: { stream: number }): Promise<StreamReport> {
  const stream = streams.get(options.stream);
  if (stream === undefined) throw new Error('no such stream');
  clearInterval(stream.timer);
  await Promise.all(stream.open);
  return reportStream(options);
}
