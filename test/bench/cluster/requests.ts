// What a real API server was asked, counted by itself: its metric apiserver_request_total, by verb and resource. Whoever asks is told apart by
// the verb alone. Judges nothing.

/** `POST events`, `APPLY virtualservers/status`: how often. */
export type Requests = ReadonlyMap<string, number>;

const WRITES: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'APPLY', 'DELETE']);
/** kubectl's own. */
const APPLIED = 'APPLY virtualservers';

/** Of the text of /metrics. */
export function readRequests(text: string): Requests {
  const requests = new Map<string, number>();
  for (const [, labels = '', count] of text.matchAll(/^apiserver_request_total\{(.*)\} (\S+)$/gm)) {
    const { verb = '', resource = '', subresource = '' } = Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value])) as Record<string, string>;
    const what = `${verb} ${resource}${subresource === '' ? '' : `/${subresource}`}`;
    requests.set(what, (requests.get(what) ?? 0) + Number(count));
  }
  return requests;
}

/** Writes that were made between the two, the most frequent first. Leases and what kubectl wrote are not among them. */
export function writesBetween(before: Requests, after: Requests): Record<string, number> {
  const writes = [...after].map(([what, count]) => [what, count - (before.get(what) ?? 0)] as const);
  return Object.fromEntries(writes.filter(([what, count]) => count > 0 && WRITES.has(what.slice(0, what.indexOf(' '))) && what !== APPLIED && !what.endsWith(' leases')).sort(([, a], [, b]) => b - a));
}

export function total(writes: Readonly<Record<string, number>>): number {
  return Object.values(writes).reduce((sum, count) => sum + count, 0);
}
