/**
 * Instruments as text for Prometheus, written by the registry of @prometheus-io/client. Of that library only the registry's own file is
 * loaded, at the first scrape: 1 MB of memory instead of 10, which an agent would cost every node. In pieces, with the event loop let
 * run in between: 20,000 series at once would hold it up for tens of milliseconds.
 */
import { createRequire } from 'node:module';
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type { Metric, MetricValueWithName, Registry } from '@prometheus-io/client';
import type { Distribution, Exposable, Series } from './instruments.ts';

/** Prometheus text format 0.0.4. */
export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
/** Series in one piece. */
const PIECE = 1_000;

let registry: Registry | null = null;

/** The text of one metric, in pieces; nothing when it has no series. */
export async function* expose(instrument: Exposable): AsyncGenerator<string, void, void> {
  registry ??= new (createRequire(import.meta.url)('@prometheus-io/client/lib/registry.js') as typeof Registry)();
  const all = instrument.series();
  for (let i = 0; i < all.length; i += PIECE) {
    if (i > 0) await yieldToLoop();
    const text = await registry.getMetricsAsString(asMetric(instrument, all.slice(i, i + PIECE)));
    yield `${i === 0 ? text : withoutHead(text)}\n`;
  }
}

/** What the registry reads of a metric: its `get`. The library's own metrics keep the numbers, too; ours have them already. */
function asMetric({ name, help, type, labelNames, buckets = [] }: Exposable, series: readonly Series<number | Distribution>[]): Metric<string> {
  const values = series.flatMap((one): MetricValueWithName<string>[] => {
    const labels = Object.fromEntries(labelNames.map((label, i) => [label, one.labels[i]!]));
    return typeof one.value === 'number' ? [{ labels, value: one.value }] : distribution(name, labels, one.value, buckets);
  });
  return { get: () => Promise.resolve({ name, help, type, values }) } as unknown as Metric<string>;
}

function distribution(
  name: string, labels: Readonly<Record<string, string>>, { counts, sum }: Distribution, buckets: readonly number[],
): MetricValueWithName<string>[] {
  let count = 0;
  const bounds = counts.map((n, i) => {
    const le = i < buckets.length ? String(buckets[i]) : '+Inf';
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count += n };
  });
  return [...bounds, { metricName: `${name}_sum`, labels, value: sum }, { metricName: `${name}_count`, labels, value: count }];
}

/** HELP and TYPE stand once, before the first piece. */
function withoutHead(text: string): string {
  return text.slice(text.indexOf('\n', text.indexOf('\n') + 1) + 1);
}
