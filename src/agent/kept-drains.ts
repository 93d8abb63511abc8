/**
 * The records of what drains, in the process and in the state folder. What a record means is drain.ts's, what becomes of it plan-ipvs.ts's.
 * Without them drains begin anew after a restart, and that is all: where they cannot be written they count all the same.
 */
import type { Logger } from 'pino';
import type { DrainRecords } from './drain.ts';
import { StateFolderError, type StateFolder } from './state-folder.ts';

export class KeptDrains {
  readonly #folder: StateFolder;
  readonly #log: Logger;
  #records: DrainRecords;
  /** Whether the last write failed: it is tried again. */
  #unsaved = false;

  /** Reads what the process before left; lost, all that drains begins anew. */
  constructor(folder: StateFolder, log: Logger) {
    this.#folder = folder;
    this.#log = log;
    const file = folder.read('drains');
    this.#records = file.state === 'ok' ? file.value as DrainRecords : {};
  }

  get records(): DrainRecords { return this.#records; }

  get any(): boolean { return Object.keys(this.#records).length > 0; }

  /** What drains now. Written where it is another than before, or was not written then; that it cannot be is logged once. */
  set(records: DrainRecords): void {
    const unsaved = this.#unsaved;
    if (records === this.#records && !unsaved) return;
    this.#records = records;
    this.#unsaved = true;
    try {
      this.#folder.write('drains', records);
      this.#unsaved = false;
    } catch (error) {
      if (!(error instanceof StateFolderError)) throw error;
      if (!unsaved) this.#log.error({ err: error.message }, 'drains not written; after a restart they would begin anew');
    }
  }
}
