/**
 * Occupancy: which ports of which addresses are taken, and by whom. The book that claims.ts keeps; it decides nothing.
 * A namespace owns an address whole; within it, VirtualServers share the address by ports.
 */
import { endPortOf, type VirtualServer, type VirtualServerPort } from '../../api/v1alpha1/index.ts';
import { MAX_CLAIMS } from '../../api/v1alpha1/vocabulary.ts';

export interface PortRange {
  readonly protocol: string;
  readonly first: number;
  readonly last: number;
}

interface Taken extends PortRange {
  readonly owner: string;
}

interface Address {
  readonly owners: Map<string, string>;
  /** Single ports by `TCP/80`: most services are one, and thousands may share an address. */
  readonly single: Map<string, string>;
  readonly ranges: Taken[];
}

/** Why an address cannot be had; null where it can. */
export type Obstacle = { readonly kind: 'namespace' } | { readonly kind: 'full' } | { readonly kind: 'port'; readonly range: PortRange; readonly owner: string };

export class Occupancy {
  readonly #addresses = new Map<string, Address>();

  take(address: string, owner: string, namespace: string, ports: readonly PortRange[]): void {
    let entry = this.#addresses.get(address);
    if (!entry) this.#addresses.set(address, entry = { owners: new Map(), single: new Map(), ranges: [] });
    entry.owners.set(owner, namespace);
    for (const p of ports) {
      if (p.first === p.last) entry.single.set(`${p.protocol}/${p.first}`, owner);
      else entry.ranges.push({ ...p, owner });
    }
  }

  /** Whether anybody but `owner` has a part of it. */
  isTaken(address: string, owner: string): boolean {
    const entry = this.#addresses.get(address);
    return entry !== undefined && (entry.owners.size > 1 || !entry.owners.has(owner));
  }

  obstacle(address: string, owner: string, namespace: string, ports: readonly PortRange[]): Obstacle | null {
    const entry = this.#addresses.get(address);
    if (!entry) return null;
    for (const [other, theirs] of entry.owners) {
      // All others are of one namespace, so the first one tells.
      if (other === owner) continue;
      if (theirs !== namespace) return { kind: 'namespace' };
      break;
    }
    for (const range of ports) {
      const other = holderOf(entry, range, owner);
      if (other !== null) return { kind: 'port', range, owner: other };
    }
    // A VirtualIP has room for so many.
    if (entry.owners.size >= MAX_CLAIMS && !entry.owners.has(owner)) return { kind: 'full' };
    return null;
  }

  /** Every address, with the first of its holders. */
  holders(): Map<string, string> {
    return new Map([...this.#addresses].map(([address, { owners }]) => [address, owners.keys().next().value!]));
  }
}

/** The first by name of those in the way. */
function holderOf({ single, ranges }: Address, { protocol, first, last }: PortRange, owner: string): string | null {
  let found: string | null = null;
  const see = (other: string) => { if (other !== owner && (found === null || other < found)) found = other; };
  for (const r of ranges) if (r.protocol === protocol && r.first <= last && first <= r.last) see(r.owner);
  if (first === last) {
    const other = single.get(`${protocol}/${first}`);
    if (other !== undefined) see(other);
    return found;
  }
  for (const [port, other] of single) {
    const at = port.indexOf('/');
    const number = Number(port.slice(at + 1));
    if (port.slice(0, at) === protocol && first <= number && number <= last) see(other);
  }
  return found;
}

export function portsOf(server: VirtualServer): PortRange[] {
  return server.spec.ports.map(rangeOfPort);
}

function rangeOfPort(p: VirtualServerPort): PortRange {
  return { protocol: p.protocol, first: p.port, last: endPortOf(p) };
}

/** `TCP/80-80`: how memory writes it. */
export function rangeText({ protocol, first, last }: PortRange): string {
  return `${protocol}/${first}-${last}`;
}

/** Reads rangeText's form; what is of another form is nothing. */
export function readPorts(texts: readonly string[]): PortRange[] {
  return texts.flatMap((text) => {
    const match = /^(TCP|UDP|SCTP)\/(\d+)-(\d+)$/.exec(text);
    return match ? [{ protocol: match[1]!, first: Number(match[2]), last: Number(match[3]) }] : [];
  });
}
