/**
 * Steps about health checks: real servers that a director takes for down, or keeps although their check fails. Pure. Each director checks by
 * itself and says in IPVSNode.status.backends what it found; what counts for clients is the one that holds the VIP.
 */
import type { IPVSNode } from '../api/v1alpha1/index.ts';
import { servicesOf, type Case } from './explain-case.ts';
import { count, wrong, type Step } from './explain-step.ts';

export function healthSteps(c: Case): Step[] {
  return (c.members ?? []).flatMap((node) => {
    const step = healthStep(c, node);
    return step === null ? [] : [step];
  });
}

function healthStep(c: Case, node: IPVSNode): Step | null {
  const { facts: { namespace, name }, program } = c;
  const report = reportOf(c, node);
  if (!program || !report || report.unhealthy + report.ignored === 0) return null;
  const director = node.metadata.name;
  const meant = meantFor(c, director);
  const look = `kubectl -n ${namespace} get ivsp ${name} -o jsonpath='{.spec.healthCheck}' and try the same from ${director}`;
  if (report.unhealthy === 0) {
    return wrong('health', director, `${count(report.ignored, 'real server')} of ${meant} fail the check and are kept: ${report.message}`, look, false);
  }
  // Whoever does not hold the VIP sends nobody anywhere.
  if (report.unhealthy >= meant) {
    const text = `no real server of ${meant} passes the check, new connections are refused: ${report.message}`;
    return wrong('health', director, text, look, holds(c, director));
  }
  return wrong('health', director, `${report.unhealthy} of ${count(meant, 'real server')} are down: ${report.message}`, look, false);
}

/** Real servers that get no new connections because of their check, where the VIP is; 0 where nobody says so. */
export function downWhereHeld(c: Case): number {
  return Math.max(0, ...(c.members ?? []).filter((n) => holds(c, n.metadata.name)).map((n) => reportOf(c, n)?.unhealthy ?? 0));
}

function reportOf({ key }: Case, { status }: IPVSNode) {
  return status?.backends?.find((b) => b.virtualServer === key);
}

function holds({ holders }: Case, director: string): boolean {
  return [...holders.values()].includes(director);
}

/** How many real servers a director is to send new connections to. */
function meantFor({ program }: Case, director: string): number {
  const { program: whole } = program!;
  const ready = servicesOf(whole).flatMap((s) => s.ready).filter((r) => whole.spec.localOnly !== true || r.node === director);
  return new Set(ready.map((r) => r.address)).size;
}
