/**
 * Credentials from wherever kubectl and controllers look for them. A pod's service account and a plain kubeconfig file are read by this
 * runtime itself; exec plugins, OIDC and merged files by client-node. This is the only file that knows client-node, and it loads it only
 * when there is no other way: it costs 90 MB of memory.
 */
import { existsSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import { CredentialsError, RotatingCredentials, bearer, checked, inClusterCredentials, withoutQuotes, type Access, type Credentials } from './credentials.ts';
import { kubeconfigFileCredentials } from './kubeconfig-file.ts';

export interface LoadOptions {
  /** Instead of current-context. Makes that a kubeconfig is looked for also in a pod. */
  readonly context?: string;
  /** A kubeconfig file, instead of looking for one. */
  readonly path?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly home?: string;
  /** Where the pod's file system is, for tests. */
  readonly root?: string;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** The first of: `path`, the files of $KUBECONFIG, the service account of the pod, ~/.kube/config. Throws CredentialsError. */
export async function loadKubeConfig(options: LoadOptions = {}): Promise<Credentials> {
  const { context, path, env = process.env, home = homedir(), root, now } = options;
  const clock = now ? { now } : {};
  const named = path !== undefined ? [path] : (env['KUBECONFIG'] ?? '').split(delimiter).filter((f) => f !== '');
  if (named.length === 0 && context === undefined && env['KUBERNETES_SERVICE_HOST']) {
    return inClusterCredentials({ env, ...clock, ...(root !== undefined && { root }) });
  }
  const files = named.length > 0 ? present(named) : [join(home, '.kube', 'config')];
  if (named.length === 0 && !existsSync(files[0]!)) {
    throw new CredentialsError('KUBECONFIG_INVALID', `no kubeconfig: this is no pod, KUBECONFIG is not set, and ${files[0]} does not exist`);
  }
  if (files.length > 1) return await clientNodeCredentials(files, options);
  try {
    return kubeconfigFileCredentials(files[0]!, { ...clock, ...(context !== undefined && { context }) });
  } catch (error) {
    if (!(error instanceof CredentialsError) || error.code !== 'KUBECONFIG_PLUGIN') throw error;
    return await clientNodeCredentials(files, options);
  }
}

/** As kubectl does: of several files those that are there; a single one that is missing is an error, and its reader says so. */
function present(files: readonly string[]): readonly string[] {
  const found = files.length > 1 ? files.filter((f) => existsSync(f)) : files;
  return found.length > 0 ? found : [files[0]!];
}

/** With several files, a user's tokenFile is not seen: client-node does not know that field. */
async function clientNodeCredentials(files: readonly string[], { context, now }: LoadOptions): Promise<Credentials> {
  const source = `kubeconfig ${files.join(delimiter)}`;
  let config = await readFiles(files, context, source);
  // A KubeConfig keeps what an exec plugin said until that runs out; a new one asks the plugin again.
  const read = async (refused: boolean): Promise<Access> => {
    if (refused) config = await readFiles(files, context, source);
    return await accessOf(config, source);
  };
  const namespace = config.getContextObject(config.getCurrentContext())?.namespace;
  return new RotatingCredentials({ source, namespace, read, ...(now && { now }) }, await read(false));
}

async function readFiles(files: readonly string[], context: string | undefined, source: string): Promise<KubeConfig> {
  const fail = (message: string): never => { throw new CredentialsError('KUBECONFIG_INVALID', `${source}: ${message}`); };
  const { KubeConfig: Config } = await import('@kubernetes/client-node');
  const config = new Config();
  try {
    for (const [i, file] of files.entries()) {
      if (i === 0) config.loadFromFile(file);
      else {
        const more = new Config();
        more.loadFromFile(file);
        // kubectl takes the first current-context and the first entry of a name; client-node the last and none.
        more.clusters = more.clusters.filter((c) => config.getCluster(c.name) === null);
        more.users = more.users.filter((u) => config.getUser(u.name) === null);
        more.contexts = more.contexts.filter((c) => config.getContextObject(c.name) === null);
        config.mergeConfig(more, Boolean(config.currentContext));
      }
    }
  } catch (error) {
    fail(withoutQuotes(error));
  }
  if (context !== undefined) config.setCurrentContext(context);
  const name = config.getCurrentContext();
  // client-node leaves out the CA without a word when one of these is missing.
  if (!config.getContextObject(name)) fail(name ? `contexts has no entry named ${name}` : 'has no current-context');
  if (!config.getCurrentCluster()) fail(`the cluster of context ${name} does not exist`);
  if (!config.getCurrentUser()) fail(`the user of context ${name} does not exist`);
  const refuse = (message: string): never => { throw new CredentialsError('KUBECONFIG_UNSUPPORTED', `${source}: ${message}`); };
  if (config.getCurrentCluster()!.proxyUrl) refuse('proxy-url: proxies are not supported');
  if (config.getCurrentUser()!.username) refuse('username: API servers no longer know passwords: use a token or a client certificate');
  // client-node would send the user and leave out the groups.
  if (config.getCurrentUser()!.impersonateUser) refuse('as: impersonation is not supported: use the credentials of the account itself');
  return config;
}

async function accessOf(config: KubeConfig, source: string): Promise<Access> {
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    // A plugin prints a token, and JSON.parse quotes what it could not read.
    const why = error instanceof SyntaxError ? 'the credentials plugin printed what is no JSON' : (error as Error).message.trim() || 'the credentials plugin failed';
    throw new CredentialsError('CREDENTIALS_UNREADABLE', `${source}: ${why}`);
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = String(value).trim();
  // Checked as any other token; an exec plugin may print anything.
  const token = headers['authorization']?.replace(/^Bearer /, '');
  if (token !== undefined) Object.assign(headers, bearer(token, source));
  const { ca, cert, key, servername, rejectUnauthorized } = options as RequestOptions & { readonly servername?: string };
  return {
    server: config.getCurrentCluster()!.server.replace(/\/+$/, ''),
    headers,
    tls: checked({
      ...pem('ca', ca),
      ...pem('cert', cert),
      ...pem('key', key),
      ...(servername && { servername }),
      ...(rejectUnauthorized === false && { insecure: true }),
    }, source),
  };
}

/** client-node gives bytes of files and text of exec plugins. */
function pem<K extends string>(name: K, value: unknown): { readonly [P in K]?: Buffer } {
  if (typeof value !== 'string' && !Buffer.isBuffer(value)) return {};
  return { [name]: Buffer.from(value as string) } as { readonly [P in K]?: Buffer };
}
