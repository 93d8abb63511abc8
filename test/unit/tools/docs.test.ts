/** The reference pages are what the tables in the source say, and what a page links to exists. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, readdirSync } from 'node:fs';
import { pages } from '../../../tools/docs.ts';

const root = new URL('../../../', import.meta.url);

test('docs/errors.md and docs/api.md are fresh; if not, run npm run generate', () => {
  for (const [name, text] of pages()) assert.equal(readFileSync(new URL(`docs/${name}`, root), 'utf8'), text, `docs/${name} is stale`);
});

test('every code of every table of codes in the source is on the page of codes', async () => {
  const page = readFileSync(new URL('docs/errors.md', root), 'utf8');
  const tables = globSync('src/**/*.ts', { cwd: root.pathname }).flatMap((file) => [...readFileSync(new URL(file, root), 'utf8').matchAll(/^export const (\w+_CODES) = /gm)].map(([, name]) => ({ file, name: name! })));
  assert.ok(tables.length >= 10);
  for (const { file, name } of tables) {
    const codes = (await import(new URL(file, root).href) as Record<string, Record<string, string>>)[name]!;
    for (const [code, meaning] of Object.entries(codes)) assert.ok(page.includes(`| \`${code}\` | ${meaning} |`), `${code} of ${name} in ${file}`);
  }
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
