/**
 * Host: the folder, the compiler and the agent of one host, joined. It moves values from one to the next and writes snapshot and status;
 * it decides nothing. run.ts drives it.
 */
import type { Logger } from 'pino';
import type { Agent, Report } from '../agent/agent.ts';
import type { Unhealthy } from '../agent/health/watch.ts';
import { Deferred } from '../agent/deferred.ts';
import { StateFolderError, type StateFolder } from '../agent/state-folder.ts';
import type { GroupSettings, Program } from '../api/v1alpha1/program.ts';
import { NO_MEMORY, readMemory, type Memory } from '../controller/compile/memory.ts';
import { Compiler } from '../controller/compiler.ts';
import type { ManifestFolder, ManifestScan } from './manifests.ts';
import { hostStatus, statusText, type HostStatus, type StatusInput } from './status.ts';

export interface HostOptions {
  readonly node: string;
  readonly manifests: ManifestFolder;
  readonly agent: Agent;
  readonly folder: StateFolder;
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Real servers of a program whose check fails; absent: nothing is checked. */
  readonly unhealthy?: (owner: string) => readonly Unhealthy[];
}

/** What survives a reboot: enough to serve without the manifests. */
interface Snapshot {
  readonly version: 1;
  /** Device and inode of the manifest folder: another, empty one in its place is an unmounted volume, not a wish. */
  readonly folder: string | null;
  readonly memory: Memory;
  readonly groups: readonly GroupSettings[];
  readonly programs: readonly Program[];
}

/** What of the snapshot must be known later. Its programs are the compiler's to forget. */
interface Last {
  readonly folder: string | null;
  readonly served: boolean;
}

export class Host {
  readonly #options: HostOptions;
  readonly #compiler: Compiler;
  readonly #last: Last;
  readonly #statusFile = new Deferred(() => this.#writeStatus());
  readonly #snapshotFile = new Deferred(() => this.#writeSnapshot());
  #scan: ManifestScan | null = null;
  #complete = true;
  /** Whether the folder held manifests in this process. */
  #filled = false;
  /** What the compiler holds differs from the snapshot on disk. */
  #unsaved = false;
  #sequence = 0;
  #lastChange = 0;
  #error = '';
  #shownProblems = '';

  constructor(options: HostOptions) {
    this.#options = options;
    const snapshot = loadSnapshot(options.folder, options.log);
    this.#last = { folder: snapshot.folder, served: snapshot.programs.length > 0 };
    this.#compiler = new Compiler(snapshot.memory, new Map(snapshot.programs.map((p) => [p.owner, p])), new Map(snapshot.groups.map((g) => [g.name, g])));
  }

  /**
   * Reads what changed in the folder and tells the agent. Returns whether something changed, whether a file is still being written, and
   * whether the status has something new to say.
   */
  readManifests(): { changed: boolean; busy: boolean; told: boolean } {
    const { manifests, agent, clock, log } = this.#options;
    const first = this.#scan === null;
    const scan = this.#guard(manifests.scan(clock()));
    const before = this.#scan;
    this.#scan = scan;
    const shown = JSON.stringify(scan.problems);
    const told = shown !== this.#shownProblems || scan.fingerprint !== before?.fingerprint || scan.busy !== before.busy;
    if (shown !== this.#shownProblems) for (const p of scan.problems) log[p.severity === 'error' ? 'error' : 'info']({ ...p }, 'manifest');
    this.#shownProblems = shown;
    if (scan.changed.size === 0 && !first && scan.complete === this.#complete) return { changed: false, busy: scan.busy, told };
    this.#complete = scan.complete;
    const change = this.#compiler.update(scan.objects, scan.changed, !scan.complete);
    agent.update(change.programs, change.groups ?? undefined);
    // Who holds which address must be on disk before the kernel shows it; the rest may wait until clients have what they wait for.
    this.#unsaved ||= change.programs.size > 0 || change.groups !== null;
    if (change.memoryChanged) this.#writeSnapshot();
    return { changed: true, busy: scan.busy, told };
  }

  /** An empty folder that is not the one of the last time is treated as one that is not there. */
  #guard(scan: ManifestScan): ManifestScan {
    if (scan.objects.size > 0) this.#filled = true;
    if (this.#filled) return scan;
    const { folder, served } = this.#last;
    if (!served || folder === null || scan.identity === null || scan.identity === folder) return scan;
    const message =
      'the manifest folder is empty and not the one of the last run (a volume that is not mounted?); what was served is served on until it holds manifests';
    return { ...scan, complete: false, problems: [...scan.problems, { code: 'FolderGone', severity: 'error', file: '.', message }] };
  }

  /** Takes what a reconcile reported. Status and snapshot are written soon. */
  report(report: Report | null, error: unknown): void {
    this.#sequence++;
    if (report && report.operations > 0) this.#lastChange = this.#sequence;
    this.#error = error ? (error as Error).message : '';
    if (this.#unsaved) this.#snapshotFile.ask();
    this.#statusFile.ask();
  }

  status(): HostStatus { return hostStatus(this.#statusInput()); }

  /** Writes the status soon: something happened that no reconcile reports. */
  tell(): void { this.#statusFile.ask(); }

  /** Writes at once what was to be written soon. */
  flush(): void {
    this.#snapshotFile.flush();
    this.#statusFile.flush();
  }

  #statusInput(): StatusInput {
    const { node, agent } = this.#options;
    return {
      node, pid: process.pid, sequence: this.#sequence, lastChange: this.#lastChange, pending: agent.pending || (this.#scan?.busy ?? true),
      manifestsHash: this.#scan?.fingerprint ?? '', servers: this.#compiler.servers, verdicts: this.#compiler.verdicts,
      programs: this.#compiler.programs, view: agent.view, unhealthy: this.#options.unhealthy,
      problems: (this.#scan?.problems ?? []).map((p) => ({ file: p.file, object: p.object ?? '', code: p.code, severity: p.severity, message: p.message })),
      error: this.#error,
    };
  }

  #writeStatus(): void {
    this.#write('status', (folder) => folder.writeText('status.json', statusText(this.#statusInput())));
  }

  /** A full disk must not end the process: the kernel is served on, and the next write may succeed. */
  #write(what: string, write: (folder: StateFolder) => void): boolean {
    try {
      write(this.#options.folder);
      return true;
    } catch (error) {
      if (!(error instanceof StateFolderError)) throw error;
      this.#options.log.error({ err: error.message }, `${what} not written`);
      return false;
    }
  }

  #writeSnapshot(): void {
    this.#unsaved = !this.#write('snapshot', (folder) => folder.writeParts('snapshot', this.#snapshotText()));
  }

  /** A Snapshot as the parts of its JSON text. */
  * #snapshotText(): Iterable<string> {
    const { memory, programs, groups } = this.#compiler;
    const head: Omit<Snapshot, 'programs'> = { version: 1, folder: this.#scan?.identity ?? this.#last.folder, memory, groups: [...groups.values()] };
    yield `${JSON.stringify(head).slice(0, -1)},"programs":[`;
    let separator = '';
    for (const program of programs.values()) {
      yield `${separator}${JSON.stringify(program)}`;
      separator = ',';
    }
    yield ']}';
  }
}

function loadSnapshot(folder: StateFolder, log: Logger): Snapshot {
  const nothing: Snapshot = { version: 1, folder: null, memory: NO_MEMORY, groups: [], programs: [] };
  const file = folder.read('snapshot');
  if (file.state === 'missing') return nothing;
  const value = file.state === 'ok' ? file.value as Partial<Snapshot> : null;
  if (value?.version !== 1 || !Array.isArray(value.programs) || !Array.isArray(value.groups)) {
    log.warn({ problem: file.state === 'corrupt' ? file.problem : 'not a snapshot of this version' }, 'snapshot lost: addresses may be allocated anew');
    return nothing;
  }
  return { ...nothing, ...value, memory: readMemory(value.memory) } as Snapshot;
}
