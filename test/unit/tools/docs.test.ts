/** The reference pages are what the tables in the source say, and what a page links to exists. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { pages } from '../../../tools/docs.ts';

const root = new URL('../../../', import.meta.url);

test('docs/errors.md and docs/api.md are fresh; if not, run npm run generate', () => {
  for (const [name, text] of pages()) assert.equal(readFileSync(new URL(`docs/${name}`, root), 'utf8'), text, `docs/${name} is stale`);
});

test('every relative link in README and docs leads somewhere', () => {
  const files = ['README.md', ...readdirSync(new URL('docs/', root)).filter((f) => f.endsWith('.md')).map((f) => `docs/${f}`)];
  for (const file of files) {
    const text = readFileSync(new URL(file, root), 'utf8');
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)) {
      assert.ok(existsSync(new URL(target!, new URL(file, root))), `${file} links to ${target}`);
    }
  }
});

test('every npm script that README and docs name exists', () => {
  const scripts = (JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { scripts: Record<string, string> }).scripts;
  for (const file of ['README.md', ...readdirSync(new URL('docs/', root)).map((f) => `docs/${f}`)]) {
    for (const [, script] of readFileSync(new URL(file, root), 'utf8').matchAll(/npm run ([a-z:]+)/g)) assert.ok(script! in scripts, `${file} names npm run ${script}`);
  }
});
