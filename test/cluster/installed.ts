// What `kubectl apply` of deploy/install.yaml leaves to the API server to do: it serves a kind, and knows a right, a moment after it was told.
// On a busy machine that moment is longer than what a test does next. It asks; it asserts nothing and installs nothing.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from './server.ts';

const API = '/apis/ipvs-operator.dev/v1alpha1';
const KINDS = ['directorgroups', 'vippools', 'virtualservers', 'virtualips', 'virtualserverprograms', 'ipvsnodes'];
/** Far longer than it ever takes: the machine may be busy. */
const PATIENCE_MS = 300_000;

/** Waits until all of our kinds are served, and until these service accounts (`namespace/name`) may read programs. Rejects with what is missing. */
export async function untilInstalled(cluster: Pick<Cluster, 'request'>, ...accounts: readonly string[]): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; ; await sleep(100)) {
    const missing = [...await notServed(cluster), ...await notPermitted(cluster, accounts)];
    if (missing.length === 0) return;
    if (performance.now() > deadline) throw new Error(`not within ${PATIENCE_MS / 1000} s: ${missing.join(', ')}`);
  }
}

async function notServed(cluster: Pick<Cluster, 'request'>): Promise<string[]> {
  const statuses = await Promise.all(KINDS.map(async (kind) => [kind, (await cluster.request('GET', `${API}/${kind}?limit=1`)).status] as const));
  return statuses.flatMap(([kind, status]) => (status === 200 ? [] : [`${kind}: ${status}`]));
}

async function notPermitted(cluster: Pick<Cluster, 'request'>, accounts: readonly string[]): Promise<string[]> {
  const answers = await Promise.all(accounts.map(async (account) => {
    const [space, name] = account.split('/') as [string, string];
    const { body } = await cluster.request<{ status?: { allowed?: boolean } }>('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview',
      spec: {
        user: `system:serviceaccount:${space}:${name}`, groups: ['system:serviceaccounts', `system:serviceaccounts:${space}`, 'system:authenticated'],
        resourceAttributes: { verb: 'watch', group: 'ipvs-operator.dev', resource: 'virtualserverprograms' },
      },
    });
    return [account, body.status?.allowed === true] as const;
  }));
  return answers.flatMap(([account, allowed]) => (allowed ? [] : [`the rights of ${account}`]));
}
