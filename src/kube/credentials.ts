/**
 * Where the API server is and how to prove who we are, read again as it rotates: the contract, the common machinery, and the service
 * account of a pod. Kubeconfig files are in kubeconfig-file.ts (the agent's) and kubeconfig.ts (everything client-node can do).
 */
import { X509Certificate, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';

export const CREDENTIALS_ERROR_CODES = {
  NOT_IN_CLUSTER: 'This process runs in no pod, or its pod has no service account token; name a kubeconfig file instead.',
  CREDENTIALS_UNREADABLE: 'A token, certificate or key cannot be read or is not one; the message has the file.',
  KUBECONFIG_INVALID: 'A kubeconfig file cannot be read, or lacks something; the message has the file and the field.',
  KUBECONFIG_UNSUPPORTED: 'A kubeconfig file asks for something that is not supported; the message says for what, and what to use instead.',
  KUBECONFIG_PLUGIN: 'A kubeconfig file logs in by a plugin, which agents do not run; give them a token, a tokenFile or a client certificate.',
} as const;

export type CredentialsErrorCode = keyof typeof CREDENTIALS_ERROR_CODES;

export class CredentialsError extends Error {
  override readonly name = 'CredentialsError';
  readonly code: CredentialsErrorCode;
  constructor(code: CredentialsErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** What a connection is made of. */
export interface TlsMaterial {
  /** PEM. Absent: the system's authorities. */
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** The name to verify instead of the host's. */
  readonly servername?: string;
  readonly insecure?: boolean;
}

export interface Access {
  /** 'https://10.0.0.1:6443', with a path if there is one, without a slash at the end. */
  readonly server: string;
  readonly tls: TlsMaterial;
  /** Sent with each request: Authorization, or none when the certificate says who we are. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Credentials {
  /** For logs: 'service account', 'kubeconfig /etc/x.yaml'. */
  readonly source: string;
  /** The namespace these credentials are at home in, if they have one. */
  readonly namespace: string | undefined;
  /** What is wrong with the newest files while the last good ones are still in use; null when all is well. */
  readonly problem: CredentialsError | null;
  /** Cheap: reads files at most once a minute. Rejects with CredentialsError only when there never was anything to use. */
  access(): Promise<Access>;
  /** The server refused what it got, or its certificate: read everything again now. Never rejects; see `problem`. */
  refresh(): Promise<void>;
}

/** How long what was read is taken for current. client-go does the same; tokens are rotated long before they end. */
const FRESH_MS = 60_000;

export interface RotatingOptions {
  readonly source: string;
  readonly namespace?: string | undefined;
  /** Reads everything. `refused`: what it returned last was refused, so nothing may come from a cache. Throws CredentialsError. */
  readonly read: (refused: boolean) => Access | Promise<Access>;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** Credentials that are read again each minute and when refused; a reading that fails leaves the last good one in force. */
export class RotatingCredentials implements Credentials {
  readonly source: string;
  readonly namespace: string | undefined;
  readonly #read: (refused: boolean) => Access | Promise<Access>;
  readonly #now: () => number;
  #access: Access | null;
  #readAt: number;
  #problem: CredentialsError | null = null;
  #reading: Promise<void> | null = null;

  /** `first`: what was read already, by a caller that wanted to fail at once. */
  constructor({ source, namespace, read, now = () => performance.now() }: RotatingOptions, first: Access | null = null) {
    this.source = source;
    this.namespace = namespace;
    this.#read = read;
    this.#now = now;
    this.#access = first;
    this.#readAt = first ? now() : -Infinity;
  }

  get problem(): CredentialsError | null { return this.#problem; }

  async access(): Promise<Access> {
    if (this.#now() - this.#readAt >= FRESH_MS) await this.#readOnce(false);
    if (!this.#access) throw this.#problem!;
    return this.#access;
  }

  refresh(): Promise<void> { return this.#readOnce(true); }

  /** Fifty requests that are refused at the same time read once. */
  #readOnce(refused: boolean): Promise<void> {
    return this.#reading ??= this.#readAgain(refused).finally(() => { this.#reading = null; });
  }

  async #readAgain(refused: boolean): Promise<void> {
    try {
      this.#access = await this.#read(refused);
      this.#problem = null;
    } catch (error) {
      this.#problem = error instanceof CredentialsError ? error
        : new CredentialsError('CREDENTIALS_UNREADABLE', `${this.source}: ${(error as Error).message}`, error);
    }
    // Also after a failure, or each request would read the broken file.
    if (this.#access) this.#readAt = this.#now();
  }
}

export interface InClusterOptions {
  /** Where the pod's file system is, for tests. */
  readonly root?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly now?: () => number;
}

const SERVICE_ACCOUNT = 'var/run/secrets/kubernetes.io/serviceaccount';

/** The service account of the pod this process runs in. Throws CredentialsError NOT_IN_CLUSTER, CREDENTIALS_UNREADABLE. */
export function inClusterCredentials({ root = '/', env = process.env, now }: InClusterOptions = {}): Credentials {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (!host || !port) {
    throw new CredentialsError('NOT_IN_CLUSTER',
      'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod; name a kubeconfig file instead');
  }
  const server = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const folder = join(root, SERVICE_ACCOUNT);
  const read = (): Access => ({
    server,
    tls: checked({ ca: readFile(join(folder, 'ca.crt')) }, folder),
    headers: bearer(readFile(join(folder, 'token')), join(folder, 'token')),
  });
  return new RotatingCredentials({ source: 'service account', namespace: optionalText(join(folder, 'namespace')), read, ...(now && { now }) }, read());
}

/** The bytes of a file. Throws CredentialsError. */
export function readFile(path: string, code: CredentialsErrorCode = 'CREDENTIALS_UNREADABLE', what = path): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new CredentialsError(code, `${what} cannot be read: ${(cause as Error).message}`, cause);
  }
}

function optionalText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined;
  } catch {
    // Only pods with a service account volume of the usual kind have this file; who needs a namespace can be told it.
    return undefined;
  }
}

/** What a parser of a file with secrets says, without what it quotes: the lines around the fault below, and words of them. */
export function withoutQuotes(error: unknown): string {
  return (error as Error).message.split('\n', 1)[0]!.replace(/"[^"]*"|<[^>]*>/g, '...');
}

/** The Authorization header of a token. Throws CredentialsError when it is none: empty, or with characters no header may have. */
export function bearer(bytes: Buffer | string, what: string): Record<string, string> {
  const token = bytes.toString().trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    const why = token === '' ? 'is empty' : 'is no token: it has characters that no token has';
    throw new CredentialsError('CREDENTIALS_UNREADABLE', `${what}: ${why}`);
  }
  return { authorization: `Bearer ${token}` };
}

/** The material itself, if TLS can work with it. Throws CredentialsError: half a file during a rotation must not replace a whole one. */
export function checked(tls: TlsMaterial, what: string): TlsMaterial {
  const attempt = (part: string, check: () => unknown): void => {
    try {
      check();
    } catch (cause) {
      throw new CredentialsError('CREDENTIALS_UNREADABLE', `${what}: the ${part} cannot be used: ${(cause as Error).message}`, cause);
    }
  };
  if (!tls.cert !== !tls.key) {
    const half = tls.cert ? 'certificate without its key' : 'key without its certificate';
    throw new CredentialsError('CREDENTIALS_UNREADABLE', `${what}: a client ${half}`);
  }
  if (tls.ca) attempt('CA certificate', () => new X509Certificate(tls.ca!));
  if (tls.cert && tls.key) attempt('client certificate with its key', () => createSecureContext({ cert: tls.cert!, key: tls.key! }));
  return tls;
}

/** The same for the same bytes: when it changes, new connections are needed. */
export function tlsDigest({ ca, cert, key, servername, insecure }: TlsMaterial): string {
  const hash = createHash('sha256');
  for (const part of [ca, cert, key, servername, String(insecure === true)]) hash.update(part === undefined ? '-' : `${part.length}:`).update(part ?? '');
  return hash.digest('hex');
}
