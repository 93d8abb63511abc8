/**
 * DNS check: one query over UDP. It passes when the server says NOERROR and, where an address is expected, has it among its answers. The
 * codec is dns-message.ts; a resolver of Node for each real server would be many times the memory of all checks together.
 */
import { randomInt } from 'node:crypto';
import { canonical } from '../../../ip/ip.ts';
import type { HealthCheck } from '../check.ts';
import type { Outcome } from '../outcome.ts';
import type { Exchange } from './conversation.ts';
import { decodeAnswer, encodeQuery } from './dns-message.ts';

type DnsCheck = Extract<HealthCheck, { type: 'DNS' }>;

export function dnsExchange(check: DnsCheck, id = randomInt(0x10000)): Exchange {
  const request = encodeQuery(id, check.name, check.record);
  return { kind: 'exchange', transport: 'datagram', request, judge: (heard) => judgeDns(heard, request, check) };
}

export function judgeDns(heard: Uint8Array, query: Uint8Array, { record, expected }: Pick<DnsCheck, 'record' | 'expected'>): Outcome | null {
  const answer = decodeAnswer(heard, query, record);
  if (answer === 'other') return null;
  if (answer === null) return { reason: 'BadAnswer', message: 'the answer is not DNS' };
  if (answer.rcode !== 'NOERROR') return { reason: 'WrongAnswer', message: answer.rcode };
  if (expected === '' || answer.addresses.includes(canonical(expected)!)) return { reason: 'Answered', message: 'NOERROR' };
  if (answer.truncated) return { reason: 'WrongAnswer', message: `the answer was cut, and ${expected} is not in what came` };
  const got = answer.addresses.slice(0, 4).join(', ') || 'no address';
  return { reason: 'WrongAnswer', message: `expected ${expected}, got ${got}${answer.addresses.length > 4 ? ', ...' : ''}` };
}
