// Tokens as kubelets give them to pods: bound to a pod on a node, so that policies know which node asks. There is no kubelet here, so the pod
// is an object only.

import { create } from './objects.ts';
import type { Cluster } from './server.ts';

/** Longer than any test lasts. */
const EXPIRES_SECONDS = 86_400;

/** A token of the service account `namespace/name` for a pod of its own on a node, which exists. Rejects with the server's words. */
export async function tokenOnNode(cluster: Pick<Cluster, 'request'>, account: string, node: string): Promise<string> {
  const [namespace, name] = account.split('/') as [string, string];
  const pod = `agent-${node}`;
  await create(cluster, { apiVersion: 'v1', kind: 'Pod', metadata: { name: pod, namespace }, spec: { nodeName: node, serviceAccountName: name, containers: [{ name: 'agent', image: 'none' }] } });
  const { body: { metadata: { uid } } } = await cluster.request<{ metadata: { uid: string } }>('GET', `/api/v1/namespaces/${namespace}/pods/${pod}`);
  const { status, body } = await cluster.request<{ status: { token: string }; message?: string }>('POST', `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`, {
    apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: EXPIRES_SECONDS, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod, uid } },
  });
  if (status !== 201) throw new Error(`no token for ${account} on ${node}: ${status} ${body.message ?? ''}`);
  return body.status.token;
}
