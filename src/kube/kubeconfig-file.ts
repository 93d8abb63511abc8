/**
 * One kubeconfig file with a token, a token file or a client certificate: what an agent outside a pod needs, without client-node. Whatever
 * else a kubeconfig may say about logging in is refused by name, never ignored.
 */
import { dirname, resolve } from 'node:path';
import { load } from 'js-yaml';
import {
  CredentialsError, RotatingCredentials, bearer, checked, readFile, withoutQuotes,
  type Access, type Credentials, type CredentialsErrorCode, type TlsMaterial,
} from './credentials.ts';

export interface KubeconfigFileOptions {
  /** Instead of current-context. */
  readonly context?: string;
  readonly now?: () => number;
}

/**
 * Reads the file now, and again each minute and when refused, with the files it names. Throws CredentialsError KUBECONFIG_INVALID,
 * KUBECONFIG_UNSUPPORTED, KUBECONFIG_PLUGIN, CREDENTIALS_UNREADABLE.
 */
export function kubeconfigFileCredentials(path: string, { context, now }: KubeconfigFileOptions = {}): Credentials {
  const read = (): Reading => accessOf(path, context);
  const { access, namespace } = read();
  return new RotatingCredentials({ source: `kubeconfig ${path}`, namespace, read: () => read().access, ...(now && { now }) }, access);
}

interface Reading {
  readonly access: Access;
  readonly namespace: string | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** What a user may not have, with what to do. */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  username: 'API servers no longer know passwords: use a token, a tokenFile or a client certificate',
  as: 'impersonation is not supported: use the credentials of the account itself',
};
const PLUGINS = ['exec', 'auth-provider'];

function accessOf(path: string, wanted: string | undefined): Reading {
  const file = new KubeconfigFile(path);
  const contextName = wanted ?? file.text(file.root, 'current-context', 'current-context')
    ?? file.fail('has no current-context; set one with kubectl config use-context');
  const context = file.entry('contexts', 'context', contextName);
  const clusterName = file.text(context, 'cluster', `contexts[${contextName}].context.cluster`) ?? file.fail(`contexts[${contextName}].context.cluster is missing`);
  const userName = file.text(context, 'user', `contexts[${contextName}].context.user`) ?? file.fail(`contexts[${contextName}].context.user is missing`);
  const cluster = file.entry('clusters', 'cluster', clusterName);
  const user = file.entry('users', 'user', userName);
  const [clusterAt, userAt] = [`clusters[${clusterName}].cluster`, `users[${userName}].user`];
  if (cluster['proxy-url']) file.refuse('KUBECONFIG_UNSUPPORTED', `${clusterAt}.proxy-url: proxies are not supported`);
  for (const [field, advice] of Object.entries(UNSUPPORTED)) if (user[field]) file.refuse('KUBECONFIG_UNSUPPORTED', `${userAt}.${field}: ${advice}`);
  for (const field of PLUGINS) {
    if (user[field]) file.refuse('KUBECONFIG_PLUGIN', `${userAt}.${field}: plugins are not run here: use a token, a tokenFile or a client certificate`);
  }
  const tls: TlsMaterial = {
    ...optional('ca', file.bytes(cluster, 'certificate-authority', clusterAt)),
    ...optional('cert', file.bytes(user, 'client-certificate', userAt)),
    ...optional('key', file.bytes(user, 'client-key', userAt)),
    ...optional('servername', file.text(cluster, 'tls-server-name', `${clusterAt}.tls-server-name`)),
    ...(cluster['insecure-skip-tls-verify'] === true && { insecure: true }),
  };
  const namespace = file.text(context, 'namespace', `contexts[${contextName}].context.namespace`);
  return { access: { server: serverOf(file, cluster, clusterAt), tls: checked(tls, path), headers: headersOf(file, user, userAt) }, namespace };
}

function serverOf(file: KubeconfigFile, cluster: Fields, at: string): string {
  const server = file.text(cluster, 'server', `${at}.server`) ?? file.fail(`${at}.server is missing`);
  if (!URL.canParse(server) || !/^https?:$/.test(new URL(server).protocol)) file.fail(`${at}.server: ${server} is no http or https URL`);
  return server.replace(/\/+$/, '');
}

function headersOf(file: KubeconfigFile, user: Fields, at: string): Record<string, string> {
  // As client-go has it: the file wins, because it is the one that is rotated.
  const tokenFile = file.text(user, 'tokenFile', `${at}.tokenFile`);
  if (tokenFile !== undefined) {
    const what = `${file.path}: ${at}.tokenFile`;
    return bearer(readFile(file.resolve(tokenFile), 'CREDENTIALS_UNREADABLE', what), what);
  }
  const token = file.text(user, 'token', `${at}.token`);
  return token === undefined ? {} : bearer(token, `${file.path}: ${at}.token`);
}

/** A parsed kubeconfig file whose complaints name file and field. */
class KubeconfigFile {
  readonly path: string;
  readonly root: Fields;

  constructor(path: string) {
    this.path = path;
    const text = readFile(path, 'KUBECONFIG_INVALID').toString('utf8');
    let root: unknown;
    try {
      root = load(text);
    } catch (error) {
      // Neither the rest of its message nor itself as the cause: a parser quotes the lines around the fault, and they may hold a token.
      this.fail(`is no YAML: ${withoutQuotes(error)}`);
    }
    if (!isFields(root)) this.fail('is no kubeconfig: it has no fields');
    this.root = root;
  }

  fail(message: string): never {
    throw new CredentialsError('KUBECONFIG_INVALID', `${this.path}: ${message}`);
  }

  refuse(code: CredentialsErrorCode, message: string): never {
    throw new CredentialsError(code, `${this.path}: ${message}`);
  }

  /** Paths in a kubeconfig are relative to it. */
  resolve(path: string): string {
    return resolve(dirname(this.path), path);
  }

  /** The entry of that name in one of the three lists. */
  entry(list: string, kind: string, name: string): Fields {
    const entries = this.root[list];
    const found: unknown = Array.isArray(entries) ? entries.find((e) => isFields(e) && e['name'] === name) : undefined;
    if (!isFields(found)) this.fail(`${list} has no entry named ${name}`);
    const fields = found[kind];
    if (!isFields(fields)) this.fail(`${list}[${name}].${kind} is missing`);
    return fields;
  }

  text(fields: Fields, field: string, at: string): string | undefined {
    const value = fields[field];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value !== 'string') this.fail(`${at} is not a text`);
    return value;
  }

  /** `<field>-data` (base64) or the file that `<field>` names. As client-go has it, the data wins. */
  bytes(fields: Fields, field: string, at: string): Buffer | undefined {
    const data = this.text(fields, `${field}-data`, `${at}.${field}-data`);
    if (data !== undefined) {
      if (!/^[A-Za-z0-9+/\s]+=*\s*$/.test(data)) this.fail(`${at}.${field}-data is not base64`);
      return Buffer.from(data, 'base64');
    }
    const path = this.text(fields, field, `${at}.${field}`);
    return path === undefined ? undefined : readFile(this.resolve(path), 'CREDENTIALS_UNREADABLE', `${this.path}: ${at}.${field}`);
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function optional<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };
}
