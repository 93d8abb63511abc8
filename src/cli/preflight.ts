/**
 * `ipvs-operator preflight`: can this host do it, and who stands in the way; each finding with what to do. Changes no setting;
 * trying things may load modules (fou, netfilter).
 * Facts are read by preflight-read.ts and preflight-wants.ts, judged by preflight-checks.ts.
 */
import { ledgerOf } from '../agent/load-ledger.ts';
import { StateFolder } from '../agent/state-folder.ts';
import { readMemory } from '../controller/compile/memory.ts';
import { openNet } from '../kernel/net/client.ts';
import type { NetClient, NetObservation } from '../kernel/net/types.ts';
import { Compiler } from '../controller/compiler.ts';
import { settledScan } from '../standalone/first-read.ts';
import { ManifestFolder } from '../standalone/manifests.ts';
import { readLookOptions, type StandaloneOptions } from '../standalone/options.ts';
import { print, takeJson } from './output.ts';
import { preflightFindings } from './preflight-checks.ts';
import type { Wants } from './preflight-facts.ts';
import type { Finding } from './preflight-finding.ts';
import { readHost } from './preflight-read.ts';
import { wantsOf } from './preflight-wants.ts';
import { oneLine } from './table.ts';

export async function preflightCommand(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { json, rest } = takeJson(args);
  const options = readLookOptions('preflight', rest, false);
  const findings = await preflight(options, signal);
  const failed = findings.filter((f) => f.level === 'fail').length;
  await print(json ? `${JSON.stringify({ ok: failed === 0, findings })}\n` : findingsText(findings));
  return failed === 0 ? 0 : 1;
}

async function preflight(options: StandaloneOptions, signal: AbortSignal): Promise<Finding[]> {
  const folder = StateFolder.view(options.state);
  const ledger = ledgerOf(folder.read('ledger'));
  const net = openNet();
  try {
    const observation = net.observe();
    const host = await readHost(net, observation, signal);
    const ours = new Set(Object.keys(ledger?.addresses ?? {}));
    const wants = options.manifests === '' ? null : await readWants(options, folder, net, observation, ours, signal);
    return preflightFindings({ ...host, wants, ledger: ledger && !ledger.fresh ? new Set(Object.keys(ledger.services)) : null });
  } finally {
    net.close();
  }
}

async function readWants(
  options: StandaloneOptions,
  folder: StateFolder,
  net: NetClient,
  observation: NetObservation,
  ours: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Wants> {
  const scan = await settledScan(new ManifestFolder(options.manifests), signal);
  const snapshot = folder.read('snapshot');
  return wantsOf({
    objects: scan.objects, net: observation, ours, node: options.node, role: options.role, labels: options.labels,
    problems: scan.problems.filter((p) => p.severity === 'error').map((p) => `${p.file}: ${p.object ? `${p.object}: ` : ''}${p.message}`),
    compiler: new Compiler(readMemory(snapshot.state === 'ok' ? (snapshot.value as { memory?: unknown }).memory : null)),
    readSysctl: (path) => net.readSysctl(path),
  });
}

/** A line a finding, its fix below it, and the sum. */
export function findingsText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map((f) => f.check.length));
  const lines = findings.flatMap(({ level, check, message, fix }) => [
    `${level.padEnd(4)}  ${check.padEnd(width)}  ${oneLine(message)}`, ...(fix === '' ? [] : [`${' '.repeat(width + 8)}-> ${oneLine(fix)}`]),
  ]);
  const many = (level: Finding['level']) => findings.filter((f) => f.level === level).length;
  return `${lines.join('\n')}\n\n${many('ok')} ok, ${many('warn')} to look at, ${many('fail')} in the way\n`;
}
