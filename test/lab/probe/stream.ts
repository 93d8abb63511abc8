// The probe's stream: one new connection or datagram every few milliseconds, for seeing outages as a client does.

import type { StreamOptions, StreamReport } from '../lab.ts';
import { dial } from './dial.ts';

/** What a stall may leave to be made up for; more would be a burst and no stream. */
const catchUpMs = 500;

interface Stream {
  readonly timer: NodeJS.Timeout;
  readonly started: number;
  readonly open: Set<Promise<void>>;
  ended: number | null;
  sent: number;
  ok: number;
  lost: number;
  lastOk: number;
  maxGapMs: number;
  readonly by: Record<string, number>;
  readonly lastBy: Record<string, number>;
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
    stream.lastBy[outcome.server] = Date.now();
    gapUntilNow(stream);
    stream.lastOk = performance.now();
  };
  const started = performance.now();
  let due = started + everyMs;
  // A tick starts all that is due: timers are late under load, and a tick for each of 200 a second would cost more than the probe.
  const timer = setInterval(() => {
    const now = performance.now();
    due = Math.max(due, now - Math.max(catchUpMs, everyMs));
    for (; due <= now; due += everyMs) {
      const running = probe().finally(() => stream.open.delete(running));
      stream.open.add(running);
    }
  }, Math.max(everyMs, 20));
  const stream: Stream = { timer, started, ended: null, open: new Set(), sent: 0, ok: 0, lost: 0, lastOk: started, maxGapMs: 0, by: {}, lastBy: {}, errors: {} };
  streams.set(nextStream, stream);
  return nextStream++;
}

function gapUntilNow(stream: Stream): void {
  stream.maxGapMs = Math.max(stream.maxGapMs, performance.now() - stream.lastOk);
}

export function reportStream(options: { stream: number }): StreamReport {
  const stream = streams.get(options.stream);
  if (stream === undefined) throw new Error('no such stream');
  const { sent, ok, lost, by, lastBy, errors } = stream;
  const sinceLast = performance.now() - stream.lastOk;
  const perSecond = Math.round((sent * 1000) / ((stream.ended ?? performance.now()) - stream.started));
  return { sent, ok, lost, maxGapMs: Math.round(Math.max(stream.maxGapMs, sinceLast)), by, errors, perSecond, lastBy };
}

export async function stopStream(options: { stream: number }): Promise<StreamReport> {
  const stream = streams.get(options.stream);
  if (stream === undefined) throw new Error('no such stream');
  clearInterval(stream.timer);
  stream.ended ??= performance.now();
  await Promise.all(stream.open);
  return reportStream(options);
}
