/** Writes crds/*.yaml and src/api/shapes.generated.ts from the schemas; refuses to when the lint complains. Run: npm run generate */
import { mkdirSync, writeFileSync } from 'node:fs';
import { allDefinitions } from '../src/api/crd.ts';
import { lintDefinition } from '../src/api/crd.lint.ts';
import { definitionFiles } from '../src/api/crd.yaml.ts';
import { shapesFile } from '../src/api/shapes.ts';

const complaints = allDefinitions().flatMap((crd) => lintDefinition(crd).map((what) => `${crd.spec.names.kind}: ${what}`));
if (complaints.length > 0) {
  console.error(complaints.join('\n'));
  process.exit(1);
}
const folder = new URL('../crds/', import.meta.url);
mkdirSync(folder, { recursive: true });
for (const [name, text] of definitionFiles()) {
  writeFileSync(new URL(name, folder), text);
  console.log(`crds/${name}: ${text.length} bytes`);
}
writeFileSync(new URL('../src/api/shapes.generated.ts', import.meta.url), shapesFile());
