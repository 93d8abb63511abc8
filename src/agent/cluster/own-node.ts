/**
 * OwnNode: the IPVSNode of this node, as the API server has it. The agent's own report is in it, with thousands of programs some hundred
 * kilobytes that would come back after each writing; so only metadata is watched, and the object is read when another than the agent may have
 * written it: what the agent wrote is known by the version that the answer to the write had. What a change means is host.ts's.
 */
import { RESOURCES, type IPVSNode, type IPVSNodeStatus } from '../../api/v1alpha1/index.ts';
import { Backoff } from '../../kube/backoff.ts';
import type { KubeClient } from '../../kube/client.ts';
import { isNotFound } from '../../kube/errors.ts';
import { Reflector, type ReflectorStats } from '../../kube/reflector.ts';
import type { KubeObject, Log, Resource } from '../../kube/types.ts';
import { isAbort, onAbort, sleep as realSleep, type Sleep } from '../../kube/wait.ts';
import { withoutReport, type WatchedNode } from './reported.ts';

export interface OwnNodeOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch' | 'get'>;
  readonly node: string;
  /** Whether a status is what this agent wrote, or writes just now. */
  readonly recognises: (status: IPVSNodeStatus) => boolean;
  /** Called when `object` is another, or `kindMissing`. */
  readonly onChange: () => void;
  /** Called once: it is known whether there is such an object, and if so it was read. */
  readonly onSynced: () => void;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  readonly sleep?: Sleep;
}

const { parse: _, ...KIND } = RESOURCES.IPVSNode;
const METADATA: Resource = { ...KIND, metadataOnly: true };
const RETRY = { minMs: 800, maxMs: 30_000, resetMs: 60_000 };
/** Versions that own writes made and that may still be heard of. */
const REMEMBERED = 16;

/** An object as the API server had it at one moment. */
interface Version { readonly uid: string | undefined; readonly resourceVersion: string | undefined }

export class OwnNode {
  readonly #options: OwnNodeOptions;
  readonly #reflector: Reflector<KubeObject>;
  #object: WatchedNode | null = null;
  /** Which version of the object is known, read or written. */
  #known: Version | null = null;
  /** After how many lists: what happened before one may have been missed. */
  #lists = 0;
  readonly #written: string[] = [];
  #writing = false;
  /** Why the newest version cannot be read for what it is; null: it can. */
  #bad: string | null = null;
  #synced = false;
  #wake: () => void = () => {};

  constructor(options: OwnNodeOptions) {
    const { client, node, log, now, random, sleep } = options;
    this.#options = options;
    this.#reflector = new Reflector<KubeObject>({
      client, resource: METADATA, fieldSelector: `metadata.name=${node}`, log, now, random, ...(sleep && { sleep }),
      onChange: ({ type }) => { if (type === 'deleted') this.#forget(); this.#wake(); }, onSynced: () => this.#wake(), onKindMissing: () => options.onChange(),
    });
  }

  /** Null: there is none, or none was read yet. */
  get object(): WatchedNode | null { return this.#object; }
  get synced(): boolean { return this.#synced; }
  get kindMissing(): boolean { return this.#reflector.kindMissing; }
  get stats(): ReflectorStats { return { ...this.#reflector.stats, badObjects: this.badObjects.size }; }
  get store(): { readonly size: number } { return this.#reflector.store; }
  get badObjects(): ReadonlyMap<string, string> { return new Map(this.#bad === null ? [] : [[this.#options.node, this.#bad]]); }

  /** A write of this agent's begins. What is heard until it has ended may be its own. */
  writing(): void { this.#writing = true; }

  /** It has ended. `resourceVersion`: of its answer; null: it failed, or it is not known what came of it. */
  wrote(resourceVersion: string | null): void {
    this.#writing = false;
    if (resourceVersion !== null && this.#written.push(resourceVersion) > REMEMBERED) this.#written.shift();
    this.#wake();
  }

  /** See Reflector.reopen. */
  reopen(): void { this.#reflector.reopen(); }

  /** Resolves when the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#reflector.run(signal), this.#read(signal)]);
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { client, node, log, now, random, sleep = realSleep } = this.#options;
    const backoff = new Backoff({ ...RETRY, random });
    while (!signal.aborted) {
      if (!this.#due()) {
        await this.#woken(signal);
        continue;
      }
      const lists = this.#reflector.stats.lists;
      try {
        const raw = await client.get<IPVSNode>(RESOURCES.IPVSNode, node, undefined, { signal });
        this.#take(raw, lists);
      } catch (error) {
        if (signal.aborted) return;
        const waitMs = Math.round(backoff.next(now()));
        // It is gone, and word of that is on its way.
        if (!isNotFound(error)) log.warn({ err: error, waitMs }, 'this node\'s IPVSNode cannot be read; trying on');
        await sleep(waitMs, signal).catch((reason: unknown) => { if (!isAbort(reason)) throw reason; });
      }
    }
  }

  /** Whether the object is to be read; takes note of what need not be. */
  #due(): boolean {
    const { node } = this.#options;
    const { metadata } = this.#reflector.store.get(node) ?? {};
    if (!metadata) {
      if (this.#reflector.synced) this.#settle();
      return false;
    }
    const { uid, resourceVersion, generation } = metadata;
    const known = this.#known;
    if (known?.uid === uid && known?.resourceVersion === resourceVersion) return false;
    // A report changes neither of these.
    if (known?.uid !== uid || generation !== this.#object?.metadata.generation) return true;
    if (this.#writing) return false;
    if (resourceVersion === undefined || !this.#written.includes(resourceVersion) || this.#lists !== this.#reflector.stats.lists) return true;
    this.#known = { uid, resourceVersion };
    return false;
  }

  #take(raw: IPVSNode, lists: number): void {
    const { node, log, recognises, onChange } = this.#options;
    const { uid, resourceVersion } = raw.metadata;
    // It went while it was being read: word of that has come already, and may be all that comes.
    if (!this.#reflector.store.has(node)) return;
    this.#known = { uid, resourceVersion };
    this.#lists = lists;
    try {
      this.#object = withoutReport(RESOURCES.IPVSNode.parse(raw), recognises);
      this.#bad = null;
    } catch (error) {
      // As of every object: the last that could be read stays in force, until word comes that it is gone.
      this.#bad = (error as Error).message;
      log.warn({ resource: 'ipvsnodes', object: node, err: error }, 'bad object; keeping the last good version');
    }
    onChange();
    this.#settle();
  }

  #forget(): void {
    this.#object = this.#known = this.#bad = null;
    this.#options.onChange();
  }

  #settle(): void {
    if (this.#synced) return;
    this.#synced = true;
    this.#options.onSynced();
  }

  async #woken(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const detach = onAbort(signal, resolve);
    this.#wake = resolve;
    await promise;
    this.#wake = () => {};
    detach();
  }
}
