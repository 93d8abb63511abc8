/** Wrong command lines: the one error of all sub-commands for them, and the options that several have. What a command takes is its own. */
import { parseArgs, type ParseArgsConfig } from 'node:util';

/** Ends the program with exit code 64 before it does anything; the message has the option by name and what to give instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'USAGE';
}

/** `parseArgs`, with its errors as UsageError. */
export function readArguments<const T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Whether somebody wants to know what a command takes, rather than run it. */
export function asksForHelp(args: readonly string[]): boolean {
  return args.includes('--help') || args.includes('-h');
}

export const LOG_LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** The value of `--log-level`. Throws UsageError. */
export function readLogLevel(text = 'info'): string {
  if (!LOG_LEVELS.includes(text)) throw new UsageError(`--log-level ${text}: must be one of ${LOG_LEVELS.join(', ')}`);
  return text;
}
