/**
 * HTTP check: one GET, of which only the status counts. The request is made of a path and a host that were checked for characters that could
 * end a line; there are no other headers to choose, no body and no other method. Redirects are not followed: a check talks to its real server.
 */
import type { HttpCheck } from '../check.ts';
import type { Outcome } from '../outcome.ts';
import type { Exchange } from './conversation.ts';

/** Bytes of a status line; more is no HTTP. */
const MAX_LINE = 1_024;
const STATUS_LINE = /^HTTP\/1\.[01] ([1-5][0-9][0-9])(?: |$)/;

/** `address` is what the Host header says where the check has none. */
export function httpExchange(check: HttpCheck & { readonly port: number }, address: string): Exchange {
  return { kind: 'exchange', transport: 'stream', request: httpRequest(check, address), judge: (heard, ended) => judgeHttp(heard, ended, check.statuses) };
}

export function httpRequest({ path, host, port }: HttpCheck & { readonly port: number }, address: string): Uint8Array {
  const authority = host !== '' ? host : `${address.includes(':') ? `[${address}]` : address}:${port}`;
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${authority}\r\nUser-Agent: ipvs-operator\r\nAccept: */*\r\nConnection: close\r\n\r\n`, 'latin1');
}

/** The outcome by the status line, as soon as it is whole; interim answers (1xx) are read over. */
export function judgeHttp(heard: Uint8Array, ended: boolean, statuses: readonly number[]): Outcome | null {
  const text = Buffer.from(heard.buffer, heard.byteOffset, heard.byteLength);
  for (let at = 0; ;) {
    const end = text.indexOf(0x0a, at);
    // A line that cannot become HTTP any more need not be waited for.
    if (end < 0) return text.length - at > MAX_LINE || (text.length - at >= 5 && text.toString('latin1', at, at + 5) !== 'HTTP/') ? notHttp() : null;
    const line = text.toString('latin1', at, Math.min(end, at + MAX_LINE)).replace(/\r$/, '');
    const match = STATUS_LINE.exec(line);
    if (match === null) return notHttp();
    const status = Number(match[1]);
    if (status >= 200) return judgeStatus(status, statuses);
    const next = endOfHeaders(text, end + 1);
    if (next < 0) return ended ? { reason: 'BadAnswer', message: `nothing after the interim status ${status}` } : null;
    at = next;
  }
}

function judgeStatus(status: number, statuses: readonly number[]): Outcome {
  if (statuses.includes(status)) return { reason: 'Answered', message: `status ${status}` };
  return { reason: 'WrongAnswer', message: `status ${status}, expected ${statuses.slice(0, 8).join(', ')}${statuses.length > 8 ? ', ...' : ''}` };
}

/** Where the empty line that begins at or after the line at `from` ends; -1 when it is not there yet. */
function endOfHeaders(text: Buffer, from: number): number {
  for (let at = from; ;) {
    const end = text.indexOf(0x0a, at);
    if (end < 0) return -1;
    if (end === at || (end === at + 1 && text[at] === 0x0d)) return end + 1;
    at = end + 1;
  }
}

function notHttp(): Outcome {
  return { reason: 'BadAnswer', message: 'the answer is not HTTP/1' };
}
