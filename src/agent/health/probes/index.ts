/** Which conversation a target asks for. */
import { destinationOf, type CheckTarget } from '../check.ts';
import type { Conversation } from './conversation.ts';
import { dnsExchange } from './dns.ts';
import { GRPC } from './grpc.ts';
import { httpExchange } from './http.ts';
import { HTTPS } from './https.ts';
import { udpExchange } from './udp.ts';

const ACCEPT: Conversation = { kind: 'accept' };

export function conversationOf(target: CheckTarget): Conversation {
  const { check } = target;
  switch (check.type) {
    case 'TCP': return ACCEPT;
    case 'HTTP': return httpExchange(check, destinationOf(target));
    case 'HTTPS': return HTTPS;
    case 'GRPC': return GRPC;
    case 'UDP': return udpExchange(check);
    case 'DNS': return dnsExchange(check);
  }
}
