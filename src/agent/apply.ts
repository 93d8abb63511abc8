/**
 * apply: executes a plan's operations in their order against the kernel and returns what failed. It decides nothing and repairs
 * nothing: whatever failed is still a difference at the next reconcile.
 */
import type { IpvsClient, IpvsWork } from '../kernel/ipvs/contract.ts';
import type { KernelError } from '../kernel/netlink/errors.ts';
import type { NetClient, NetOperation } from '../kernel/net/types.ts';
import { isIpvs, type Operation, type Work } from './operation.ts';

export interface Kernel {
  readonly ipvs: IpvsClient;
  readonly net: NetClient;
}

export interface Failure {
  readonly operation: Operation;
  readonly error: KernelError;
}

/**
 * Runs of IPVS operations go to the kernel as batches, runs of node operations one after the other.
 * A failing operation does not stop the others. Throws only what makes all of them pointless (no permission, no module).
 */
export async function apply(work: readonly Work[], kernel: Kernel, signal?: AbortSignal): Promise<Failure[]> {
  const failures: Failure[] = [];
  for (let start = 0; start < work.length;) {
    signal?.throwIfAborted();
    const ipvs = isIpvs(work[start]!);
    let end = start + 1;
    while (end < work.length && isIpvs(work[end]!) === ipvs) end++;
    const run = start === 0 && end === work.length ? work : work.slice(start, end);
    const failed = ipvs
      ? await kernel.ipvs.apply(run as readonly IpvsWork[], signal)
      : await kernel.net.apply(run as readonly NetOperation[]);
    for (const { operation, error } of failed) failures.push({ operation, error });
    start = end;
  }
  return failures;
}
