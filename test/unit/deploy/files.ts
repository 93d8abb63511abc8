/** The files below deploy/ and examples/ as the tests of this folder read them. */
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readManifests, type Manifest } from '../../../tools/chart/manifests.ts';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');
export const names = (folder: string): string[] => readdirSync(`${root}${folder}`).sort();

/** Every object of deploy/install.yaml: what `kubectl apply` would make. */
export const installed: readonly Manifest[] = readManifests(read('deploy/install.yaml'));

/** One of them. Throws when it is not there. */
export function object<T extends Manifest = Manifest>(kind: string, name: string): T {
  const found = installed.find((one) => one.kind === kind && one.metadata.name === name);
  if (found === undefined) throw new Error(`deploy/install.yaml has no ${kind} ${name}`);
  return found as T;
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } } }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number; readonly hostPort?: number }[];
  readonly securityContext: Readonly<Record<string, unknown>> & { readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] } };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
  readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly host?: string; readonly path: string; readonly port: string } };
}

export interface Workload extends Manifest {
  readonly spec: {
    readonly replicas?: number;
    readonly minReadySeconds?: number;
    readonly updateStrategy?: unknown;
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: Readonly<Record<string, unknown>> & { readonly containers: readonly Container[]; readonly volumes?: readonly { readonly name: string; readonly hostPath?: { readonly path: string; readonly type: string } }[] };
    };
  };
}

export interface Rule { readonly apiGroups: readonly string[]; readonly resources: readonly string[]; readonly verbs: readonly string[]; readonly resourceNames?: readonly string[] }

/** What a role permits, as `verb group/resource`, sorted. */
export function permissions(role: Manifest): string[] {
  return (role['rules'] as readonly Rule[]).flatMap(({ apiGroups, resources, verbs }) => apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`)))).sort();
}
