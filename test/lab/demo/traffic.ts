// Connections that a person can watch: opens them in small batches through the lab's own probes and tells the bars after each.

import type { Lab, ProbeStream, StreamReport } from '../lab.ts';
import type { Stage } from './stage.ts';
import type { Bar } from './story.ts';

export interface Watched {
  /** Answers by real server. */
  readonly by: Readonly<Record<string, number>>;
  readonly opened: number;
  readonly lost: number;
  /** Client addresses that real servers saw. */
  readonly sources: readonly string[];
}

export interface WatchOptions {
  readonly client: string;
  readonly address: string;
  readonly servers: readonly string[];
  readonly count: number;
  /** The value of a full bar; the even share unless told. */
  readonly scale?: number;
  /** Answers before these, for bars that go on. */
  readonly from?: Readonly<Record<string, number>>;
  readonly note?: (server: string) => string;
}

/** Connections that are opened before the bars are drawn again: a multiple of 2 and 3, so that rr looks even each time. */
const batch = 6;

/** Opens `count` connections to port 80, one after the other, while the bars grow. */
export async function watch(lab: Lab, stage: Stage, options: WatchOptions): Promise<Watched> {
  const { client, address, servers, count, scale = Math.ceil(count / servers.length), from = {}, note } = options;
  const by: Record<string, number> = { ...from };
  const sources = new Set<string>();
  const started = performance.now();
  let opened = 0;
  let lost = 0;
  const draw = (last: boolean): void => {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    stage.tell({ kind: 'bars', bars: bars(servers, by, note), scale, last, caption: `${opened} new connections from ${client} to ${address}:80, ${lost} lost, ${seconds} s` });
  };
  draw(false);
  while (opened < count) {
    const answers = await lab.get(client, { address, port: 80, count: Math.min(batch, count - opened) });
    opened += answers.sequence.length;
    lost += Object.values(answers.errors).reduce((sum, n) => sum + n, 0);
    for (const [server, n] of Object.entries(answers.by)) by[server] = (by[server] ?? 0) + n;
    for (const source of answers.sources) sources.add(source);
    draw(opened >= count);
    await lab.sleep(60);
  }
  stage.counted(opened, lost);
  return { by, opened, lost, sources: [...sources].sort() };
}

export interface WatchStreamOptions {
  readonly milliseconds: number;
  /** Ends before that when this is true. */
  readonly until?: (report: StreamReport) => boolean;
  readonly servers: readonly string[];
  readonly scale: number;
  /** What else is to be said of this moment. */
  readonly caption: string;
}

/** Shows a stream of connections for a while. */
export async function watchStream(lab: Lab, stage: Stage, stream: ProbeStream, options: WatchStreamOptions): Promise<StreamReport> {
  const until = performance.now() + options.milliseconds;
  for (;;) {
    const report = await stream.report();
    const last = performance.now() >= until || options.until?.(report) === true;
    stage.tell({ kind: 'bars', bars: bars(options.servers, report.by), scale: options.scale, last, caption: `${options.caption}: ${report.sent} new connections, ${report.lost} lost` });
    if (last) return report;
    await lab.sleep(150);
  }
}

function bars(servers: readonly string[], by: Readonly<Record<string, number>>, note?: (server: string) => string): Bar[] {
  return servers.map((name) => ({ name, value: by[name] ?? 0, ...(note === undefined ? {} : { note: note(name) }) }));
}
