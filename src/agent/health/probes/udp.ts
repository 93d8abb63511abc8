/**
 * UDP check: one datagram. A refusal (ICMP port unreachable, which a connected socket is told) fails it; silence passes it, unless an answer
 * is asked for. A host that is gone refuses nothing: only a check that asks for an answer notices that.
 */
import type { HealthCheck } from '../check.ts';
import { ANSWERED, type Exchange } from './conversation.ts';

/** Not empty: programs take an empty read for the end of something. */
const DEFAULT_PAYLOAD = Uint8Array.of(0);

export function udpExchange({ payload, reply }: Extract<HealthCheck, { type: 'UDP' }>): Exchange {
  return {
    kind: 'exchange', transport: 'datagram', request: payload === '' ? DEFAULT_PAYLOAD : Buffer.from(payload, 'base64'), judge: () => ANSWERED,
    ...(reply ? {} : { silence: { reason: 'NotRefused', message: 'not refused' } as const }),
  };
}
