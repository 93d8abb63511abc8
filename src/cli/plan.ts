/**
 * `ipvs-operator plan`: what `standalone` would do to this host now, one operation a line. Changes nothing, not even the state folder.
 * Exit code: 0 nothing to do, 2 something to do, 1 something asked for cannot be done.
 */
import { pino } from 'pino';
import { Agent } from '../agent/agent.ts';
import { formatOperation } from '../agent/operation.ts';
import { StateFolder } from '../agent/state-folder.ts';
import { openIpvs } from '../kernel/ipvs/client.ts';
import { openNet } from '../kernel/net/client.ts';
import { Compiler } from '../standalone/compiler.ts';
import { readMemory } from '../controller/compile/memory.ts';
import { settledScan } from '../standalone/first-read.ts';
import { ManifestFolder } from '../standalone/manifests.ts';
import { readOptions } from '../standalone/options.ts';

export const PLAN_USAGE = `ipvs-operator plan --manifests DIR [--state DIR] [--node NAME] [--role ROLE] [--label K=V] [-o json]

Prints what standalone would change on this host, and changes nothing.
Exit code: 0 nothing to change, 2 something to change, 1 something asked for cannot be done (said on stderr).`;

export async function planCommand(args: readonly string[], signal: AbortSignal): Promise<number> {
  if (args.includes('--help')) {
    process.stdout.write(`${PLAN_USAGE}\n`);
    return 0;
  }
  const at = args.indexOf('-o');
  const json = at >= 0 && args[at + 1] === 'json';
  const options = readOptions(json ? args.toSpliced(at, 2) : args);
  const folder = StateFolder.view(options.state);
  const kernel = { ipvs: openIpvs(), net: openNet() };
  try {
    const scan = await settledScan(new ManifestFolder(options.manifests), signal);
    const snapshot = folder.read('snapshot');
    const compiler = new Compiler(readMemory(snapshot.state === 'ok' ? (snapshot.value as { memory?: unknown }).memory : null));
    const change = compiler.update(scan.objects, new Set(scan.objects.keys()), !scan.complete);
    const agent = new Agent(kernel, folder, { node: options.node, role: options.role, labels: options.labels, clock: Date.now, log: pino({ level: 'silent' }) });
    agent.update(change.programs, change.groups ?? undefined);
    const plan = await agent.preview(signal);
    const problems = [
      ...scan.problems.filter((p) => p.severity === 'error').map((p) => `${p.file}: ${p.object ? `${p.object}: ` : ''}${p.message}`),
      ...[...compiler.verdicts].filter(([, v]) => !v.accepted).map(([name, v]) => `VirtualServer ${name}: ${v.reason}: ${v.message}`),
      ...agent.view.refusals.map((r) => `VirtualServer ${r.owner}: ${r.code}: ${r.message}`),
      ...plan.refusals.map((r) => `VirtualServer ${r.owner}: ${r.code}: ${r.message}`),
    ];
    process.stdout.write(json ? `${JSON.stringify({ operations: plan.operations, problems })}\n` : plan.operations.map((o) => `${formatOperation(o)}\n`).join(''));
    for (const problem of problems) process.stderr.write(`${problem}\n`);
    if (problems.length > 0) return 1;
    return plan.operations.length > 0 ? 2 : 0;
  } finally {
    kernel.ipvs.close();
    kernel.net.close();
  }
}
