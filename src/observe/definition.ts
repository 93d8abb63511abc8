/**
 * What a metric is, as data: name, type, help, labels and, where they are known beforehand, the values of the labels. From such a table
 * come the instruments (instrumentsOf), docs/metrics.md, and the names that dashboards and alerts use. The tables are in catalogue.ts.
 */
import { Counter, Gauge, Histogram, type MetricType } from './instruments.ts';

/** What makes instruments by name. All three throw TypeError when the name is no metric name, or taken. */
export interface Registry {
  counter<const L extends string = never>(name: string, help: string, labelNames?: readonly L[]): Counter<Record<L, string>>;
  gauge<const L extends string = never>(name: string, help: string, labelNames?: readonly L[]): Gauge<Record<L, string>>;
  histogram<const L extends string = never>(name: string, help: string, labelNames?: readonly L[], buckets?: readonly number[]): Histogram<Record<L, string>>;
}

/** The values that a label can have; null: not known beforehand. */
export type LabelValues = Readonly<Record<string, readonly string[] | null>>;

export interface Definition<T extends MetricType = MetricType, V extends LabelValues = LabelValues> {
  readonly type: T;
  readonly name: string;
  readonly help: string;
  readonly labels: V;
  /** Of histograms; absent: DURATION_BUCKETS. */
  readonly buckets?: readonly number[];
}

export type Catalogue = Readonly<Record<string, Definition>>;

type LabelsOf<V extends LabelValues> = { [K in keyof V & string]: V[K] extends readonly string[] ? V[K][number] : string };
type InstrumentOf<D> = D extends Definition<infer T, infer V>
  ? { counter: Counter<LabelsOf<V>>; gauge: Gauge<LabelsOf<V>>; histogram: Histogram<LabelsOf<V>> }[T]
  : never;
export type InstrumentsOf<C extends Catalogue> = { readonly [K in keyof C]: InstrumentOf<C[K]> };

type NoLabels = Readonly<Record<never, null>>;

export function counter<const V extends LabelValues = NoLabels>(name: string, help: string, labels?: V): Definition<'counter', NoInfer<V>> {
  return { type: 'counter', name, help, labels: labels ?? {} as V };
}
export function gauge<const V extends LabelValues = NoLabels>(name: string, help: string, labels?: V): Definition<'gauge', NoInfer<V>> {
  return { type: 'gauge', name, help, labels: labels ?? {} as V };
}
export function histogram<const V extends LabelValues = NoLabels>(
  name: string, help: string, labels?: V, buckets?: readonly number[],
): Definition<'histogram', NoInfer<V>> {
  return { type: 'histogram', name, help, labels: labels ?? {} as V, ...(buckets === undefined ? {} : { buckets }) };
}

/** Makes every instrument of a table, and its series where all values of all labels are known. Throws TypeError when a name is taken. */
export function instrumentsOf<const C extends Catalogue>(registry: Registry, catalogue: C): InstrumentsOf<C> {
  return Object.fromEntries(Object.entries(catalogue).map(([key, { type, name, help, labels, buckets }]) => {
    const names = Object.keys(labels);
    const made = type === 'counter' ? registry.counter(name, help, names)
      : type === 'gauge' ? registry.gauge(name, help, names)
        : registry.histogram(name, help, names, buckets);
    for (const one of combinations(labels)) made.zero(one);
    return [key, made];
  })) as InstrumentsOf<C>;
}

/** Every combination of the labels' values; none when one of them is open. One, empty, where there are no labels. */
function combinations(labels: LabelValues): Record<string, string>[] {
  let all: Record<string, string>[] = [{}];
  for (const [name, values] of Object.entries(labels)) all = all.flatMap((one) => (values ?? []).map((value) => ({ ...one, [name]: value })));
  return all;
}
