/**
 * spec.healthCheck of a VirtualServer as a program carries it: complete, and nothing where nothing is checked. Pure. What a check does is
 * agent/health's; what people may write is api/v1alpha1/healthcheck.ts.
 */
import type { VirtualServerSpec } from '../../api/v1alpha1/index.ts';
import type { ProgramHealthCheck } from '../../api/v1alpha1/program.ts';

/** Null: nothing is checked. Statuses are sorted, as their order says nothing. Rules have been run: DNS has its name. */
export function programCheck({ healthCheck: check }: Pick<VirtualServerSpec, 'healthCheck'>): ProgramHealthCheck | null {
  if (check === undefined || check.type === 'None') return null;
  const { type, port = 0, path, periodSeconds, timeoutSeconds, riseCount, fallCount, onFailure, panicThresholdPercent } = check;
  const common = { type, port, path, periodSeconds, timeoutSeconds, riseCount, fallCount, onFailure, panicThresholdPercent };
  switch (type) {
    case 'TCP': return common;
    case 'HTTP':
    case 'HTTPS': {
      const { path: asked = '/', host = '', expectedStatuses = [200], caBundle = '' } = check.http ?? {};
      return { ...common, http: { path: asked, host, expectedStatuses: expectedStatuses.toSorted((a, b) => a - b), caBundle } };
    }
    // What is not written keeps the programs of before as they are.
    case 'GRPC': return { ...common, grpc: { service: check.grpc?.service ?? '', ...(check.grpc?.transport === 'TLS' && { transport: 'TLS' }) } };
    case 'UDP': return { ...common, udp: { payload: check.udp?.payload ?? '', expectReply: check.udp?.expectReply ?? false } };
    case 'DNS': return { ...common, dns: { name: check.dns!.name, record: check.dns!.record, expectedAddress: check.dns!.expectedAddress } };
  }
}

/** The same check with its fields in one order, whoever built it: what its hash is made of. */
export function inOrder(check: ProgramHealthCheck): ProgramHealthCheck {
  const {
    type, port, path, periodSeconds, timeoutSeconds, riseCount, fallCount, onFailure, panicThresholdPercent, http, grpc, udp, dns,
  } = check;
  return {
    type, port, path, periodSeconds, timeoutSeconds, riseCount, fallCount, onFailure, panicThresholdPercent,
    ...(http ? { http: { path: http.path, host: http.host, expectedStatuses: http.expectedStatuses, caBundle: http.caBundle } } : {}),
    ...(grpc ? { grpc: { service: grpc.service, ...(grpc.transport === 'TLS' && { transport: 'TLS' }) } } : {}),
    ...(udp ? { udp: { payload: udp.payload, expectReply: udp.expectReply } } : {}),
    ...(dns ? { dns: { name: dns.name, record: dns.record, expectedAddress: dns.expectedAddress } } : {}),
  };
}
