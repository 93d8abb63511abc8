// What a test reads of a Pod, and the pure questions about it: where it belongs, what its container is started with.
// Nothing is started here (kubelets.ts does).

/** Of core/v1 Pod, the fields that are used. */
export interface Pod {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string; readonly labels?: Readonly<Record<string, string>>; readonly deletionTimestamp?: string };
  readonly spec: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly serviceAccountName?: string;
    readonly nodeSelector?: Readonly<Record<string, string>>;
    readonly affinity?: { readonly nodeAffinity?: { readonly requiredDuringSchedulingIgnoredDuringExecution?: { readonly nodeSelectorTerms: readonly { readonly matchFields?: readonly { readonly key: string; readonly values: readonly string[] }[] }[] } } };
    readonly securityContext?: SecurityContext;
    readonly containers: readonly [Container];
    readonly volumes?: readonly { readonly name: string; readonly hostPath?: { readonly path: string; readonly type?: string } }[];
  };
  readonly status?: { readonly podIP?: string; readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export interface SecurityContext { readonly runAsUser?: number; readonly runAsGroup?: number; readonly allowPrivilegeEscalation?: boolean; readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] } }

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } } }[];
  readonly securityContext?: SecurityContext;
  readonly readinessProbe?: { readonly httpGet: { readonly host?: string; readonly path: string; readonly port: number | string } };
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

export const nameOf = ({ metadata }: Pod): string => `${metadata.namespace}/${metadata.name}`;

/** The node that a Pod of a DaemonSet is for. */
function onlyNode({ spec }: Pod): string | undefined {
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  return terms.flatMap((term) => term.matchFields ?? []).find(({ key }) => key === 'metadata.name')?.values[0];
}

/** Where a Pod goes: its DaemonSet's node, or the node (of `nodes`: labels by name) with the fewest Pods like it. Throws when none will do. */
export function place(pod: Pod, nodes: Readonly<Record<string, Readonly<Record<string, string>>>>, others: readonly Pod[]): string {
  const only = onlyNode(pod);
  if (only !== undefined) return only;
  const alike = (node: string): number => others.filter(({ spec, metadata }) => spec.nodeName === node && metadata.labels?.['pod-template-hash'] === pod.metadata.labels?.['pod-template-hash']).length;
  const fit = Object.keys(nodes).filter((node) => Object.entries(pod.spec.nodeSelector ?? {}).every(([label, value]) => nodes[node]![label] === value));
  const best = fit.toSorted((a, b) => alike(a) - alike(b))[0];
  if (best === undefined) throw new Error(`no node for the pod ${nameOf(pod)}`);
  return best;
}

/** The environment that a container's spec asks for. Throws on a field that is not known here. */
export function environmentOf(pod: Pod): Record<string, string> {
  const fields: Readonly<Record<string, string | undefined>> = { 'spec.nodeName': pod.spec.nodeName, 'metadata.name': pod.metadata.name, 'metadata.namespace': pod.metadata.namespace };
  return Object.fromEntries((pod.spec.containers[0].env ?? []).map(({ name, value, valueFrom }) => {
    const found = valueFrom === undefined ? value ?? '' : fields[valueFrom.fieldRef.fieldPath];
    if (found === undefined) throw new Error(`${nameOf(pod)}: the variable ${name} is of a field that no test knew so far`);
    return [name, found];
  }));
}

/** Arguments with `$(NAME)` replaced, as a kubelet does. */
export function argumentsOf(pod: Pod): string[] {
  const environment = environmentOf(pod);
  return pod.spec.containers[0].args.map((arg) => arg.replaceAll(/\$\((\w+)\)/g, (whole, name: string) => environment[name] ?? whole));
}

/** `setpriv` with the user and the capabilities of a container (util-linux); the image of the product runs as root unless told. */
export function privilegesOf(pod: Pod): string[] {
  const { runAsUser = 0, runAsGroup = runAsUser, allowPrivilegeEscalation, capabilities } = { ...pod.spec.securityContext, ...pod.spec.containers[0].securityContext };
  if (capabilities?.drop?.includes('ALL') !== true) throw new Error(`${nameOf(pod)} does not drop ALL capabilities`);
  const added = (capabilities.add ?? []).map((name) => `+${name.toLowerCase()}`);
  return [
    'setpriv', '--bounding-set', ['-all', ...added].join(','), '--inh-caps', '-all', '--reuid', String(runAsUser), '--regid', String(runAsGroup), '--clear-groups',
    ...(allowPrivilegeEscalation === false ? ['--no-new-privs'] : []),
  ];
}

/** The number of a port that a container gives by name or by number. */
export function portOf({ containers: [{ ports = [] }] }: Pod['spec'], port: number | string): number {
  const found = typeof port === 'number' ? port : ports.find(({ name }) => name === port)?.containerPort;
  if (found === undefined) throw new Error(`no port is named ${port}`);
  return found;
}
