// Manifests for scenarios, from few words. Only text comes out: what the product reads is what a person would write.

export interface ServerSpec {
  readonly name?: string;
  readonly namespace?: string;
  readonly vips?: readonly string[];
  readonly mode: 'NAT' | 'DR' | 'TUN';
  readonly ports?: readonly Record<string, unknown>[];
  readonly endpoints: readonly (string | { readonly address: string; readonly weight?: number })[];
  /** More fields of spec, as they stand in the manifest. */
  readonly more?: Readonly<Record<string, unknown>>;
}

/** A pool that holds the labs' VIPs, admits everybody and allows every address of the labs as a real server. */
export function pool(fields: Readonly<Record<string, unknown>> = {}): string {
  return document('VIPPool', { name: 'lab' }, {
    blocks: [{ cidr: '10.0.1.192/26' }, { cidr: 'fd00:1::200/120' }], default: true, allowedNamespaces: { all: true },
    allowStaticBackendCIDRs: ['10.0.0.0/16', '192.168.0.0/16', '172.16.0.0/12', 'fd00::/8'], ...fields,
  });
}

export function group(fields: Readonly<Record<string, unknown>>): string {
  return document('DirectorGroup', { name: 'edge' }, fields);
}

export function server(spec: ServerSpec): string {
  return document('VirtualServer', { name: spec.name ?? 'web', namespace: spec.namespace ?? 'lab' }, {
    vip: { addresses: spec.vips ?? ['10.0.1.200'] }, mode: spec.mode, ports: spec.ports ?? [{ port: 80 }],
    backends: [{ static: { endpoints: spec.endpoints.map((e) => (typeof e === 'string' ? { address: e } : e)) } }],
    ...spec.more,
  });
}

/** Several documents as one file. JSON is YAML. */
export function file(...documents: readonly string[]): string {
  return documents.join('---\n');
}

function document(kind: string, metadata: Record<string, string>, spec: Record<string, unknown>): string {
  return `${JSON.stringify({ apiVersion: 'ipvs-operator.dev/v1alpha1', kind, metadata, spec }, null, 1)}\n`;
}
