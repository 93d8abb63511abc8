/**
 * StatusWriter: writes what the agent reports to the status of its IPVSNode, by server-side apply, or as edits when little of it is new:
 * only when it says something else than the time before or somebody else wrote over it, at most once a second, or in five when programs
 * only changed, and again until it is written. What it says is node-status.ts's.
 */
import { API_VERSION, RESOURCES, type IPVSNodeStatus } from '../../api/v1alpha1/index.ts';
import { Backoff } from '../../kube/backoff.ts';
import type { Edit, KubeClient } from '../../kube/client.ts';
import type { Condition } from '../../kube/conditions.ts';
import { isInvalid, isNotFound } from '../../kube/errors.ts';
import type { Log } from '../../kube/types.ts';
import { isAbort, onAbort, sleep as realSleep, type Sleep } from '../../kube/wait.ts';
import { editsBetween, newsIn, sameReport } from './reported.ts';

export interface StatusWriterOptions {
  readonly client: Pick<KubeClient, 'apply' | 'update' | 'editStatus'>;
  readonly node: string;
  /** What to say, with the conditions of the time before; null when that cannot be said just now: it is asked for again then. */
  readonly status: (before: readonly Condition[]) => IPVSNodeStatus | null;
  /** Conditions of the object as it was read, for the first time. */
  readonly known: () => readonly Condition[];
  /** Called when a write begins, and when it has ended: with the version that it made, or null when that is not known. */
  readonly writing: () => void;
  readonly wrote: (resourceVersion: string | null) => void;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  readonly log: Log;
  readonly sleep?: Sleep;
}

const FIELD_MANAGER = 'ipvs-agent';
/** Between two writes. Milliseconds. */
const EVERY_MS = 1_000;
/**
 * The same when all that is new is in which form programs run that ran before, and who drains: every change of an endpoint is. The controller waits
 * twice as long for it. Milliseconds.
 */
const FOLLOWED_MS = 5_000;
const RETRY = { minMs: 1_000, maxMs: 30_000, resetMs: 60_000 };

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  #asked = false;
  #wake: (() => void) | null = null;
  #written: IPVSNodeStatus | null = null;
  /** On its way: it may be heard of before the answer to the write is here. */
  #writing: IPVSNodeStatus | null = null;
  #writtenAt = -Infinity;
  /** Somebody else wrote over it. */
  #spoiled = false;
  /** Writes that were done, and that failed. */
  readonly counts = { written: 0, failed: 0 };

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** There may be something new to say. */
  ask(): void {
    this.#asked = true;
    this.#wake?.();
  }

  /** The object is another than the one that was written to: everything is said again. */
  forget(): void {
    this.#written = null;
    this.ask();
  }

  /** Whether the server has what was written, or is being written; before the first time everything is. */
  recognises(status: IPVSNodeStatus): boolean {
    return this.#written === null || sameReport(this.#written, status) || (this.#writing !== null && sameReport(this.#writing, status));
  }

  /**
   * The server has something else than what was written. Of two writes shortly one after the other the first may come back after the second was
   * made: then one is made that changes nothing, and of which nothing is heard.
   */
  spoiled(): void {
    this.#spoiled = true;
    this.ask();
  }

  /** Resolves when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { now, random } = this.#options;
    const backoff = new Backoff({ ...RETRY, random });
    while (!signal.aborted) {
      if (!this.#asked) {
        await this.#sleep(null, signal);
        continue;
      }
      this.#asked = false;
      const outcome = await this.#write(signal);
      if (outcome === 'same') continue;
      if (outcome !== 'written') this.#asked = true;
      await this.#sleep(outcome === 'failed' ? backoff.next(now()) : EVERY_MS, signal);
    }
  }

  async #write(signal: AbortSignal): Promise<'written' | 'same' | 'later' | 'absent' | 'failed'> {
    const { log, now, writing, wrote } = this.#options;
    const status = this.#say();
    if (status === 'failed') return status;
    if (status === null) return 'same';
    const again = this.#spoiled;
    const news = again || this.#written === null ? 'more' : newsIn(this.#written, status);
    if (news === 'nothing') return 'same';
    if (news === 'forms' && now() - this.#writtenAt < FOLLOWED_MS) return 'later';
    this.#spoiled = false;
    this.#writing = status;
    writing();
    let version: string | null = null;
    try {
      const edits = again || this.#written === null ? null : editsBetween(this.#written, status);
      version = await (edits ? this.#edit(edits, status, signal) : this.#apply(status, again, signal));
      this.#written = status;
      this.#writtenAt = now();
      this.counts.written += 1;
      return 'written';
    } catch (error) {
      this.#spoiled ||= again;
      if (signal.aborted) return 'failed';
      this.counts.failed += 1;
      // The controller makes it; until then there is nobody to tell.
      if (isNotFound(error)) return 'absent';
      log.warn({ err: error }, 'status not written; trying on');
      return 'failed';
    } finally {
      this.#writing = null;
      wrote(version);
    }
  }

  /** The version that it made. */
  async #apply(status: IPVSNodeStatus, again: boolean, signal: AbortSignal): Promise<string | null> {
    const { client, node } = this.#options;
    const options = { fieldManager: FIELD_MANAGER, subresource: 'status', signal } as const;
    const object = { apiVersion: API_VERSION, kind: 'IPVSNode', metadata: { name: node }, status } as never;
    let after = await client.apply(RESOURCES.IPVSNode, object, { ...options, force: true, metadataOnly: !again });
    // What another has added stays where we apply ours, such as a condition of its own.
    if (again && !sameReport(after.status ?? {}, status)) after = await client.update(RESOURCES.IPVSNode, { ...after, status } as never, options);
    return after.metadata.resourceVersion ?? null;
  }

  /** Of thousands of lines those that are others. Where the server has not what was written before, everything is written. */
  async #edit(edits: readonly Edit[], status: IPVSNodeStatus, signal: AbortSignal): Promise<string | null> {
    const { client, node } = this.#options;
    try {
      const after = await client.editStatus(RESOURCES.IPVSNode, node, undefined, edits, { fieldManager: FIELD_MANAGER, signal, metadataOnly: true });
      return after.metadata.resourceVersion ?? null;
    } catch (error) {
      if (!isInvalid(error)) throw error;
      return await this.#apply(status, false, signal);
    }
  }

  /** Whatever is wrong with what there is to say: a node that cannot report serves all the same. */
  #say(): IPVSNodeStatus | null | 'failed' {
    const { status: say, known, log } = this.#options;
    try {
      return say((this.#written?.conditions as readonly Condition[] | undefined) ?? known());
    } catch (error) {
      this.counts.failed += 1;
      log.error({ err: error }, 'the status could not be made; trying on');
      return 'failed';
    }
  }

  /** Null: until something is asked for. A wait with a time is not cut short: it is what keeps writes apart. */
  async #sleep(ms: number | null, signal: AbortSignal): Promise<void> {
    if (ms === null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const detach = onAbort(signal, resolve);
      this.#wake = resolve;
      await promise;
      this.#wake = null;
      return detach();
    }
    const { sleep = realSleep } = this.#options;
    try {
      await sleep(ms, signal);
    } catch (error) {
      if (!isAbort(error)) throw error;
    }
  }
}
