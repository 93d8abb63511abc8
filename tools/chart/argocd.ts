/** deploy/argocd/argocd-cm.yaml: the health script under the name of each kind that it judges. Pure. */

/** Kinds that people write; Argo CD judges no others. */
export const JUDGED_KINDS = ['VirtualServer', 'VIPPool', 'DirectorGroup'] as const;

export function argocdConfig(script: string): string {
  const block = script.trimEnd().split('\n').map((line) => (line === '' ? '' : `    ${line}`)).join('\n');
  return [
    '# Generated from health.lua by tools/generate-chart.ts (npm run generate). Do not edit.',
    'apiVersion: v1', 'kind: ConfigMap', 'metadata:', '  name: argocd-cm', '  namespace: argocd', 'data:',
    ...JUDGED_KINDS.map((kind) => `  resource.customizations.health.ipvs-operator.dev_${kind}: |\n${block}`), '',
  ].join('\n');
}
