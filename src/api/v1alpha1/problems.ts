/**
 * What can be wrong with an object somebody wrote: a stable code, where, what, and what to do about it. The table of codes is
 * the whole vocabulary; logs, status and `ipvs-operator plan` print the same words. Not for what is wrong with a file
 * (standalone/problems.ts) or with the world around an object (conditions.ts).
 */

/** Every code, with its meaning. Codes are stable: scripts and alerts may match on them. */
export const PROBLEM_CODES = {
  NotAnObject: 'The document is not a mapping.',
  ForeignKind: 'An object of another API group; it is left alone.',
  UnknownKind: 'Our API group has no such kind.',
  MachineKind: 'A kind of ours that only the operator writes; in a folder of manifests it is left alone.',
  UnknownApiVersion: 'Our API group has no such version, or a kind of ours carries another group.',
  UnknownField: 'A field that does not exist, usually a typing error.',
  MissingField: 'A required field is absent.',
  WrongType: 'A value of another type than the field has.',
  UnknownValue: 'A value that is none of those the field knows.',
  OutOfRange: 'A number, or the length of a text or list, outside its bounds.',
  InvalidName: 'A name that Kubernetes would refuse.',
  InvalidAddress: 'A text that is no IP address, or not the one canonical form of it.',
  InvalidPrefix: 'A text that is no network prefix, has host bits set, or is not canonical.',
  ForbiddenAddress: 'An address that can be neither VIP nor real server: loopback, link-local, multicast, broadcast, unspecified, reserved.',
  DuplicateAddress: 'The same VIP twice.',
  VIPSourceConflict: 'More than one source for the VIP.',
  FamilyMismatch: 'An address of a family that was not asked for.',
  PortOverlap: 'A port, or a part of a range, twice for one protocol.',
  DuplicatePortName: 'The same port name twice.',
  RangeInverted: 'A range that ends before it starts.',
  TargetPortFixed: 'A target port other than the port, where ports cannot be rewritten.',
  ModeMismatch: 'Settings of another forwarding mode.',
  TargetPortUnused: 'A target port where every backend is a Service, which has its own.',
  BackendSource: 'A backend with no source of real servers, or with more than one.',
  TunnelOption: 'A tunnel option that this encapsulation does not have.',
  SchedulerOption: 'A scheduler option that this scheduler does not have.',
  NeedsUDP: 'Something that works on UDP only, with a port that is not UDP.',
  CheckTimes: 'A health check that may take longer than the time to the next one.',
  CheckOption: 'A part of a health check that its type does not have, or lacks.',
  CheckPort: 'A health check without a port, where real servers have none of their own.',
  CheckText: 'A text of a health check with characters that cannot be sent, or of another form.',
  DuplicateStatus: 'The same status twice.',
  ThresholdsInverted: 'The lower connection threshold above the upper one.',
  RealServerIsVIP: 'A real server with the address of the VIP: packets would go in circles.',
  EndpointFamily: 'A real server of a family that the VIP does not have, without a tunnel.',
  DuplicateEndpoint: 'The same real server twice.',
  BlockForm: 'An address block that is neither a prefix nor a range.',
  NamespaceSelection: 'Contradictory or empty choice of namespaces.',
  EmptySelector: 'A label selector without labels.',
  InterfaceMatch: 'The way to find the interface and its parameter do not belong together.',
  SyncInterface: 'Connection synchronisation without an interface.',
  FailoverTimes: 'A director would be given up after fewer than two lost messages.',
  NameMismatch: 'The name of a machine-written object is not the one that follows from its contents.',
} as const;

export type ProblemCode = keyof typeof PROBLEM_CODES;

export interface Problem {
  readonly code: ProblemCode;
  /** `spec.ports[0].targetPort`; '' for the object as a whole. */
  readonly path: string;
  /** What is wrong. */
  readonly message: string;
  /** What to do. */
  readonly fix: string;
}

/** One line for a person: `spec.ports[0].targetPort: 8080 differs from ...; set targetPort to 80, or use mode NAT`. */
export function formatProblem(p: Pick<Problem, 'path' | 'message' | 'fix'>): string {
  const text = p.fix === '' ? p.message : `${p.message}; ${p.fix}`;
  return p.path === '' ? text : `${p.path}: ${text}`;
}

/** `['spec', 'ports', 0, 'port']` as `spec.ports[0].port`; keys that are no plain word as `labels["a/b"]`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[A-Za-z_]\w*$/.test(String(step))) text += text === '' ? String(step) : `.${String(step)}`;
    else text += `[${JSON.stringify(String(step))}]`;
  }
  return text;
}

/** Names in a message: `a, b, c and 4 more`. */
export function names(list: readonly string[], most = 5): string {
  return list.length <= most ? list.join(', ') : `${list.slice(0, most).join(', ')} and ${list.length - most} more`;
}

/** A value as it is quoted in a message: short, on one line. */
export function quote(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'nothing (null)';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

/** The candidate that `word` was probably meant to be, or null: at most a third of its letters differ, case ignored. */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  const wanted = word.toLowerCase();
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const d = distance(wanted, candidate.toLowerCase(), bestDistance);
    if (d < bestDistance) [best, bestDistance] = [candidate, d];
  }
  return best;
}

/** Edit distance with swaps of neighbours counted once; `limit` or more is not computed further. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit || a.length > 64 || b.length > 64) return limit;
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let d = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d = Math.min(d, before[j - 2]! + 1);
      row.push(d);
    }
    [before, previous] = [previous, row];
  }
  return previous[b.length]!;
}
