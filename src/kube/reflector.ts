/**
 * Reflector: keeps a store equal to what the API server has of one kind, for as long as the process lives, whatever the server or the
 * network does. It tells each difference once, in order, and gives up only when its signal aborts. What a change means is the listener's.
 *
 *            list (paged) ──> replace ──> watch ──┬─ closed, or silent too long ──> watch from the last version
 *               ▲                                 ├─ 410, or a version the server cannot use or never had ──> wait, list
 *               └── wait <── any error            └─ any other error ──> wait, watch from the last version
 */
import { Backoff } from './backoff.ts';
import { PAGE_SIZE, type KubeClient, type SelectOptions, type WatchEvent } from './client.ts';
import { ApiError, errorFromStatus, isExpired, isFutureVersion, isInvalid, isNotFound, type Status } from './errors.ts';
import { Mirror, type Change } from './mirror.ts';
import { Store, type StoreOptions } from './store.ts';
import { collectionPath, nameOf, type KubeObject, type Log, type Resource } from './types.ts';
import { childOf, isAbort, sleep as realSleep, type Sleep } from './wait.ts';

export type { Change } from './mirror.ts';

export interface ReflectorOptions<T extends KubeObject> extends SelectOptions, Pick<StoreOptions<T>, 'indexes' | 'trim' | 'freeze'> {
  readonly client: Pick<KubeClient, 'list' | 'watch'>;
  readonly resource: Resource<T>;
  /** A store made beforehand, instead of one with these indexes and trim. Nobody else may write it. */
  readonly store?: Store<T>;
  /** Called in order, with the store as it is after all changes so far. What it throws is logged; the reflector goes on. */
  readonly onChange: (change: Change<T>) => void;
  /** Called once, after the changes of the first complete list. */
  readonly onSynced?: () => void;
  /** Called when `kindMissing` became true. */
  readonly onKindMissing?: () => void;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  readonly sleep?: Sleep;
  /** Objects a page of the list. */
  readonly pageSize?: number;
  /** A watch that says nothing for so long is opened anew. Busy servers send a bookmark each minute. Milliseconds. */
  readonly idleMs?: number;
}

export interface ReflectorStats {
  /** Complete lists, watches opened, objects' events received, and failures of any of them. */
  readonly lists: number;
  readonly watches: number;
  readonly events: number;
  readonly errors: number;
  /** When anything, a bookmark included, last came from the server, in the milliseconds of `now`; null before the first. */
  readonly lastEventAt: number | null;
  /** Objects whose newest version fails the schema. */
  readonly badObjects: number;
}

const IDLE_MS = 90_000;
/** The watchdog looks so often in that time, and so comes so much late at most. */
const IDLE_LOOKS = 8;
/** Waits after errors, in milliseconds, and how long all must be well before the next error is a first one: client-go's. */
const RETRY = { minMs: 800, maxMs: 30_000, resetMs: 120_000 };
/**
 * The longest wait that is obeyed. API servers ask for half of it at most; who asks for more is a proxy before them, which does not know when they
 * are back, and a timer of more than 24 days would be none. Milliseconds.
 */
const MAX_ASKED_MS = 60_000;
/** How long the server keeps a watch open: random between these, so that they do not all end at the same time. Seconds. */
const WATCH_SECONDS = { min: 300, max: 600 };
/** A watch that ends sooner than this and brought nothing is no healthy one, or it would be opened thousands of times a second. Milliseconds. */
const SHORT_MS = 1_000;
/** After so many refusals in a row from the same version, the version is suspected, and everything is listed. */
const MAX_REFUSALS = 3;

export class Reflector<T extends KubeObject> {
  readonly #options: ReflectorOptions<T>;
  readonly #store: Store<T>;
  readonly #mirror: Mirror<T>;
  readonly #sleep: Sleep;
  readonly #log: Log;
  readonly #name: string;
  readonly #backoff: Backoff;
  /** Of its own: a version that is too old is the word of a server that is well, also after a long outage. */
  readonly #expiries: Backoff;
  readonly #counts = { lists: 0, watches: 0, events: 0, errors: 0 };
  /** Where the next watch begins; null: list first. */
  #version: string | null = null;
  /** Versions that we know may have been given out a second time. */
  #anew = false;
  #refusals = 0;
  #lastEventAt: number | null = null;
  #synced = false;
  #kindMissing = false;
  #running = false;
  /** Ends the watch or the wait that is under way. */
  #interrupt: (() => void) | null = null;

  /** Throws TypeError when namespace and scope of the kind do not fit. */
  constructor(options: ReflectorOptions<T>) {
    const { resource, namespace, indexes, trim, freeze, log, onChange, random } = options;
    collectionPath(resource, namespace);
    this.#options = options;
    this.#log = log;
    this.#name = nameOf(resource);
    this.#sleep = options.sleep ?? realSleep;
    this.#backoff = new Backoff({ ...RETRY, random });
    this.#expiries = new Backoff({ ...RETRY, random });
    this.#store = options.store ?? new Store<T>({ ...(indexes && { indexes }), ...(trim && { trim }), ...(freeze && { freeze }) });
    this.#mirror = new Mirror({ resource, store: this.#store, log, emit: (change) => this.#guard(() => onChange(change), change.key) });
  }

  get store(): Store<T> { return this.#store; }

  /** Whether the store has held the complete state once. From then on it is never incomplete, only behind. */
  get synced(): boolean { return this.#synced; }

  /**
   * Whether the server said last, when everything was asked for, that it has no such kind. The store stays as it is: the server may only
   * have ceased to serve this version. Of objects that went with their kind it told each deletion before.
   */
  get kindMissing(): boolean { return this.#kindMissing; }

  get stats(): ReflectorStats { return { ...this.#counts, lastEventAt: this.#lastEventAt, badObjects: this.#mirror.bad.size }; }

  /** Objects whose newest version fails the schema, with what is wrong; the store has their last good version, if there was one. */
  get badObjects(): ReadonlyMap<string, string> { return this.#mirror.bad; }

  /** Resolves when the signal aborts; never rejects. Throws TypeError when it is running already. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#running) throw new TypeError(`the reflector of ${this.#name} is running already`);
    this.#running = true;
    const { now } = this.#options;
    try {
      while (!signal.aborted) {
        try {
          if (this.#version === null) await this.#list(signal);
          else {
            const end = await this.#watch(this.#version, signal);
            if (end === 'short') await this.#wait(this.#backoff.next(now()), signal);
            else if (end === 'silent') await this.#verify(this.#version, signal);
          }
        } catch (error) {
          if (signal.aborted) return;
          await this.#recover(error, signal);
        }
      }
    } finally {
      this.#running = false;
    }
  }

  /**
   * Asks the server now, instead of waiting for its next word on a connection that may be dead, or for the end of a pause: for who knows that it
   * can be reached again. From the last version, so nothing is missed. Where a list is under way, that will do.
   */
  reopen(): void { this.#interrupt?.(); }

  async #recover(error: unknown, signal: AbortSignal): Promise<void> {
    const { now } = this.#options;
    this.#counts.errors += 1;
    const from = this.#version;
    if (from === null && isNotFound(error) && !this.#kindMissing) {
      this.#kindMissing = true;
      this.#guard(() => this.#options.onKindMissing?.(), 'kindMissing');
    }
    if (from !== null) {
      if (mayMeanVersion(error)) this.#refusals += 1;
      if (isFutureVersion(error)) this.#startAnew();
      else if (isExpired(error) || isInvalid(error) || isNotFound(error) || this.#refusals >= MAX_REFUSALS) this.#version = null;
    }
    const asked = error instanceof ApiError ? Math.min(error.retryAfterMs ?? 0, MAX_ASKED_MS) : 0;
    const waitMs = Math.round(Math.max(asked, (isExpired(error) ? this.#expiries : this.#backoff).next(now())));
    const next = from === null || this.#version === null ? 'list' : 'watch';
    const fields = { resource: this.#name, err: error, waitMs, next };
    // An expired version is the ordinary end of a long silence.
    if (isExpired(error)) this.#log.info(fields, 'the version to watch from is too old');
    else this.#log.warn(fields, from === null ? 'cannot list' : 'cannot watch');
    await this.#wait(waitMs, signal);
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    const { controller, detach } = childOf(signal);
    this.#interrupt = () => controller.abort();
    try {
      await this.#sleep(ms, controller.signal);
    } catch (error) {
      // Stopped, or to go on: the loop looks at the signal next.
      if (!isAbort(error)) throw error;
    } finally {
      this.#interrupt = null;
      detach();
    }
  }

  /**
   * Reads everything, page by page, and only then replaces what the store has. The newest state is asked for, never a cached one: what came
   * after it must not be older than what the store had before.
   */
  async #list(signal: AbortSignal): Promise<void> {
    const { client, resource, pageSize = PAGE_SIZE } = this.#options;
    const replacement = this.#mirror.replacement(this.#anew);
    let version: string | null = null;
    let page: string | undefined;
    let limit: number | undefined = pageSize;
    do {
      try {
        const list = await client.list(resource, { ...this.#selection(), signal, limit, continue: page });
        for (const item of list.items) replacement.add(item);
        // All pages are of the state of the first.
        version ??= list.resourceVersion;
        page = list.continue;
      } catch (error) {
        // The state of the first page is gone before the last was read: once more, in one piece.
        if (!isExpired(error) || page === undefined) throw error;
        replacement.clear();
        [version, page, limit] = [null, undefined, undefined];
        continue;
      }
      if (signal.aborted) return;
    } while (version === null || page !== undefined);
    this.#version = version;
    this.#kindMissing = false;
    this.#anew = false;
    this.#refusals = 0;
    this.#counts.lists += 1;
    this.#lastEventAt = this.#options.now();
    replacement.apply();
    if (this.#synced) return;
    this.#synced = true;
    this.#log.debug({ resource: this.#name, objects: this.#store.size }, 'synced');
    this.#guard(() => this.#options.onSynced?.(), 'synced');
  }

  /** Follows the changes until the server ends it, or reopen(). 'short': it ended at once, which is worth a wait. 'silent': the watchdog ended it. */
  async #watch(from: string, signal: AbortSignal): Promise<'done' | 'short' | 'silent'> {
    const { client, resource, now, random, idleMs = IDLE_MS } = this.#options;
    const { controller, detach } = childOf(signal);
    let idle = false;
    let reopened = false;
    const started = now();
    // Not a timer that each event sets anew: in a rush that was a tenth of what taking it costs.
    let quiet = 0;
    const watchdog = setInterval(() => {
      if (quiet++ < IDLE_LOOKS) return;
      idle = true;
      controller.abort();
    }, idleMs / IDLE_LOOKS);
    this.#interrupt = () => {
      reopened = true;
      controller.abort();
    };
    const timeoutSeconds = WATCH_SECONDS.min + Math.floor(random() * (WATCH_SECONDS.max - WATCH_SECONDS.min + 1));
    this.#counts.watches += 1;
    try {
      const options = { ...this.#selection(), resourceVersion: from, timeoutSeconds, allowWatchBookmarks: true, signal: controller.signal };
      for await (const event of client.watch(resource, options)) {
        if (controller.signal.aborted) break;
        quiet = 0;
        this.#take(event);
      }
    } catch (error) {
      if (!(idle || reopened) || !isAbort(error)) throw error;
    } finally {
      this.#interrupt = null;
      clearInterval(watchdog);
      detach();
    }
    if (reopened) return 'done';
    if (idle) return 'silent';
    return this.#version !== from || now() - started >= SHORT_MS ? 'done' : 'short';
  }

  /**
   * Silence is usual where nothing happens: a server that was started lately has no bookmarks to send. But one that was restored from a
   * backup is silent, too, for a watch from a version that it has not reached, and until it does: then everything is listed.
   */
  async #verify(version: string, signal: AbortSignal): Promise<void> {
    const { client, resource } = this.#options;
    const { resourceVersion } = await client.list(resource, { ...this.#selection(), limit: 1, signal });
    this.#lastEventAt = this.#options.now();
    const behind = isBefore(resourceVersion, version);
    this.#log[behind ? 'warn' : 'debug'](
      { resource: this.#name, version, server: resourceVersion },
      behind ? 'the server has gone back in time; reading everything' : 'the watch was silent; opening another',
    );
    if (behind) this.#startAnew();
  }

  #startAnew(): void {
    this.#version = null;
    this.#anew = true;
  }

  /** Throws ApiError for an ERROR event, and BAD_RESPONSE for an object without a name. */
  #take({ type, object }: WatchEvent): void {
    const path = collectionPath(this.#options.resource, this.#options.namespace);
    if (type === 'ERROR') throw errorFromStatus('WATCH', path, 500, object as Status);
    this.#lastEventAt = this.#options.now();
    this.#refusals = 0;
    const { name, resourceVersion } = (object as Partial<KubeObject>).metadata ?? {};
    if (type !== 'BOOKMARK') {
      if (typeof name !== 'string' || name === '') throw new ApiError({ code: 'BAD_RESPONSE', message: `${type} of an object without a name`, verb: 'WATCH', path });
      this.#counts.events += 1;
      if (type === 'DELETED') this.#mirror.delete(object as T);
      else this.#mirror.put(object as T);
    }
    // Only now: what was not taken is asked for again.
    if (typeof resourceVersion === 'string' && resourceVersion !== '') this.#version = resourceVersion;
  }

  #selection(): SelectOptions {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    return { namespace, labelSelector, fieldSelector };
  }

  /** Calls a listener; its errors are its own, also those that come later. */
  #guard(call: () => unknown, what: string): void {
    const tell = (err: unknown): void => this.#log.error({ resource: this.#name, object: what, err }, 'a listener failed');
    try {
      const result = call();
      if (result instanceof Promise) result.catch(tell);
    } catch (error) {
      tell(error);
    }
  }
}

/**
 * Refusals that may be the version's fault although they do not say so: etcd's own words for a compacted one come as a plain 500. An event that
 * cannot be read is the first one of each watch from there; a list has what it was about.
 */
function mayMeanVersion(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  const { status, code } = error;
  return code === 'BAD_RESPONSE' || status === 500 || (status >= 400 && status < 500 && ![401, 403, 429].includes(status));
}

/** Versions are opaque to users, and counted up by every server there is (from 1.35 on also by contract). What is no number is not compared. */
function isBefore(a: string, b: string): boolean {
  const isNumber = /^\d{1,20}$/;
  return isNumber.test(a) && isNumber.test(b) && BigInt(a) < BigInt(b);
}
