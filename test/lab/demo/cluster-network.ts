// The cluster of `npm run demo:cluster` as data: the network of examples/kubernetes with its documentation addresses, its nodes and
// their labels, the command that renders the chart, and the guest's `kubectl`.

import { chmodSync, writeFileSync } from 'node:fs';
import type { LabCluster } from '../lab.ts';
import { programPath } from '../../cluster/programs.ts';
import type { HostSpec, Topology } from '../topology.ts';

/** The last part of each node's address in the LAN, which is also the number of its pods' network. */
const numbers: Readonly<Record<string, number>> = { 'edge-1': 11, 'edge-2': 12, 'node-1': 21, 'node-2': 22, 'node-3': 23 };

const opsNumber = 50;

export const system = 'ipvs-system';
/** Of helm, at the repository's root: the chart with its default values. */
export const renderArguments = ['template', 'ipvs-operator', 'deploy/chart', '--namespace', system] as const;

export const directors = ['edge-1', 'edge-2'] as const;
export const workers = ['node-1', 'node-2', 'node-3'] as const;

export const nodeAddress = (node: string): string => `203.0.113.${numbers[node]!}`;
export const podAddress = (node: string, n: number): string => `10.244.${numbers[node]!}.${n + 1}`;

/** Labels that the examples ask for, and those that a kubelet gives. */
export const labels: Readonly<Record<string, Readonly<Record<string, string>>>> = Object.fromEntries(Object.keys(numbers).map((node) => [node, {
  'kubernetes.io/os': 'linux',
  ...(node.startsWith('edge-') ? { 'node-role.kubernetes.io/edge': '' } : {}),
  ...(node === 'node-1' ? { 'media.example/relay': '' } : {}),
  ...(node === 'node-2' || node === 'node-3' ? { 'shop.example/ingress': '' } : {}),
}]));

/** A host of the LAN: pods of other nodes are behind those. */
function inLan(number: number): HostSpec {
  return {
    links: { e0: { bridge: 'lan', addresses: [`203.0.113.${number}/24`] } },
    routes: ['default via 203.0.113.1', ...Object.values(numbers).filter((other) => other !== number).map((other) => `10.244.${other}.0/24 via 203.0.113.${other}`)],
  };
}

/**
 *     c1 198.51.100.100 -- gw --+-- lan 203.0.113.0/24: edge-1 .11, edge-2 .12, node-1 to node-3 .21 to .23, ops .50
 *                                   with the pods of each node behind it, in 10.244.NUMBER.0/24
 */
export const topology: Topology = {
  name: 'demo-cluster',
  bridges: ['out', 'lan'],
  hosts: {
    gw: { links: { e0: { bridge: 'lan', addresses: ['203.0.113.1/24'] }, e1: { bridge: 'out', addresses: ['198.51.100.1/24'] } }, router: true },
    c1: { links: { e0: { bridge: 'out', addresses: ['198.51.100.100/24'] } }, routes: ['default via 198.51.100.1'] },
    ...Object.fromEntries(Object.entries(numbers).map(([node, number]) => [node, inLan(number)])),
    ops: inLan(opsNumber),
  },
};

/** The same as a picture that fits on the page, from the data. */
export function clusterPicture(): string[] {
  const row = (names: readonly string[]): string => names.map((name) => `${name} .${numbers[name] ?? opsNumber}`).join('   ');
  const rows = [[row(directors), 'directors'], [row(workers), 'pods'], [row(['ops']), 'kubectl']] as const;
  const width = Math.max(...rows.map(([text]) => text.length));
  return ['c1 198.51.100.100 ── gw ── LAN 203.0.113.0/24', ...rows.map(([text, about], i) => `${' '.repeat(27)}${i === rows.length - 1 ? '└' : '├'}─ ${text.padEnd(width)}   ${about}`)];
}

/** Makes `kubectl` a command of the guest, for the administrator. */
export function installKubectl({ kubeconfig }: LabCluster): void {
  const file = '/usr/local/bin/kubectl';
  writeFileSync(file, `#!/bin/sh\nexport KUBECONFIG=${kubeconfig} KUBERC=off KUBECACHEDIR=/run/kubectl\nexec ${programPath('kubectl')} "$@"\n`);
  chmodSync(file, 0o755);
}
