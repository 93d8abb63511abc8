// What a test cluster consists of before anything runs: its files (keys, tokens, kubeconfigs) and its three command lines.
// Files are written, nothing is started (server.ts does).

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { programPath } from './programs.ts';

export type ClusterPart = 'etcd' | 'apiserver' | 'controller-manager';

/**
 * What kube-controller-manager runs unless told: what an operator's objects depend on. Endpoints out of Pods, owner
 * references, namespaces that really go, default service accounts; no workloads, because nothing would run them.
 */
export const usualControllers: readonly string[] = [
  'endpointslice-controller', 'endpointslice-mirroring-controller', 'garbage-collector-controller', 'namespace-controller',
  'serviceaccount-controller', 'root-ca-certificate-publisher-controller', 'clusterrole-aggregation-controller',
];

export interface Layout {
  readonly folder: string;
  /** The API server's certificate, which it makes and signs itself at its first start. */
  readonly caFile: string;
  readonly kubeconfig: string;
  readonly adminToken: string;
  /** Token by user name. */
  readonly tokens: Readonly<Record<string, string>>;
}

/** Makes the folder and writes what the programs read. `users`: groups by user name. */
export function writeLayout(folder: string, users: Readonly<Record<string, readonly string[]>>): Layout {
  mkdirSync(join(folder, 'certificates'), { recursive: true });
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'sec1', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } });
  if (!existsSync(join(folder, 'service-account.key'))) writeFileSync(join(folder, 'service-account.key'), privateKey, { mode: 0o600 });
  const everyone = { ...users, admin: ['system:masters'] };
  const tokens = Object.fromEntries(Object.keys(everyone).map((name) => [name, randomBytes(16).toString('hex')]));
  // kube-apiserver --token-auth-file: token,user,uid,"group1,group2"
  writeFileSync(join(folder, 'tokens.csv'), Object.entries(everyone).map(([name, groups]) => `${tokens[name]},${name},${name},"${groups.join(',')}"\n`).join(''), { mode: 0o600 });
  return { folder, caFile: join(folder, 'certificates/apiserver.crt'), kubeconfig: join(folder, 'admin.kubeconfig'), adminToken: tokens['admin']!, tokens };
}

/** Writes a kubeconfig for one token and returns its path. JSON is YAML. */
export function writeKubeconfig(layout: Layout, name: string, url: string, token: string): string {
  const path = join(layout.folder, `${name}.kubeconfig`);
  writeFileSync(path, JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority': layout.caFile } }],
    users: [{ name, user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: name } }],
    'current-context': 'test',
  }, null, 2), { mode: 0o600 });
  return path;
}

export function etcdCommand(layout: Layout, port: number): string[] {
  return [
    programPath('etcd'), '--data-dir', join(layout.folder, 'etcd'), '--logger', 'zap', '--log-level', 'error',
    '--listen-client-urls', `http://127.0.0.1:${port}`, '--advertise-client-urls', `http://127.0.0.1:${port}`,
    '--listen-peer-urls', 'http://127.0.0.1:0', // It has no peers.
    // Tests kill processes, not machines: what was written survives that without a sync to disk.
    '--unsafe-no-fsync',
  ];
}

export interface ApiServerPlace {
  readonly address: string;
  readonly port: number;
  readonly etcdPort: number;
  readonly flags: readonly string[];
}

export function apiServerCommand(layout: Layout, { address, port, etcdPort, flags }: ApiServerPlace): string[] {
  const key = join(layout.folder, 'service-account.key');
  return [
    programPath('kube-apiserver'),
    `--etcd-servers=http://127.0.0.1:${etcdPort}`, `--cert-dir=${join(layout.folder, 'certificates')}`,
    // Without an address to advertise it looks for a default route, and a lab guest has none.
    `--bind-address=${address}`, `--advertise-address=${address}`, `--secure-port=${port}`,
    // Endpoints may not be loopback addresses; there a test that needs the endpoints of `kubernetes` writes them itself.
    ...(address.startsWith('127.') ? ['--endpoint-reconciler-type=none'] : []),
    `--token-auth-file=${join(layout.folder, 'tokens.csv')}`, '--authorization-mode=RBAC',
    '--service-account-issuer=https://kubernetes.default.svc', `--service-account-signing-key-file=${key}`, `--service-account-key-file=${key}`,
    '--service-cluster-ip-range=10.96.0.0/16', '--allow-privileged=true',
    // It would hold up every Pod until its namespace has a default account, and mount a token that nobody reads.
    '--disable-admission-plugins=ServiceAccount',
    // When it ends in good order it closes watches in this time; without it, it waits a minute for whoever watches to go.
    '--shutdown-watch-termination-grace-period=1s',
    ...flags,
  ];
}

export function controllerManagerCommand(layout: Layout, controllers: readonly string[]): string[] {
  return [
    programPath('kube-controller-manager'), `--kubeconfig=${layout.kubeconfig}`, `--controllers=${controllers.join(',')}`,
    '--leader-elect=false', '--secure-port=0', // One of it, and nobody asks it anything.
    '--kube-api-qps=500', '--kube-api-burst=500', // At the usual 20 its caches are synced after two seconds.
    `--root-ca-file=${layout.caFile}`, `--service-account-private-key-file=${join(layout.folder, 'service-account.key')}`,
  ];
}
