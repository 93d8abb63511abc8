/**
 * Metrics: the instruments of one process by name, hooks that fill some of them at a scrape, and all of it as text. What is measured
 * stands in catalogue.ts; how the text is served, in server.ts.
 */
import { OWN_METRICS, PROCESS_METRICS } from './catalogue.ts';
import { instrumentsOf, type Registry } from './definition.ts';
import { expose } from './exposition.ts';
import { Counter, Gauge, Histogram, type Exposable, type Labels } from './instruments.ts';
import { measureProcess } from './process.ts';

export interface MetricsOptions {
  /** Before every name, those of the process apart. Default none: names in catalogue.ts are whole. */
  readonly prefix?: string;
  /** CPU, memory, file descriptors and event-loop delay of this process. Default true. */
  readonly process?: boolean;
  /** Told when a hook fails; the scrape goes on without it. */
  readonly onError?: (error: unknown) => void;
}

export interface Metrics extends Registry {
  /** Runs before each scrape. A hook that clears an instrument fills it again without waiting for anything in between. */
  collect(hook: () => void | Promise<void>): void;
  /** Text in Prometheus' format 0.0.4, in pieces. Never rejects because of a hook. */
  scrape(): AsyncIterable<string>;
}

const NAME = /^[a-z_][a-z0-9_]*$/;

export function createMetrics({ prefix = '', process = true, onError = () => {} }: MetricsOptions = {}): Metrics {
  const instruments = new Map<string, Exposable>();
  const hooks: (() => void | Promise<void>)[] = [];
  let collecting: Promise<void> | null = null;

  function add<I extends Exposable>(instrument: I): I {
    const { name, labelNames } = instrument;
    const bad = [name, ...labelNames].find((word) => !NAME.test(word));
    if (bad !== undefined) throw new TypeError(`${JSON.stringify(bad)} is no name for a metric or a label`);
    if (instruments.has(name)) throw new TypeError(`there is a metric ${name} already`);
    instruments.set(name, instrument);
    return instrument;
  }
  const registry = (before: string): Registry => ({
    counter: (name, help, labelNames = []) => withZero(add(new Counter(before + name, help, labelNames))),
    gauge: (name, help, labelNames = []) => add(new Gauge(before + name, help, labelNames)),
    histogram: (name, help, labelNames = [], buckets) => withZero(add(new Histogram(before + name, help, labelNames, buckets))),
  });

  const own = instrumentsOf(registry(''), OWN_METRICS);
  if (process) hooks.push(measureProcess(instrumentsOf(registry(''), PROCESS_METRICS)));

  async function runHooks(): Promise<void> {
    for (const hook of hooks) {
      try {
        await hook();
      } catch (error) {
        own.collectErrors.inc();
        onError(error);
      }
    }
    own.droppedSeries.set([...instruments.values()].reduce((sum, { dropped }) => sum + dropped, 0));
  }

  async function* scrape(): AsyncGenerator<string, void, void> {
    // Two that scrape at once share one collection.
    await (collecting ??= runHooks().finally(() => { collecting = null; }));
    for (const instrument of instruments.values()) yield* expose(instrument);
  }

  return { ...registry(prefix), collect: (hook) => { hooks.push(hook); }, scrape };
}

/** Without labels there is one series, and it is there from the start. */
function withZero<I extends Counter<Labels> | Histogram<Labels>>(instrument: I): I {
  if (instrument.labelNames.length === 0) instrument.zero({});
  return instrument;
}
