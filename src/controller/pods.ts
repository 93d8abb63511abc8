/**
 * PodCache: the Pods of the cluster, read only while some VirtualServer asks for weights of Pods (podWeights) and the server lets us read them:
 * there are many of them, and most clusters ask for none. What their annotations mean is compile's; whom a change concerns is world.ts's.
 */
import type { KubeClient } from '../kube/client.ts';
import { Reflector, type Change } from '../kube/reflector.ts';
import { Store, writerOf } from '../kube/store.ts';
import type { Log } from '../kube/types.ts';
import { childOf, isAbort, onAbort, sleep as realSleep, type Sleep } from '../kube/wait.ts';
import { PODS, trimPod, type Pod } from './core.ts';

export interface PodCacheOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch'>;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  readonly sleep?: Sleep;
  readonly onChange: (change: Change<Pod>) => void;
  /** Pods are known now, or it is known that they cannot be had: whoever asks is concerned. */
  readonly onAnswer: () => void;
}

/** Pods that are asked for and cannot be listed are asked for again so often. Milliseconds. */
const REFUSED_MS = 10_000;

export class PodCache {
  readonly #options: PodCacheOptions;
  /** The same over all times of asking. */
  readonly store = new Store<Pod>({ trim: trimPod });
  #reflector: Reflector<Pod>;
  /** Keys of the VirtualServers that ask. */
  readonly #asking = new Set<string>();
  /** Nobody is to wait for it: nobody asks, or Pods cannot be had. */
  #absent = true;
  /** Wakes who waits for somebody to ask, or ends what goes on while somebody asks. */
  #turn: () => void = () => {};

  constructor(options: PodCacheOptions) {
    this.#options = options;
    this.#reflector = this.#make();
  }

  get asked(): boolean { return this.#asking.size > 0; }
  get absent(): boolean { return this.#absent; }
  /** Whether all of them are known. */
  get synced(): boolean { return this.#reflector.synced; }
  /** Whether they cannot be had, as far as is known. */
  get refused(): boolean { return this.asked && this.#absent; }
  get stats(): Reflector<Pod>['stats'] { return this.#reflector.stats; }

  /**
   * Whether a VirtualServer asks. Where one does from the start, nothing is decided until Pods are there, or it is known that they cannot be had: a
   * restart must not change weights to and fro. Later nobody waits for them. After the last one they are let go of.
   */
  ask(key: string, asks: boolean): void {
    const before = this.asked;
    if (asks) this.#asking.add(key);
    else this.#asking.delete(key);
    if (this.asked === before) return;
    this.#absent = before;
    this.#turn();
  }

  /** Resolves when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#untilAsked(signal);
      const { controller, detach } = childOf(signal);
      this.#turn = () => { if (!this.asked) controller.abort(); };
      this.#turn();
      if (await this.#permitted(controller.signal)) await this.#reflector.run(controller.signal);
      detach();
      this.#turn = () => {};
      if (!signal.aborted) this.#forget();
    }
  }

  async #untilAsked(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const forget = onAbort(signal, resolve);
    this.#turn = () => { if (this.asked) resolve(); };
    this.#turn();
    await promise;
    forget();
  }

  /** Whether the server lets us read them, as soon as it does; false when nobody asks any more. */
  async #permitted(signal: AbortSignal): Promise<boolean> {
    const { client, log, onAnswer, sleep = realSleep } = this.#options;
    while (!signal.aborted) {
      try {
        await client.list(PODS, { limit: 1, signal });
        this.#absent = false;
        return true;
      } catch (error) {
        if (isAbort(error) || signal.aborted) return false;
        log.warn({ err: error }, 'weights of Pods are asked for, and Pods cannot be listed; they do not count');
        this.#absent = true;
        onAnswer();
      }
      try {
        await sleep(REFUSED_MS, signal);
      } catch (error) {
        if (!isAbort(error)) throw error;
      }
    }
    return false;
  }

  /** Nobody asks: memory and watch are worth something. */
  #forget(): void {
    const writer = writerOf(this.store);
    for (const key of [...this.store.keys()]) writer.delete(key);
    this.#reflector = this.#make();
  }

  #make(): Reflector<Pod> {
    const { client, log, now, random, sleep, onChange, onAnswer } = this.#options;
    return new Reflector<Pod>({ client, resource: PODS, store: this.store, log, now, random, ...(sleep && { sleep }), onChange, onSynced: onAnswer });
  }
}
