/**
 * `ipvs-operator standalone`: a product without a cluster. Opens the state folder and the kernel, reads the manifests, and runs until
 * it is told to stop; or once; or only to clean up. Stopping leaves the kernel forwarding.
 */
import type { Logger } from 'pino';
import { Agent, type Report } from '../agent/agent.ts';
import type { Kernel } from '../agent/apply.ts';
import { Footprint } from '../agent/footprint.ts';
import { HealthOnDemand } from '../agent/health/on-demand.ts';
import { ledgerOf } from '../agent/load-ledger.ts';
import { Loop } from '../agent/loop.ts';
import { formatOperation, type Operation } from '../agent/operation.ts';
import { StateFolder } from '../agent/state-folder.ts';
import { openIpvs } from '../kernel/ipvs/client.ts';
import { openNet } from '../kernel/net/client.ts';
import { openLog } from '../observe/log.ts';
import { BUSY_MS, untilSettled } from './first-read.ts';
import { Host } from './host.ts';
import { ManifestFolder, watchFolder } from './manifests.ts';
import { readOptions, type StandaloneOptions } from './options.ts';

/** --once: reconciles at most; the first changes, the next verifies, the rest are for what a first try could not know. */
const ONCE_TRIES = 5;

export async function standalone(args: readonly string[], signal: AbortSignal): Promise<number> {
  const options = readOptions(args);
  const log = openLog(options.logLevel, { node: options.node });
  const folder = StateFolder.open(options.state);
  if (options.cleanup && ledgerOf(folder.read('ledger')) === null) {
    folder.close();
    process.stderr.write(`there is no ledger in ${options.state}: what is ours here is not known, and nothing was removed; if anything is, name its state folder with --state\n`);
    return 1;
  }
  const kernel: Kernel = { ipvs: openIpvs(), net: openNet() };
  try {
    // Who runs once changes no weight that a check of another run may have lowered.
    const health = options.once || options.cleanup ? null : new HealthOnDemand({
      node: options.node, log, now: () => performance.now(), signal, onChange: () => onHealth(),
    });
    let onHealth = (): void => undefined;
    const agent = new Agent(kernel, folder, { node: options.node, role: options.role, labels: options.labels, clock: Date.now, log, ...(health && { health }) });
    if (options.cleanup) return await cleanup(agent, log, signal);
    const host = new Host({
      node: options.node, manifests: new ManifestFolder(options.manifests), agent, folder, log, clock: Date.now,
      unhealthy: (owner) => health?.watch?.unhealthy(owner) ?? [],
    });
    await untilSettled(() => host.readManifests(), signal);
    if (health === null) return await once(host, agent, signal);
    const code = await forEver(host, agent, kernel, options, log, signal, (loop) => { onHealth = () => loop.trigger('changes'); });
    await health.ended;
    return code;
  } finally {
    kernel.ipvs.close();
    kernel.net.close();
    folder.close();
  }
}

async function forEver(
  host: Host,
  agent: Agent,
  kernel: Kernel,
  options: StandaloneOptions,
  log: Logger,
  signal: AbortSignal,
  started: (loop: Loop) => void,
): Promise<number> {
  const footprint = new Footprint();
  const onReport = (report: Report | null, error: unknown): void => {
    if (report === null || report.operations > 0) footprint.worked();
    host.report(report, error);
  };
  const loop = new Loop({ agent, net: kernel.net, log, now: () => performance.now(), fullEveryMs: options.resyncSeconds * 1000, onReport });
  started(loop);
  let again: NodeJS.Timeout | null = null;
  const read = () => {
    again = null;
    const { changed, busy, told } = host.readManifests();
    if (changed) {
      footprint.worked();
      loop.trigger('changes');
    } else if (told) host.tell();
    if (busy) again = setTimeout(read, BUSY_MS);
  };
  watchFolder(options.manifests, () => { if (!again) read(); }, signal);
  footprint.watch(signal);
  // Ended by it, a director that somebody started in a terminal would check and repair nothing any more; nohup does not help, for Node takes
  // back what it set.
  const hangUp = () => log.info('SIGHUP: manifests are read whenever they change; there is nothing to reload, and a closed terminal ends nothing');
  process.on('SIGHUP', hangUp);
  log.info({ manifests: options.manifests, state: options.state, role: options.role }, 'started');
  await loop.run(signal);
  process.off('SIGHUP', hangUp);
  if (again) clearTimeout(again);
  host.flush();
  log.info('stopped; the kernel keeps forwarding');
  return 0;
}

/** Applies, then verifies by planning again. 0 only when everything the manifests ask for is in the kernel. */
async function once(host: Host, agent: Agent, signal: AbortSignal): Promise<number> {
  let left: readonly Operation[] = [];
  let status = host.status();
  for (let i = 0; i < ONCE_TRIES; i++) {
    const report = await agent.reconcile('full', signal);
    host.report(report, null);
    host.flush();
    // Before the preview: a preview leaves everything to be looked at again.
    status = host.status();
    if (report.operations > 0) continue;
    left = (await agent.preview(signal)).operations;
    // A drain may have ended between the two: then once more.
    if (left.length === 0) break;
  }
  for (const operation of left) process.stderr.write(`not done: ${formatOperation(operation)}\n`);
  for (const note of status.notes) process.stderr.write(`note: ${note}\n`);
  for (const failure of status.failures) process.stderr.write(`failed: ${failure.operation}: ${failure.message}\n`);
  for (const problem of status.problems) process.stderr.write(`${problem.file}: ${problem.object ? `${problem.object}: ` : ''}${problem.message}\n`);
  for (const [name, server] of Object.entries(status.virtualServers)) {
    for (const c of server.conditions) if (c.status === 'False') process.stderr.write(`VirtualServer ${name}: ${c.type}: ${c.reason}: ${c.message}\n`);
  }
  return status.ok && left.length === 0 ? 0 : 1;
}

async function cleanup(agent: Agent, log: Logger, signal: AbortSignal): Promise<number> {
  const report = await agent.cleanup(signal);
  log.info({ operations: report.operations, failures: report.failures.length }, 'cleaned up');
  for (const { operation, error } of report.failures) process.stderr.write(`not done: ${formatOperation(operation)}: ${error.message}\n`);
  if (!report.settled && report.failures.length === 0) process.stderr.write('something of ours is left, because the kernel could not be read whole; run it again\n');
  return report.settled ? 0 : 1;
}
