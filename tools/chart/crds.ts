/** crds/*.yaml as templates of the Helm chart: the same text, with what Helm would read as its own escaped. Pure. */

const NOTE = '# Generated from crds/ by tools/generate-chart.ts (npm run generate). Do not edit.\n';

/** So that Helm prints the text as it is. */
export function escapeTemplate(text: string): string {
  return text.replaceAll('{{', '{{ "{{" }}');
}

/** Template files by name below deploy/chart/templates, from the files of crds/ by name. */
export function crdTemplates(files: Iterable<readonly [string, string]>): Map<string, string> {
  return new Map([...files].map(([name, text]) => [`crd-${name}`, crdTemplate(text)]));
}

/** One CRD, when crds.enabled, with the annotation that lets it survive an uninstall, when crds.keep. */
export function crdTemplate(text: string): string {
  const body = escapeTemplate(text.replace(/^#.*\n/, ''));
  const [before, name, after] = splitAfterName(body);
  return `${NOTE}{{- if .Values.crds.enabled }}\n${before}${name}  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n${after}{{- end }}\n`;
}

function splitAfterName(text: string): [string, string, string] {
  const match = /^metadata:\n( {2}name: .*\n)/m.exec(text);
  if (match === null) throw new Error('a CRD without metadata.name');
  const at = match.index + 'metadata:\n'.length;
  return [text.slice(0, at), match[1]!, text.slice(at + match[1]!.length)];
}
