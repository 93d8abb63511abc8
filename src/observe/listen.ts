/** Where the health port is to be: the text of an option as an address, and the codes of what can go wrong with it. */
import { isIPv6 } from 'node:net';

export const HEALTH_CODES = {
  LISTEN_TAKEN: 'Another program has the health port. Traffic is served all the same; metrics and probes are when the port is free. Give another one with --listen.',
  LISTEN_REFUSED: 'The health port cannot be opened; the message has the reason of the system. Traffic is served all the same, and it is tried again.',
  LISTEN_INVALID: 'The address of --listen is not HOST:PORT, [IPV6]:PORT or :PORT.',
} as const;

export type HealthCode = keyof typeof HEALTH_CODES;

export class HealthError extends Error {
  override readonly name = 'HealthError';
  readonly code: HealthCode;
  constructor(code: HealthCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

const PARTS = /^(?:\[([^\]]+)\]|([^:[\]\s]*)):(\d{1,5})$/;

export interface ListenAddress {
  /** Absent: every address of the host. */
  readonly host?: string;
  readonly port: number;
}

/** What is wrong with the text of the option; null: nothing. */
export function listenProblem(text: string): string | null {
  const [, ipv6, , digits = ''] = PARTS.exec(text) ?? [];
  if (digits !== '' && Number(digits) <= 65_535 && (ipv6 === undefined || isIPv6(ipv6))) return null;
  return `--listen ${text}: must be HOST:PORT, [IPV6]:PORT or :PORT`;
}

/** Reads `HOST:PORT`, `[IPV6]:PORT` or `:PORT`. Throws HealthError LISTEN_INVALID. */
export function parseListen(text: string): ListenAddress {
  const problem = listenProblem(text);
  if (problem !== null) throw new HealthError('LISTEN_INVALID', problem);
  const [, ipv6, name = '', digits] = PARTS.exec(text)!;
  const host = ipv6 ?? name;
  return { ...(host !== '' && { host }), port: Number(digits) };
}
