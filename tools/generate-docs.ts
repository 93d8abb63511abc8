/** Writes the reference pages under docs/. Run: npm run generate */
import { writeFileSync } from 'node:fs';
import { pages } from './docs.ts';

for (const [name, text] of pages()) {
  writeFileSync(new URL(`../docs/${name}`, import.meta.url), text);
  console.log(`docs/${name}: ${text.length} bytes`);
}
