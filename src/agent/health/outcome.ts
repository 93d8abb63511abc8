/**
 * What one check can find out, as data: a closed list of reasons, and what each of them proves. The list is shared by verdicts, metrics and
 * status. Not here: how often it must be found before it counts (verdict.ts).
 */

/** What a reason proves. */
interface Nature {
  /** true: healthy. false: not. null: nothing about the real server, because the check could not be made. */
  readonly passes: boolean | null;
  /** Whether something came back over the network: then the network works, whatever else does not. */
  readonly heard: boolean;
  /** Of the real server, for people. */
  readonly means: string;
}

/** Every reason. Stable: they are values of metrics and appear in status. */
export const REASONS = {
  Answered: { passes: true, heard: true, means: 'it answered as it should' },
  NotRefused: { passes: true, heard: false, means: 'a UDP port that answers nothing, and nobody refused the datagram' },
  Refused: { passes: false, heard: true, means: 'nothing listens on the port, or a packet filter rejects' },
  Reset: { passes: false, heard: true, means: 'the connection was reset before the answer' },
  Closed: { passes: false, heard: true, means: 'the connection was closed before the answer' },
  Hangs: { passes: false, heard: true, means: 'the connection was accepted, and the answer did not come in time' },
  BadAnswer: { passes: false, heard: true, means: 'the answer is not of the protocol' },
  WrongAnswer: { passes: false, heard: true, means: 'the answer is of the protocol, and not the expected one' },
  TLSFailed: { passes: false, heard: true, means: 'TLS could not be agreed on, or the certificate was not accepted' },
  Timeout: { passes: false, heard: false, means: 'nothing came back in time' },
  Unreachable: { passes: false, heard: false, means: 'there is no way to the address' },
  NotChecked: { passes: null, heard: false, means: 'the check could not be made: this node lacks sockets, ports, memory or a right' },
} as const satisfies Record<string, Nature>;

export type Reason = keyof typeof REASONS;

/** What a probe found. `message` is one printable line for people; nothing that a server sent stands in it unfiltered. */
export interface Outcome {
  readonly reason: Reason;
  readonly message: string;
}

/** A finished check. */
export interface Result extends Outcome {
  /** Monotonic milliseconds: when it began. */
  readonly at: number;
  readonly tookMs: number;
}

export function passes(reason: Reason): boolean | null {
  return REASONS[reason].passes;
}

/** Whether the result proves that the network between us and the real server works. */
export function heard(reason: Reason): boolean {
  return REASONS[reason].heard;
}

const LONGEST = 200;

/** Text from outside made fit for a status: one line of printable ASCII, at most 200 characters. */
export function printable(text: string): string {
  const clean = text.replace(/[^\x21-\x7e]+/g, ' ').trim();
  return clean.length > LONGEST ? `${clean.slice(0, LONGEST - 3)}...` : clean;
}
