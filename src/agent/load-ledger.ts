/** Reads the ledger of the process before, and says what it means when there is none. What a ledger is, is ledger.ts's. */
import type { Logger } from 'pino';
import { emptyLedger, readLedger, type Ledger } from './ledger.ts';
import type { ReadResult, StateFolder } from './state-folder.ts';

export function loadLedger(folder: StateFolder, log: Logger): Ledger {
  const file = folder.read('ledger');
  const ledger = ledgerOf(file);
  if (ledger) return ledger;
  if (file.state === 'missing') log.info({ folder: folder.path }, 'no ledger: what stands where ours should stand is adopted, nothing is deleted');
  else log.warn({ problem: file.state === 'corrupt' ? file.problem : 'not a ledger' }, 'ledger lost: what stands is adopted, nothing is deleted');
  return emptyLedger(true);
}

/** The ledger in the file 'ledger' of a state folder; null where there is none that can be read. */
export function ledgerOf(file: ReadResult): Ledger | null {
  return file.state === 'ok' ? readLedger(file.value) : null;
}
