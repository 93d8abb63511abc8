/**
 * ToldFile: what this node is told, on disk, change by change. A base has all of it; what changes is appended to the base's journal, soon and
 * together. When a journal has grown larger than its base, or cannot be appended to any more, a new base is made; until that one stands,
 * changes go to both journals, so that whichever base a crash leaves, what was appended is there. So a change costs what it is large, not what
 * everything is. It decides nothing; snapshot.ts says what is in the files and reads them.
 */
import { randomBytes } from 'node:crypto';
import type { IPVSNodeSpec } from '../../api/v1alpha1/index.ts';
import type { Program } from '../../api/v1alpha1/program.ts';
import type { Log } from '../../kube/types.ts';
import { Deferred } from '../deferred.ts';
import { Journal, removeJournals } from '../journal.ts';
import { StateFolderError, type StateFolder } from '../state-folder.ts';
import type { GroupDuty } from './programs.ts';
import { TOLD_FILE, toldEntries, toldText, type Snapshot, type Told, type ToldChange } from './snapshot.ts';

/** It is on disk a little later: the kernel comes first, and changes come together. Milliseconds. */
const DELAY_MS = 500;
/** So much is read in no time, and a base of a few programs is not worth making for it. Bytes. */
const LEAST_BYTES = 256 * 1024;

export interface ToldFileOptions {
  readonly folder: StateFolder;
  readonly node: string;
  readonly log: Log;
  /** What the node is told, as it is whenever it is looked at. Its values are never changed, only replaced. */
  readonly told: { readonly spec: IPVSNodeSpec | null; readonly groups: ReadonlyMap<string, GroupDuty>; readonly programs: ReadonlyMap<string, Program> };
  /** What was read from the disk at the start. */
  readonly before: Pick<Snapshot, 'state' | 'base'> | null;
  /** Between a change and its append. */
  readonly delayMs?: number;
  /** A journal may grow as large as its base, and at least so large. Bytes. */
  readonly leastBytes?: number;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** A base that is being written. */
interface Next {
  readonly base: string;
  readonly journal: Journal;
  readonly stop: AbortController;
  /** Its journal is torn, or nobody knows whether it would stand after a power failure: it is not enough. */
  torn: boolean;
  /** How many changes it has, with its journal. */
  saved: number;
}

export class ToldFile {
  readonly #options: ToldFileOptions;
  readonly #appends: Deferred;
  readonly #bases: Deferred;
  /** What was on disk at the start, until the first change. */
  #before: Pick<Snapshot, 'state' | 'base'> | null;
  /** What is not appended yet. */
  #pending = { owners: new Set<string>(), spec: false, groups: false };
  /** What `pending` knows of. */
  #seen: { spec: IPVSNodeSpec | null; groups: readonly GroupDuty[] };
  /** Of the base that stands; null: there is none that could be appended to. */
  #journal: Journal | null = null;
  /** Bytes of that base. */
  #baseBytes = 0;
  #next: Next | null = null;
  #appending = false;
  #asked = 0;
  #saved = 0;

  constructor(options: ToldFileOptions) {
    const { before, delayMs = DELAY_MS, now = () => performance.now() } = options;
    this.#options = options;
    this.#before = before;
    this.#seen = { spec: before?.state.spec ?? null, groups: [...before?.state.groups.values() ?? []] };
    this.#appends = new Deferred(() => this.#appendNow(), { now, delayMs, slowly: () => this.#append() });
    this.#bases = new Deferred(() => this.#writeBaseNow(), { now, slowly: () => this.#writeBase() });
  }

  /** How many of the calls of `changed` are on disk, with all before them. */
  get saved(): number { return this.#saved; }

  /** What the node is told has changed: programs of these owners, perhaps the rest. It is written soon. */
  changed(owners: Iterable<string>): void {
    const { spec, groups, programs } = this.#options.told;
    // What changed before the first call is found by looking: what is gone since the last process was never taken up in this one.
    for (const owner of this.#before ? this.#begin(this.#before.state.programs, programs) : owners) this.#pending.owners.add(owner);
    const duties = [...groups.values()];
    this.#pending.spec ||= spec !== this.#seen.spec && JSON.stringify(spec) !== JSON.stringify(this.#seen.spec);
    this.#pending.groups ||= duties.length !== this.#seen.groups.length || duties.some((duty, i) => duty !== this.#seen.groups[i]);
    this.#seen = { spec, groups: duties };
    this.#asked += 1;
    this.#appends.ask();
  }

  /** Writes at once what is missing on disk: the process may end. */
  flush(): void {
    this.#appends.flush();
    // What could not be appended now, or failed before and waits for the next change.
    if (this.#saved < this.#asked) this.#bases.ask();
    this.#bases.flush();
  }

  /** Owners of the programs that are other than on disk. */
  #begin(before: ReadonlyMap<string, Program>, now: ReadonlyMap<string, Program>): Iterable<string> {
    const { folder } = this.#options;
    const base = this.#before?.base ?? null;
    this.#before = null;
    if (base === null) return [];
    this.#journal = new Journal(folder, TOLD_FILE, base);
    this.#baseBytes = folder.sizeOf(TOLD_FILE);
    this.#tidy(base);
    return new Set([...before.keys(), ...now.keys()].filter((owner) => before.get(owner) !== now.get(owner)));
  }

  /** Takes what is not appended yet; null: nothing. */
  #take(): ToldChange | null {
    const { spec, groups, programs } = this.#options.told;
    const pending = this.#pending;
    this.#pending = { owners: new Set(), spec: false, groups: false };
    if (pending.owners.size === 0 && !pending.spec && !pending.groups) return null;
    return {
      spec: pending.spec ? spec : null,
      groups: pending.groups ? [...groups.values()] : null,
      programs: new Map([...pending.owners].map((owner) => [owner, programs.get(owner) ?? null])),
    };
  }

  /** Journals that every change goes to. */
  get #open(): readonly Journal[] {
    return [this.#journal, this.#next?.torn === false ? this.#next.journal : null].filter((journal) => journal !== null);
  }

  async #append(): Promise<void> {
    const journals = this.#open;
    if (journals.length === 0) return this.#bases.ask();
    const upTo = this.#asked;
    const change = this.#take();
    this.#appending = true;
    for (const journal of change ? journals : []) {
      // One may have gone meanwhile.
      if (this.#open.includes(journal)) await journal.append(toldEntries(change!)).catch((error: unknown) => this.#tore(journal, error));
    }
    this.#appending = false;
    this.#appended(upTo);
  }

  #appendNow(): void {
    const journals = this.#open;
    // What is being appended may be half there.
    if (this.#appending || journals.length === 0) return this.#bases.ask();
    const upTo = this.#asked;
    const change = this.#take();
    for (const journal of change ? journals : []) {
      try {
        journal.appendNow(toldEntries(change!));
      } catch (error) {
        this.#tore(journal, error);
      }
    }
    this.#appended(upTo);
  }

  #appended(upTo: number): void {
    const next = this.#next;
    if (next && !next.torn) next.saved = Math.max(next.saved, upTo);
    // A base whose journal is torn stands perhaps, until it is known.
    if (this.#journal && !next?.torn) this.#saved = Math.max(this.#saved, upTo);
    if (next && !next.torn) return;
    if (!this.#journal || this.#journal.size > Math.max(this.#baseBytes, this.#options.leastBytes ?? LEAST_BYTES)) this.#bases.ask();
  }

  #tore(journal: Journal, error: unknown): void {
    this.#notWritten(journal.file, error);
    if (journal === this.#journal) this.#journal = null;
    if (journal !== this.#next?.journal) return;
    this.#next.torn = true;
    this.#next.stop.abort();
  }

  async #writeBase(): Promise<void> {
    const told = this.#whole();
    if (!told) return;
    const { folder, node } = this.#options;
    // The base has it, and there is no other that would need it.
    if (!this.#journal) this.#take();
    const next = this.#beginBase();
    try {
      await folder.writePartsSlowly(TOLD_FILE, toldText(node, next.base, told), next.stop.signal);
    } catch (error) {
      if (!next.stop.signal.aborted) this.#notWritten(TOLD_FILE, error);
      next.journal.discard();
      if (this.#next === next) this.#next = null;
      return;
    }
    // Before the old journal goes.
    if (this.#next === next) await folder.sync().catch((error: unknown) => { next.torn = true; this.#notWritten(TOLD_FILE, error); });
    if (this.#next === next) this.#stands(next);
  }

  /** What is missing on disk, with all the rest; in place of a base that is being written. */
  #writeBaseNow(): void {
    const told = this.#saved < this.#asked ? this.#whole() : null;
    if (!told) return;
    const { folder, node } = this.#options;
    this.#take();
    this.#next?.stop.abort();
    this.#next?.journal.close();
    const next = this.#beginBase();
    try {
      folder.writeParts(TOLD_FILE, toldText(node, next.base, told));
      folder.syncNow();
    } catch (error) {
      this.#notWritten(TOLD_FILE, error);
      // Which of the earlier ones stands is not known any more.
      this.#journal?.close();
      this.#journal = this.#next = null;
      return;
    }
    this.#stands(next);
  }

  /** All of it, as it is now; null: it was never told anything. */
  #whole(): Told | null {
    const { spec, groups, programs } = this.#options.told;
    return spec && { spec, groups: [...groups.values()], programs: [...programs.values()] };
  }

  #beginBase(): Next {
    const base = randomBytes(8).toString('hex');
    return this.#next = { base, journal: new Journal(this.#options.folder, TOLD_FILE, base), stop: new AbortController(), torn: false, saved: this.#asked };
  }

  #stands(next: Next): void {
    this.#journal?.close();
    this.#next = null;
    if (next.torn) {
      next.journal.close();
      this.#journal = null;
      return this.#bases.ask();
    }
    this.#journal = next.journal;
    this.#baseBytes = this.#options.folder.sizeOf(TOLD_FILE);
    this.#saved = Math.max(this.#saved, next.saved);
    this.#tidy(next.base);
  }

  /** Journals of bases that are gone. */
  #tidy(base: string): void {
    try {
      removeJournals(this.#options.folder, TOLD_FILE, base);
    } catch (error) {
      this.#options.log.warn({ err: (error as Error).message }, 'journals of the past not removed; they are in nobody\'s way');
    }
  }

  /** A full disk must not end the process: the kernel is served on, and the next write may succeed. */
  #notWritten(what: string, error: unknown): void {
    if (!(error instanceof StateFolderError)) throw error;
    this.#options.log.error({ err: error.message }, `${what} not written`);
  }
}
