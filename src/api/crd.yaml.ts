/** CRDs as the text of the files in crds/. Pure; tools/generate-crds.ts writes them, a test compares them. */
import { dump } from 'js-yaml';
import { allDefinitions } from './crd.ts';

const HEADER = '# Generated from src/api/v1alpha1 by tools/generate-crds.ts (npm run generate). Do not edit.\n';

/** File name to content. */
export function definitionFiles(): Map<string, string> {
  return new Map(allDefinitions().map((crd) => [`${crd.spec.names.plural}.yaml`, HEADER + dump(crd, { lineWidth: 140, noRefs: true })]));
}
