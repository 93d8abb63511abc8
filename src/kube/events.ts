/**
 * Events (events.k8s.io/v1): what happened to an object, for people who look at it with kubectl describe. The same thing again within ten
 * minutes is the same Event with a count, written at most once a minute; many at a time are written one by one, for the server has others to
 * serve. Recording never waits, never throws and never grows without bound: an Event that cannot be written is lost. Nothing may depend on one.
 */
import { Backoff } from './backoff.ts';
import { Bucket } from './bucket.ts';
import type { KubeClient } from './client.ts';
import { isAlreadyExists, isNotFound, isTransient } from './errors.ts';
import { microTime } from './lease-record.ts';
import type { KubeObject, Log, ObjectMeta, Resource } from './types.ts';
import { isAbort, onAbort, throwIfAborted } from './wait.ts';

/** core/v1 ObjectReference. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

export interface KubeEvent extends KubeObject {
  readonly eventTime: string;
  readonly regarding: ObjectReference;
  readonly related?: ObjectReference;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

export const EVENTS: Resource<KubeEvent> = { group: 'events.k8s.io', version: 'v1', kind: 'Event', plural: 'events', namespaced: true };

export interface Happening {
  readonly regarding: ObjectReference | KubeObject;
  readonly type: 'Normal' | 'Warning';
  /** UpperCamelCase, one word for machines. */
  readonly reason: string;
  /** What was done or tried, UpperCamelCase. */
  readonly action: string;
  readonly note: string;
  readonly related?: ObjectReference | KubeObject | undefined;
}

export interface EventRecorderOptions {
  readonly client: Pick<KubeClient, 'create' | 'update'>;
  /** 'example.org/controller'. */
  readonly reportingController: string;
  /** The pod or node. */
  readonly reportingInstance: string;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly log: Log;
  /** Runs something later without keeping the process alive; returns how to call it off. For tests. */
  readonly later?: (ms: number, run: () => void) => () => void;
  readonly random?: () => number;
}

/** The API's limits. */
const MAX_NOTE = 1024;
const MAX_WORD = 128;
const MAX_NAME = 253;
/** The same within this time after the last is one series. Milliseconds. */
const SERIES_MS = 600_000;
/** Between two writings of one series. Milliseconds. */
const WRITE_EVERY_MS = 60_000;
/** Series that are remembered; the one that was silent longest is dropped. */
const MAX_SERIES = 2_000;
/** So many are written at once, and so many a second for as long as there are more: each has its own time in it, and nobody waits for one. */
const PACE = { atOnce: 20, perSecond: 10 };
/** Of so many that wait, or more, some would be lost: then as fast as the server takes them. */
const CROWD = MAX_SERIES / 2;
/** Tries to write one Event while the server is away. */
const MAX_TRIES = 12;
const RETRY = { minMs: 1_000, maxMs: 30_000, resetMs: 60_000 };

interface Series {
  event: KubeEvent;
  /** What the server has; null: nothing yet. */
  written: KubeEvent | null;
  count: number;
  writtenCount: number;
  lastAt: number;
  writtenAt: number;
  tries: number;
}

export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  /** In order of the last happening. */
  readonly #series = new Map<string, Series>();
  #writing: Promise<void> | null = null;
  #callOff: (() => void) | null = null;
  /** For when `#callOff` calls something off. */
  #scheduledFor = Infinity;
  #notBefore = 0;
  readonly #pace = new Bucket(PACE);
  /** Events that were given up, for metrics. */
  dropped = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#backoff = new Backoff({ ...RETRY, random: this.#random });
  }

  /** Notes what happened; it is written soon. Never throws. */
  record(happening: Happening): void {
    try {
      this.#note(happening);
      this.#schedule();
    } catch (err) {
      this.#options.log.error({ err }, 'an event could not be recorded');
    }
  }

  /**
   * Writes all that is not written yet, counts included, until done or the signal aborts or the server refuses. Never rejects.
   * For the end of a process.
   */
  async flush(signal: AbortSignal): Promise<void> {
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    const detach = onAbort(signal, resolve);
    while (this.#writing && !signal.aborted) await Promise.race([this.#writing, aborted]);
    this.#callOff?.();
    this.#callOff = null;
    await this.#write((series) => series.count > series.writtenCount, signal);
    detach();
    this.#schedule();
  }

  #note({ regarding, related, type, reason, action, note }: Happening): void {
    const { clock, reportingController, reportingInstance } = this.#options;
    const about = referenceTo(regarding);
    const key = JSON.stringify([about.kind, about.namespace, about.name, about.uid, type, reason, action, note]);
    const at = clock();
    const old = this.#series.get(key);
    this.#series.delete(key);
    if (old && at - old.lastAt < SERIES_MS) {
      old.count += 1;
      old.lastAt = at;
      this.#series.set(key, old);
      return;
    }
    const namespace = about.namespace ?? 'default';
    const event: KubeEvent = {
      apiVersion: 'events.k8s.io/v1', kind: 'Event', metadata: { name: eventName(about.name, at, this.#random), namespace }, eventTime: microTime(at),
      regarding: about, ...(related && { related: referenceTo(related) }), type,
      reason: cut(reason, MAX_WORD), action: cut(action, MAX_WORD), note: cut(note, MAX_NOTE),
      reportingController, reportingInstance: cut(reportingInstance, MAX_WORD),
    };
    this.#series.set(key, { event, written: null, count: 1, writtenCount: 0, lastAt: at, writtenAt: -Infinity, tries: 0 });
    for (const [oldest, series] of this.#series) {
      if (this.#series.size <= MAX_SERIES) break;
      this.#series.delete(oldest);
      if (series.written === null) this.dropped += 1;
    }
  }

  /** When the next of those with something to write may be written; forgets those that are over. */
  #nextDue(now: number): number {
    let next = Infinity;
    for (const [key, series] of this.#series) {
      if (series.count > series.writtenCount) next = Math.min(next, series.writtenAt + WRITE_EVERY_MS);
      else if (now - series.lastAt >= SERIES_MS) this.#series.delete(key);
    }
    return Math.max(next, this.#notBefore);
  }

  #schedule(): void {
    const { clock, later = unrefTimer } = this.#options;
    const now = clock();
    // A thousand records in a row look through the series once.
    if (this.#writing || (this.#callOff && this.#scheduledFor <= Math.max(now, this.#notBefore))) return;
    this.#callOff?.();
    this.#scheduledFor = this.#nextDue(now);
    const run = (): void => {
      this.#callOff = null;
      this.#writing ??= this.#write((series) => series.count > series.writtenCount && clock() - series.writtenAt >= WRITE_EVERY_MS, undefined).finally(() => {
        this.#writing = null;
        this.#schedule();
      });
    };
    // Not longer than a minute: the clock may be set back.
    this.#callOff = this.#scheduledFor === Infinity ? null : later(Math.min(WRITE_EVERY_MS, Math.max(0, this.#scheduledFor - now)), run);
  }

  async #write(due: (series: Series) => boolean, signal: AbortSignal | undefined): Promise<void> {
    const { clock, log } = this.#options;
    const waiting = [...this.#series].filter(([, series]) => due(series));
    for (const [i, [key, series]] of waiting.entries()) {
      // At the end of a process there is no later.
      if (!signal && waiting.length - i < CROWD && !this.#hasLeave(clock())) return;
      try {
        throwIfAborted(signal);
        await this.#writeOne(series, signal);
      } catch (error) {
        if (isAbort(error)) return;
        series.tries += 1;
        const again = isTransient(error) && series.tries < MAX_TRIES;
        log[again ? 'debug' : 'warn'](
          { err: error, reason: series.event.reason, regarding: series.event.regarding.name },
          again ? 'an event is not written yet' : 'an event was not written',
        );
        if (!again) {
          this.dropped += 1;
          this.#series.delete(key);
          continue;
        }
        // The server is away: the others wait, too.
        this.#notBefore = clock() + this.#backoff.next(clock());
        return;
      }
    }
  }

  /** Whether one more may be written now; or else the next may when there is leave. */
  #hasLeave(now: number): boolean {
    const wait = this.#pace.take(now);
    if (wait > 0) this.#notBefore = now + wait;
    return wait === 0;
  }

  async #writeOne(series: Series, signal: AbortSignal | undefined): Promise<void> {
    const { client, clock } = this.#options;
    const { count, event, written } = series;
    // The API wants a series to have counted to two.
    const now: KubeEvent = count > 1 ? { ...written ?? event, series: { count, lastObservedTime: microTime(series.lastAt) } } : event;
    try {
      series.written = written
        ? await client.update(EVENTS, { ...now, metadata: unconditional(written.metadata) }, { signal })
        : await client.create(EVENTS, now, { signal });
    } catch (error) {
      if (!written && series.tries > 0 && isAlreadyExists(error)) {
        // The try before was taken, and only its answer was lost: no name is used twice. How often it has happened since is told later.
        Object.assign(series, { written: event, writtenCount: 1, writtenAt: clock(), tries: 0 });
        return;
      }
      // Events live for an hour. What goes on longer gets a new one.
      if (!written || !isNotFound(error)) throw error;
      series.event = { ...event, metadata: { ...event.metadata, name: eventName(event.regarding.name, clock(), this.#random) } };
      series.written = await client.create(EVENTS, { ...series.event, series: now.series! }, { signal });
    }
    Object.assign(series, { writtenCount: count, writtenAt: clock(), tries: 0 });
  }
}

/** A reference to an object; a reference stays one. */
export function referenceTo(object: ObjectReference | KubeObject): ObjectReference {
  if (!('metadata' in object)) return object;
  const { apiVersion, kind, metadata: { name, namespace, uid, resourceVersion } } = object;
  return {
    apiVersion, kind, name,
    ...(namespace !== undefined && { namespace }),
    ...(uid !== undefined && { uid }),
    ...(resourceVersion !== undefined && { resourceVersion }),
  };
}

/** Unique enough: the time, as client-go has it, and chance, because much happens in one millisecond. */
function eventName(name: string, at: number, random: () => number): string {
  const chance = Math.floor(random() * 0x1_0000_0000).toString(16).padStart(8, '0');
  return `${name.slice(0, MAX_NAME - 24).replace(/[^a-z0-9]+$/, '')}.${at.toString(16)}${chance}`;
}

/** Nobody else writes our Events; a version that is behind must not stop the count. */
function unconditional({ resourceVersion: _, ...metadata }: ObjectMeta): ObjectMeta {
  return metadata;
}

/** The API counts bytes. A character that would be cut in two is left out. */
function cut(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  return `${Buffer.from(text).subarray(0, bytes - 3).toString().replace(/\ufffd+$/, '')}...`;
}

function unrefTimer(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms).unref();
  return () => clearTimeout(timer);
}
