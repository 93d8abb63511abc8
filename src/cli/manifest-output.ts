/** What `save -o yaml` and `import` have in common: their options, and manifests on stdout with everything left out on stderr too. */
import { API_VERSION, formatProblem, parseObject } from '../api/v1alpha1/index.ts';
import { MAX_FILE_BYTES } from '../standalone/fingerprint.ts';
import { UsageError } from '../usage.ts';
import type { TableEntry } from './ipvs-table.ts';
import { formatRemark, manifestYaml } from './manifest-yaml.ts';
import { print } from './output.ts';
import { toManifests, type ManifestOptions } from './to-manifests.ts';

/** More than this nobody reads on a terminal. */
const LINES_SHOWN = 100;

/** Throws UsageError. */
export function readManifestOptions({ namespace = 'default', pool = 'imported' }: { readonly namespace?: string; readonly pool?: string }): ManifestOptions {
  const sample = parseObject({
    apiVersion: API_VERSION, kind: 'VIPPool', metadata: { name: pool },
    spec: { blocks: [{ cidr: '192.0.2.1/32' }], allowedNamespaces: { names: [namespace] } },
  });
  if (!sample.ok) {
    const problem = sample.problems[0]!;
    throw new UsageError(`${problem.path.startsWith('metadata') ? '--pool' : '--namespace'}: ${formatProblem({ ...problem, path: '' })}`);
  }
  return { namespace, pool };
}

/** `1 service`, `3 services`. */
export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

/** The first of these lines on stderr, and how many more there are. */
export function printList(lines: readonly string[], rest: string): void {
  for (const line of lines.slice(0, LINES_SHOWN)) process.stderr.write(`${line}\n`);
  if (lines.length > LINES_SHOWN) process.stderr.write(`and ${lines.length - LINES_SHOWN} more; ${rest}\n`);
}

/** Returns the exit code: 1 when something was left out. */
export async function printManifests(table: readonly TableEntry[], options: ManifestOptions, source: string): Promise<number> {
  const made = toManifests(table, options);
  const yaml = manifestYaml(made, source);
  await print(yaml);
  printList(made.leftOut.map((remark) => `left out: ${formatRemark(remark)}`), 'the top of the YAML has all');
  printList(made.notes.map((remark) => `note: ${formatRemark(remark)}`), 'the top of the YAML has all');
  if (Buffer.byteLength(yaml) > MAX_FILE_BYTES) {
    const most = MAX_FILE_BYTES / 1024 / 1024;
    process.stderr.write(`note: this is more than the ${most} MiB that standalone reads as one file; split it between documents (---)\n`);
  }
  return made.leftOut.length > 0 ? 1 : 0;
}
