/**
 * What is checked and how, as plain data. Equal targets have equal keys, and one probe serves everybody who wants that target: the key is
 * the identity. No Kubernetes, no program and no socket here; what is wrong with a target is said by problems.ts.
 */
import { createHash } from 'node:crypto';
import { familyOf, type Family } from '../../ip/ip.ts';

/** What all types of checks have. */
export interface CheckTiming {
  /** 1 to 65535. */
  readonly port: number;
  /** Milliseconds from one check to the next. */
  readonly periodMs: number;
  /** Milliseconds that a check may take; not more than the period, so that checks of a target never overlap. */
  readonly timeoutMs: number;
  /** Passed checks in a row that bring a real server back, and failed ones in a row that take it out. */
  readonly rise: number;
  readonly fall: number;
}

/** GET of `path`; only the status line of the answer is looked at. Redirects are not followed: they are a status like any other. */
export interface HttpCheck {
  /** Printable ASCII without spaces, begins with '/'. */
  readonly path: string;
  /** Host header, and the server name of TLS; empty: the address of the real server (and no server name). */
  readonly host: string;
  /** Statuses that pass, 200 to 599. */
  readonly statuses: readonly number[];
}

export type Probe =
  /** A connection is accepted. */
  | { readonly type: 'TCP' }
  | { readonly type: 'HTTP' } & HttpCheck
  /** `ca` is PEM: the certificate must be signed by it, and be for `host` when there is one. Empty: any certificate will do. */
  | { readonly type: 'HTTPS'; readonly ca: string } & HttpCheck
  /** grpc.health.v1.Health/Check over HTTP/2, with `tls` inside TLS, whatever the certificate; `service` may be empty: the server as a whole. */
  | { readonly type: 'GRPC'; readonly service: string; readonly tls: boolean }
  /**
   * A datagram. Fails when it is refused (ICMP port unreachable); kernels send one ICMP a second to each peer, so a period below a second
   * sees less. `payload` is base64; empty: one zero byte. With `reply` an answer must come, whatever it says.
   */
  | { readonly type: 'UDP'; readonly payload: string; readonly reply: boolean }
  /** A query over UDP. Passes with NOERROR, and with `expected` (an address, or empty) among the answers. */
  | { readonly type: 'DNS'; readonly name: string; readonly record: 'A' | 'AAAA'; readonly expected: string };

export type HealthCheck = CheckTiming & Probe;
export type CheckType = Probe['type'];
export const CHECK_TYPES = ['TCP', 'HTTP', 'HTTPS', 'GRPC', 'UDP', 'DNS'] as const satisfies readonly CheckType[];

/** How the check reaches the real server. */
export type CheckPath =
  /** To its own address. */
  | { readonly kind: 'Direct' }
  /**
   * To the VIP, with a mark whose IPVS service has this real server as its only destination; from an address of this node that is no VIP.
   * So it takes the way of the clients' packets: forwarding method, tunnel, and the VIP on the real server.
   */
  | { readonly kind: 'Forwarded'; readonly vip: string; readonly mark: number; readonly source: string };

export interface CheckTarget {
  readonly key: string;
  /** Of the real server. */
  readonly address: string;
  readonly family: Family;
  readonly check: HealthCheck;
  readonly path: CheckPath;
}

export const DIRECT: CheckPath = { kind: 'Direct' };

/** Makes a target and its key. Throws RangeError when `address` is none: everything else that may be wrong is told by problemOf(). */
export function checkTarget(address: string, check: HealthCheck, path: CheckPath = DIRECT): CheckTarget {
  const family = familyOf(path.kind === 'Forwarded' ? path.vip : address);
  if (family === null) throw new RangeError(`${JSON.stringify(address)} is not an IP address`);
  return { key: keyOf(address, check, path), address, family, check, path };
}

/** The address that packets of the check are sent to. */
export function destinationOf({ address, path }: CheckTarget): string {
  return path.kind === 'Forwarded' ? path.vip : address;
}

/** Canonical and printable. Fields cannot hold a space in a target without problems, so no two different targets meet in one key. */
function keyOf(address: string, check: HealthCheck, path: CheckPath): string {
  const { port, periodMs, timeoutMs, rise, fall } = check;
  const way = path.kind === 'Forwarded' ? ` via ${path.vip} ${path.mark} ${path.source}` : '';
  return `${check.type} ${address} ${port} ${periodMs}/${timeoutMs} ${rise}/${fall}${particulars(check)}${way}`;
}

function particulars(check: HealthCheck): string {
  switch (check.type) {
    case 'TCP': return '';
    case 'HTTP': return http(check);
    case 'HTTPS': return `${http(check)} ${check.ca === '' ? '-' : fingerprint(check.ca)}`;
    case 'GRPC': return ` ${check.service || '-'}${check.tls ? ' TLS' : ''}`;
    case 'UDP': return ` ${check.payload || '-'} ${check.reply ? 'reply' : '-'}`;
    case 'DNS': return ` ${check.name} ${check.record} ${check.expected || '-'}`;
  }
}

function http({ path, host, statuses }: HttpCheck): string {
  return ` ${path} ${host || '-'} ${statuses.join(',')}`;
}

/** A certificate has thousands of characters and is the same for a whole service: hashed once. Bounded by what programs may hold at a time. */
const fingerprints = new Map<string, string>();
const MAX_FINGERPRINTS = 1_024;

function fingerprint(pem: string): string {
  let known = fingerprints.get(pem);
  if (known === undefined) {
    if (fingerprints.size >= MAX_FINGERPRINTS) fingerprints.clear();
    known = createHash('sha256').update(pem).digest('base64url');
    fingerprints.set(pem, known);
  }
  return known;
}
