// A real Kubernetes API server for tests: etcd, kube-apiserver with RBAC and, on request, kube-controller-manager, as
// ordinary processes on the host or inside a lab guest. There is no kubelet: Nodes and Pods are objects that a test writes.
//
//   const cluster = await startCluster({ folder: mkdtempSync(join(tmpdir(), 'cluster-')), controllerManager: true });
//   await cluster.apply('apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }');
//   const token = await cluster.tokenFor('shop/agent');
//   await cluster.kill('apiserver'); await cluster.start('apiserver');
//   await cluster.stop();
//
// Needs the programs of `sh tools/bootstrap.sh cluster`. Whatever happens to this process, its cluster dies with it
// (process.ts); the folder stays for whoever made it: it holds the logs. It is not a fixture: no objects, no product.

import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from '../lab/process.ts';
import {
  apiServerCommand, controllerManagerCommand, etcdCommand, usualControllers, writeKubeconfig, writeLayout, type ClusterPart,
} from './layout.ts';
import { lastLines, startServerProcess, type ServerProcess } from './process.ts';
import { programPath } from './programs.ts';
import { apiRequest, type ApiAnswer } from './request.ts';

export type { ClusterPart } from './layout.ts';

export interface ClusterOptions {
  /** Absolute path; made when absent, never removed. For data (130 MB), certificates, kubeconfigs and logs. */
  readonly folder: string;
  /** Runs kube-controller-manager: true for the usual controllers (layout.ts), or their names. Default false. */
  readonly controllerManager?: boolean | readonly string[];
  /** Where the API server listens, and under which address everybody reaches it. Default 127.0.0.1. */
  readonly address?: string;
  /** Default a free port, which it keeps over restarts. */
  readonly port?: number;
  /** Users besides `admin` (group system:masters): their groups by name. RBAC gives them nothing. */
  readonly users?: Readonly<Record<string, readonly string[]>>;
  /** More flags for kube-apiserver; the last of two counts. */
  readonly apiServerFlags?: readonly string[];
  /** Default three minutes, for each start and restart: it takes 3 s, and a busy machine is no failure. */
  readonly readyWithinMs?: number;
  /** Aborting it kills the cluster, at any time. */
  readonly signal?: AbortSignal;
}

export interface KubectlOptions {
  readonly stdin?: string;
  /** Default five minutes: on a busy machine an apply of one object has taken longer than one. */
  readonly timeoutMs?: number;
  /** Another than the admin's. */
  readonly kubeconfig?: string;
}

export interface KubectlResult { readonly code: number; readonly stdout: string; readonly stderr: string }

export interface RequestOptions {
  /** Default the admin's; null: anonymous. */
  readonly token?: string | null;
  readonly contentType?: string;
  readonly timeoutMs?: number;
}

export interface Cluster {
  readonly folder: string;
  /** https://ADDRESS:PORT */
  readonly url: string;
  readonly address: string;
  readonly port: number;
  /** PEM file with the API server's certificate. */
  readonly caFile: string;
  readonly adminToken: string;
  /** Token of each user by name, `admin` included. */
  readonly tokens: Readonly<Record<string, string>>;
  /** Path of the admin's kubeconfig. */
  readonly kubeconfig: string;
  /** Writes a kubeconfig for another token; returns its path. */
  writeKubeconfig(name: string, token: string): string;
  /** Runs kubectl; never rejects because of its exit code. */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<KubectlResult>;
  /** `kubectl apply --server-side` of YAML documents; waits for a kind that is not found yet; rejects with kubectl's words. */
  apply(yaml: string): Promise<void>;
  /** The same of a file, or of all files in a folder. */
  applyFile(path: string): Promise<void>;
  /** One request with a JSON body, as admin unless told. Resolves for every HTTP status. */
  request<T = unknown>(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<ApiAnswer<T>>;
  /** A token for the service account `namespace/name`, by TokenRequest. Rejects when there is no such account. */
  tokenFor(serviceAccount: string, options?: { readonly expirationSeconds?: number }): Promise<string>;
  /** Process id of each part that runs. */
  pids(): Partial<Record<ClusterPart, number>>;
  /** SIGKILL; resolves when it is gone. */
  kill(part: ClusterPart): Promise<void>;
  /** Starts a part again that was killed, with the same data, port and certificate; resolves when it is ready. */
  start(part: ClusterPart): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers any more. */
  pause(part: ClusterPart): void;
  resume(part: ClusterPart): void;
  /** SIGTERM, the API server's own orderly end, `downMs` of nothing (default 0), and a start. */
  restartApiServer(options?: { readonly downMs?: number }): Promise<void>;
  /** The last lines of a part's log. */
  log(part: ClusterPart, lines?: number): string;
  /** Ends everything; resolves when no process is left. */
  stop(): Promise<void>;
}

/** Starts a cluster and resolves when it is ready. Rejects, with the end of the log, when a part ends or takes too long. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { folder, address = '127.0.0.1', readyWithinMs = 180_000, signal } = options;
  signal?.throwIfAborted();
  const layout = writeLayout(folder, options.users ?? {});
  const [etcdPort, port] = [await freePort('127.0.0.1'), options.port ?? await freePort(address)];
  const url = `https://${address}:${port}`;
  const kubeconfig = writeKubeconfig(layout, 'admin', url, layout.adminToken);
  const { controllerManager = false } = options;
  const running = new Map<ClusterPart, ServerProcess>();

  const parts: Record<ClusterPart, { command: () => string[]; ready: () => Promise<boolean> }> = {
    etcd: { command: () => etcdCommand(layout, etcdPort), ready: () => etcdAnswers(etcdPort) },
    apiserver: {
      command: () => apiServerCommand(layout, { address, port, etcdPort, flags: options.apiServerFlags ?? [] }),
      ready: async () => (await request('GET', '/readyz', undefined, { timeoutMs: 15_000 })).status === 200,
    },
    'controller-manager': {
      command: () => controllerManagerCommand(layout, controllerManager === true ? usualControllers : controllerManager || []),
      ready: () => Promise.resolve(true), // It answers nobody; a test waits for what it does.
    },
  };
  const logFile = (part: ClusterPart): string => join(folder, `${part}.log`);

  const start = async (part: ClusterPart): Promise<void> => {
    if (running.get(part)?.running === true) throw new Error(`${part} runs already`);
    const started = await startServerProcess(parts[part].command(), logFile(part), { HOME: folder });
    running.set(part, started);
    const deadline = performance.now() + readyWithinMs;
    try {
      // Not answering yet is what this loop is for, so the reason does not matter.
      for (;;) {
        const asked = performance.now();
        if (await parts[part].ready().catch(() => false)) return;
        signal?.throwIfAborted();
        const why = !started.running ? `ended with ${await started.ended}` : performance.now() > deadline ? `is not ready after ${readyWithinMs / 1000} s` : null;
        if (why !== null) throw new Error(`${part} ${why}; the end of ${logFile(part)}:\n${lastLines(logFile(part))}`);
        // In a guest, asking (a TLS handshake) takes the one CPU away from who is asked.
        await sleep(Math.min(500, Math.max(50, 5 * (performance.now() - asked))));
      }
    } catch (error) {
      await started.end(0);
      throw error;
    }
  };
  const end = async (part: ClusterPart, graceMs: number): Promise<void> => { await running.get(part)?.end(graceMs); };
  const stop = async (): Promise<void> => { await Promise.all([...running.keys()].map((part) => end(part, 0))); };

  function request<T>(method: string, path: string, body?: unknown, { token = layout.adminToken, ...more }: RequestOptions = {}): Promise<ApiAnswer<T>> {
    return apiRequest<T>(method, path, { url, ca: readFileSync(layout.caFile), token: token ?? undefined, body, signal, ...more });
  }

  const kubectl = (args: readonly string[], { stdin, timeoutMs = 300_000, kubeconfig: other }: KubectlOptions = {}): Promise<KubectlResult> => runCommand(
    [programPath('kubectl'), '--kubeconfig', other ?? kubeconfig, '--cache-dir', join(folder, 'kubectl-cache'), ...args],
    { environment: { KUBERC: 'off' }, timeoutMs, ...(stdin === undefined ? {} : { stdin }), ...(signal === undefined ? {} : { signal }) },
  );
  const applied = async (file: string, stdin?: string): Promise<void> => {
    for (const deadline = performance.now() + readyWithinMs; ; await sleep(500)) {
      const { code, stderr } = await kubectl(['apply', '--server-side', '-f', file], stdin === undefined ? {} : { stdin });
      if (code === 0) return;
      // A kind that was made a moment ago is found a moment later.
      if (!/no matches for kind|could not find the requested resource/.test(stderr) || performance.now() > deadline) throw new Error(`kubectl apply: ${stderr.trim()}`);
    }
  };

  const onAbort = (): void => { void stop(); };
  signal?.addEventListener('abort', onAbort);
  try {
    await start('etcd');
    await start('apiserver');
    if (controllerManager !== false) await start('controller-manager');
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    folder, url, address, port, kubeconfig, kubectl, request, start, caFile: layout.caFile, adminToken: layout.adminToken, tokens: layout.tokens,
    writeKubeconfig: (name, token) => writeKubeconfig(layout, name, url, token),
    apply: (yaml) => applied('-', yaml),
    applyFile: (path) => applied(path),
    tokenFor: async (serviceAccount, { expirationSeconds = 3600 } = {}) => {
      const [namespace, name] = serviceAccount.split('/');
      const { status, body } = await request<{ status?: { token: string }; message?: string }>('POST', `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`,
        { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds } });
      if (status !== 201) throw new Error(`no token for ${serviceAccount}: ${status} ${body.message ?? ''}`);
      return body.status!.token;
    },
    pids: () => Object.fromEntries([...running].filter(([, one]) => one.running).map(([part, { pid }]) => [part, pid])),
    kill: (part) => end(part, 0),
    pause: (part) => running.get(part)?.signal('SIGSTOP'),
    resume: (part) => running.get(part)?.signal('SIGCONT'),
    restartApiServer: async ({ downMs = 0 } = {}) => {
      await end('apiserver', 15_000);
      await sleep(downMs);
      await start('apiserver');
    },
    log: (part, lines) => lastLines(logFile(part), lines),
    stop: async () => {
      signal?.removeEventListener('abort', onAbort);
      await stop();
    },
  };
}

/** A port that nobody has, below those that the kernel gives to outgoing connections: it must still be free after a restart. */
async function freePort(address: string): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    const server = createServer().listen(port, address);
    const free = await new Promise<boolean>((done, failed) => {
      server.once('listening', () => done(true));
      server.once('error', (error: NodeJS.ErrnoException) => { if (error.code === 'EADDRINUSE') done(false); else failed(error); });
    });
    if (!free) continue;
    await new Promise((done) => server.close(done));
    return port;
  }
}

function etcdAnswers(port: number): Promise<boolean> {
  return new Promise((done, failed) => {
    const request = get({ host: '127.0.0.1', port, path: '/health', agent: false, timeout: 15_000 }, (response) => {
      response.resume();
      done(response.statusCode === 200);
    });
    request.once('timeout', () => request.destroy(new Error('no answer')));
    request.once('error', failed);
  });
}
