/** Manifests as one YAML text, with what was left out and what to know on top, as comments. Pure. */
import { dump } from 'js-yaml';
import type { Manifests, Remark } from './to-manifests.ts';

/** Lists of real servers are long: from this depth on (an endpoint), a line each. */
const FLOW_FROM = 6;

/** `source`: what the manifests were made of, as a person would say it. */
export function manifestYaml({ pools, virtualServers, leftOut, notes }: Manifests, source: string): string {
  const head = [
    `Made by ipvs-operator from ${source}.`,
    ...section('Left out, because manifests cannot say it:', leftOut),
    ...section('To know:', notes),
  ];
  if (virtualServers.some((v) => v.spec.mode === 'NAT')) {
    head.push(
      'NAT keeps the address of the client (nat.sourceAddress Preserve), as ipvsadm does: real servers must send',
      'their answers through this host. With Masquerade they need not, and see the address of this host.',
    );
  }
  const documents = [...pools, ...virtualServers].map((object) => dump(object, { flowLevel: FLOW_FROM, lineWidth: -1, noRefs: true }));
  return `${head.map((line) => `# ${line}\n`).join('')}${documents.map((text) => `---\n${text}`).join('')}`;
}

/** One line for a person: `line 7: TCP 192.0.2.10:80: why`. */
export function formatRemark({ line, service, message }: Remark): string {
  return `${line > 0 ? `line ${line}: ` : ''}${service}: ${message}`;
}

function section(title: string, remarks: readonly Remark[]): string[] {
  return remarks.length === 0 ? [] : [title, ...remarks.map((r) => `  ${formatRemark(r)}`)];
}
