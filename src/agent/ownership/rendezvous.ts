/**
 * Rendezvous hashing: every node ranks the same candidates for a VIP in the same order, without asking anybody, and a candidate that goes
 * moves only its own VIPs. Pure. The hash is part of the protocol between directors: directors of two versions must agree.
 */

/** 64 bits as two numbers of 32. */
export interface Rank {
  readonly high: number;
  readonly low: number;
}

/** FNV-1a's 32-bit prime and offset basis; the second lane starts elsewhere. */
const PRIME = 0x01000193;
const BASIS = [0x811c9dc5, 0x9dc5811c] as const;

/** Of a node for a VIP. Over UTF-16 code units: names of nodes and addresses are ASCII. */
export function rankOf(node: string, vip: string): Rank {
  const text = `${node} ${vip}`;
  let [a, b]: [number, number] = [...BASIS];
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, PRIME);
    b = Math.imul(b ^ (unit + i), PRIME);
  }
  // Texts that differ in the last character only still differ in few bits here.
  const high = mixed(a ^ (b >>> 7));
  return { high, low: mixed(b ^ high) };
}

/** Best first; equal ranks by name. */
export function ranked(nodes: Iterable<string>, vip: string): string[] {
  const all = Array.from(nodes, (node) => ({ node, rank: rankOf(node, vip) }));
  all.sort((x, y) => y.rank.high - x.rank.high || y.rank.low - x.rank.low || (x.node < y.node ? -1 : 1));
  return all.map(({ node }) => node);
}

/** Spreads every bit over the whole word: two rounds of multiply and shift. */
function mixed(word: number): number {
  let x = word | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}
