// Where the programs of the cluster bench are: links in .lab/bin, which tools/bootstrap.sh cluster makes (test/tools/build.sh).
// It builds nothing and starts nothing.

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const labFolder = resolve(import.meta.dirname, '../../.lab');

export const clusterPrograms = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kubectl'] as const;
export type ClusterProgram = typeof clusterPrograms[number] | 'helm' | 'kubeconform';

/** Those of the four that are not there. A link whose target is gone counts as missing. */
export function missingPrograms(): ClusterProgram[] {
  return clusterPrograms.filter((name) => !existsSync(linkOf(name)));
}

/** Absolute path of a program. Throws, with what to type, when it is missing. */
export function programPath(name: ClusterProgram): string {
  const path = linkOf(name);
  if (!existsSync(path)) throw new Error(`${name} is missing; type: sh tools/bootstrap.sh ${name === 'helm' || name === 'kubeconform' ? 'charts' : 'cluster'}`);
  return path;
}

function linkOf(name: ClusterProgram): string {
  return join(labFolder, 'bin', name);
}
