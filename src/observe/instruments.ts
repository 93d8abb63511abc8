/**
 * Counters, gauges and histograms as plain numbers in memory: nothing is formatted, and no library loaded, before somebody asks
 * (exposition.ts). A series stands by the values of its labels. Not for names and registration: that is metrics.ts.
 */

/** The labels of an instrument, with the values that each can have: `{ kind: 'A' | 'B', code: string }`. */
export type Labels = Record<string, string>;
/** What names a series: nothing where there are no labels. */
type Which<L extends Labels> = [keyof L] extends [never] ? [] : [labels: Readonly<L>];

export type MetricType = 'counter' | 'gauge' | 'histogram';

/** Of one metric at most. More come from labels that grow without end: those are left out and counted. */
export const MAX_SERIES = 20_000;

/** Upper bounds in seconds: from a round trip to the kernel to a reconcile of everything on a slow machine. */
export const DURATION_BUCKETS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** `labels`: their values, in the order of labelNames. */
export interface Series<V> { readonly labels: readonly string[]; value: V }

export interface Distribution {
  /** How many values were at most each bound and above the one before; last, those above all bounds. */
  readonly counts: number[];
  sum: number;
}

/** An instrument as exposition.ts sees it. */
export interface Exposable {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly labelNames: readonly string[];
  readonly buckets?: readonly number[];
  /** How often something was left out because of MAX_SERIES. */
  readonly dropped: number;
  series(): readonly Series<number | Distribution>[];
}

abstract class Instrument<L extends Labels, V extends number | Distribution> implements Exposable {
  abstract readonly type: MetricType;
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  #series = new Map<string, Series<V>>();
  #dropped = 0;

  constructor(name: string, help: string, labelNames: readonly string[]) {
    this.name = name;
    this.help = help;
    this.labelNames = labelNames;
  }

  protected abstract blank(): V;

  /** The series of these labels, made when new; null when there are too many. Throws TypeError when a label is missing or no text. */
  protected at(labels: unknown): Series<V> | null {
    const key = this.#key(labels);
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= MAX_SERIES) {
      this.#dropped += 1;
      return null;
    }
    const made = { labels: this.labelNames.map((name) => (labels as Labels)[name]!), value: this.blank() };
    this.#series.set(key, made);
    return made;
  }

  /** Each value after its length: no two different sets of values have one key. */
  #key(labels: unknown): string {
    let key = '';
    for (const name of this.labelNames) {
      const value = (labels as Labels | undefined)?.[name];
      if (typeof value !== 'string') throw new TypeError(`${this.name}: label ${name} must be a text, and is ${String(value)}`);
      key += `${value.length}:${value}`;
    }
    return key;
  }

  /** Makes the series, so that it is there before anything happens: a rate then sees the first event, too. */
  zero(...[labels]: Which<L>): void { this.at(labels); }

  remove(...[labels]: Which<L>): void { this.#series.delete(this.#key(labels)); }

  /** Forgets every series: for what is filled anew at each scrape. */
  clear(): void { this.#series.clear(); }

  /** Takes the series of `other`, an instrument that nobody sees, for its own: for what is filled anew at each scrape, and takes long. */
  take(other: Instrument<L, V>): void {
    this.#series = other.#series;
    this.#dropped += other.#dropped;
  }

  get dropped(): number { return this.#dropped; }

  series(): readonly Series<V>[] { return [...this.#series.values()]; }
}

export class Counter<L extends Labels = Record<never, never>> extends Instrument<L, number> {
  readonly type = 'counter';
  protected blank(): number { return 0; }

  /** By 1 unless told. Throws RangeError for a negative amount: a counter only grows. */
  inc(...args: [...Which<L>, by?: number]): void {
    const [labels, by = 1] = split<number | undefined>(args);
    if (!(by >= 0)) throw new RangeError(`${this.name} cannot grow by ${by}`);
    const series = this.at(labels);
    if (series) series.value += by;
  }

  /** Takes over a total that somebody else counts: the kernel, a reflector. */
  set(...args: [...Which<L>, total: number]): void {
    const [labels, total] = split<number>(args);
    const series = this.at(labels);
    if (series) series.value = total;
  }
}

export class Gauge<L extends Labels = Record<never, never>> extends Instrument<L, number> {
  readonly type = 'gauge';
  protected blank(): number { return 0; }

  set(...args: [...Which<L>, value: number]): void {
    const [labels, value] = split<number>(args);
    const series = this.at(labels);
    if (series) series.value = value;
  }
}

export class Histogram<L extends Labels = Record<never, never>> extends Instrument<L, Distribution> {
  readonly type = 'histogram';
  readonly buckets: readonly number[];

  /** `buckets`: upper bounds. Throws RangeError when they do not rise. */
  constructor(name: string, help: string, labelNames: readonly string[], buckets: readonly number[] = DURATION_BUCKETS) {
    super(name, help, labelNames);
    const falls = (bound: number, i: number): boolean => !Number.isFinite(bound) || (i > 0 && bound <= buckets[i - 1]!);
    if (buckets.length === 0 || buckets.some(falls)) throw new RangeError(`${name}: buckets must rise`);
    this.buckets = buckets;
  }

  protected blank(): Distribution { return { counts: Array<number>(this.buckets.length + 1).fill(0), sum: 0 }; }

  observe(...args: [...Which<L>, value: number]): void {
    const [labels, value] = split<number>(args);
    const distribution = this.at(labels)?.value;
    if (!distribution) return;
    const bucket = this.buckets.findIndex((bound) => value <= bound);
    distribution.counts[bucket < 0 ? this.buckets.length : bucket]! += 1;
    distribution.sum += value;
  }
}

/** Labels, if there are any, stand before the number. */
function split<N>(args: readonly unknown[]): [Labels | undefined, N] {
  return typeof args[0] === 'object' ? args as unknown as [Labels, N] : [undefined, args[0] as N];
}
