/**
 * `ipvs-operator plan`: what `standalone` would do to this host now, one operation a line. Changes nothing, not even the state folder.
 * Exit code: 0 nothing to do, 2 something to do, 1 something asked for cannot be done.
 */
import { pino } from 'pino';
import { Agent } from '../agent/agent.ts';
import type { Kernel } from '../agent/apply.ts';
import { formatOperation, type Operation } from '../agent/operation.ts';
import { StateFolder } from '../agent/state-folder.ts';
import { openIpvs } from '../kernel/ipvs/client.ts';
import { openNet } from '../kernel/net/client.ts';
import { untilSettled } from '../standalone/first-read.ts';
import { Host } from '../standalone/host.ts';
import { ManifestFolder } from '../standalone/manifests.ts';
import { readLookOptions, type StandaloneOptions } from '../standalone/options.ts';
import type { Condition } from '../standalone/status.ts';
import { print, takeJson } from './output.ts';

export async function planCommand(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { json, rest } = takeJson(args);
  const options = readLookOptions('plan', rest);
  const kernel = { ipvs: openIpvs(), net: openNet() };
  try {
    const { operations, problems } = await planHost(options, kernel, signal);
    await print(json ? `${JSON.stringify({ operations, problems })}\n` : operations.map((o) => `${formatOperation(o)}\n`).join(''));
    for (const problem of problems) process.stderr.write(`${problem}\n`);
    if (problems.length > 0) return 1;
    return operations.length > 0 ? 2 : 0;
  } finally {
    kernel.ipvs.close();
    kernel.net.close();
  }
}

interface HostPlan {
  readonly operations: readonly Operation[];
  readonly problems: readonly string[];
}

/**
 * What standalone would do to this kernel now, and what of the manifests it could not do. By standalone's own Host, so that both know the
 * same: also the last good forms of what is broken now. A folder opened for looking only keeps it from writing.
 * `clock`: milliseconds since the epoch.
 */
export async function planHost(options: StandaloneOptions, kernel: Kernel, signal: AbortSignal, clock: () => number = Date.now): Promise<HostPlan> {
  const folder = StateFolder.view(options.state);
  const log = pino({ level: 'silent' });
  const agent = new Agent(kernel, folder, { node: options.node, role: options.role, labels: options.labels, clock, log });
  const host = new Host({ node: options.node, manifests: new ManifestFolder(options.manifests), agent, folder, log, clock });
  await untilSettled(() => host.readManifests(), signal);
  const { operations, refusals } = await agent.preview(signal);
  const { problems, virtualServers } = host.status();
  const obstacles = Object.entries(virtualServers).flatMap(([name, { conditions }]) =>
    conditions.filter(isObstacle).map((c) => `VirtualServer ${name}: ${c.reason}: ${c.message}`));
  return {
    operations,
    problems: [
      ...problems.filter((p) => p.severity === 'error').map((p) => `${p.file}: ${p.object ? `${p.object}: ` : ''}${p.message}`),
      ...obstacles,
      ...[...agent.view.refusals, ...refusals].map((r) => `VirtualServer ${r.owner}: ${r.code}: ${r.message}`),
    ],
  };
}

/** What the manifests alone tell: whether it is programmed is what a plan is about. */
function isObstacle({ type, status, reason }: Condition): boolean {
  return (type === 'Accepted' || type === 'ResolvedRefs') && status === 'False' && reason !== 'Suspended';
}
