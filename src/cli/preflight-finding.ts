/** One line of a preflight: how it is, what was looked at, what was found, what to do. */

export type Level = 'ok' | 'warn' | 'fail';

export interface Finding {
  readonly level: Level;
  /** What was looked at, in a word or two; stable. */
  readonly check: string;
  readonly message: string;
  /** What to do; '' when ok. */
  readonly fix: string;
}

export function ok(check: string, message: string): Finding { return { level: 'ok', check, message, fix: '' }; }
export function warn(check: string, message: string, fix: string): Finding { return { level: 'warn', check, message, fix }; }
export function fail(check: string, message: string, fix: string): Finding { return { level: 'fail', check, message, fix }; }
