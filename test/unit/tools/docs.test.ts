/** The reference pages are what the tables in the source say; and what a page links to, names or tells to type exists. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { AGENT_USAGE } from '../../../src/agent/cluster/options.ts';
import { EXPLAIN_USAGE, IMPORT_USAGE, PLAN_USAGE, PREFLIGHT_USAGE, SAVE_USAGE, STATUS_USAGE } from '../../../src/cli/usages.ts';
import { CONTROLLER_USAGE } from '../../../src/controller/options.ts';
import { CATALOGUES } from '../../../src/observe/catalogue.ts';
import { STANDALONE_USAGE } from '../../../src/standalone/options.ts';
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

test('a code that an error is given where it is thrown is on that page too', () => {
  const page = readFileSync(new URL('docs/errors.md', root), 'utf8');
  const given = globSync('src/**/*.ts', { cwd: root.pathname }).flatMap((file) => [...readFileSync(new URL(file, root), 'utf8').matchAll(/\bcode(?:: | = )'([A-Z]+_?[A-Z_]+)'/g)].map(([, code]) => ({ file, code: code! })));
  // Those of the system, which Node writes in capitals too, are no codes of ours.
  const ours = given.filter(({ code }) => !/^E[A-Z0-9]+$|^(ABORT_ERR|ERR_.*)$/.test(code));
  assert.ok(ours.some(({ code }) => code === 'USAGE'));
  assert.deepEqual(ours.filter(({ code }) => !page.includes(`| \`${code}\` |`)), []);
});

/** Every page of the repository, by its path. */
const pagesOf = (...patterns: readonly string[]): [path: string, text: string][] => patterns.flatMap((pattern) => globSync(pattern, { cwd: root.pathname })).sort().map((path) => [path, readFileSync(new URL(path, root), 'utf8')]);
const allPages = pagesOf('*.md', '{docs,deploy,examples,src,test}/**/*.md');

test('every relative link of a page leads somewhere', () => {
  assert.ok(allPages.length >= 14);
  for (const [path, text] of allPages) {
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)) assert.ok(existsSync(new URL(target!, new URL(path, root))), `${path} links to ${target}`);
  }
});

test('every npm script that a page names exists', () => {
  const scripts = (JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { scripts: Record<string, string> }).scripts;
  for (const [path, text] of allPages) for (const [, script] of text.matchAll(/npm run ([a-z:]+)/g)) assert.ok(script! in scripts, `${path} names npm run ${script}`);
});

test('every file of ours that a page, a manifest or the Dockerfile names exists', () => {
  // One that a reader is told to make, and generated ones.
  const others = new Set(['test/lab/scenarios/mine.ts', 'dist/main.js', 'values.yaml']);
  const files = globSync('{src,test,tools}/**/*.{ts,sh,c,mod}', { cwd: root.pathname });
  const named = [...allPages, ...pagesOf('Dockerfile', 'deploy/chart/templates/*', 'examples/**/*.yaml', 'crds/*')].flatMap(([path, text]) => [
    ...[...text.matchAll(/(?<![\w/.~-])(?:[\w-]+\/)*[\w-]+(?:\.test)?\.ts\b/g)].map(([file]) => [path, file] as const),
    ...[...text.matchAll(/(?<![\w/.~-])(?:src|test|tools|docs|deploy|examples|crds)\/[\w./-]*\w/g)].map(([file]) => [path, file] as const),
  ]);
  assert.ok(named.length > 100);
  for (const [path, file] of named) if (!others.has(file)) assert.ok(existsSync(new URL(file, root)) || files.some((one) => one.endsWith(`/${file}`)), `${path} names ${file}`);
});

/** What each sub-command says of itself. */
const USAGES: Readonly<Record<string, string>> = {
  agent: AGENT_USAGE, controller: CONTROLLER_USAGE, explain: EXPLAIN_USAGE, import: IMPORT_USAGE, plan: PLAN_USAGE, preflight: PREFLIGHT_USAGE, save: SAVE_USAGE, standalone: STANDALONE_USAGE, status: STATUS_USAGE,
};

test('every command of ours that a page shows is one, with options that it has', () => {
  const named = allPages.flatMap(([path, text]) => {
    const code = [...text.matchAll(/^```\w*\n([^]*?)^```|`([^`\n]+)`/gm)].map(([, block, inline]) => block ?? inline!).join('\n').replace(/\\\n/g, ' ');
    return [...code.matchAll(/(\S+ +)?(?:(?<![\w/.-])ipvs-operator|ipvs-operator:[\d.]+|dist\/main\.js(?! is missing)) +([a-z-]+)\b(?!\/)([^#|&;>\n]*)/g)]
      .filter(([, before = '']) => !/^(install|template|upgrade|uninstall) /.test(before)).map(([, , command, rest]) => ({ path, command: command!, rest: rest! }));
  });
  assert.ok(named.length > 25);
  for (const { path, command, rest } of named) {
    const usage = USAGES[command];
    assert.ok(usage !== undefined, `${path} shows ipvs-operator ${command}`);
    for (const [option] of rest.matchAll(/(?<![\w-])--?[a-z][a-z-]*/g)) assert.match(usage, new RegExp(`(?<![\\w-])${option}(?![\\w-])`), `${path}: ${command} ${option}`);
  }
});

test('every value of the chart that a page names exists', () => {
  const values = new Set<string>();
  const walk = (schema: { properties?: Record<string, object> }, path: string): void => {
    for (const [name, one] of Object.entries(schema.properties ?? {})) {
      values.add(`${path}${name}`);
      walk(one, `${path}${name}.`);
    }
  };
  walk(JSON.parse(readFileSync(new URL('deploy/chart/values.schema.json', root), 'utf8')) as object, '');
  const named = allPages.flatMap(([path, text]) => [...text.matchAll(/(?:`|--set )((?:agent|controller|image|crds|namespace|admission|rbac|podMonitor)(?:\.[a-zA-Z]+)+)/g)].map(([, value]) => ({ path, value: value! }))).filter(({ value }) => !value.endsWith('.ts'));
  assert.ok(named.length > 40);
  // A map is the user's below its name.
  for (const { path, value } of named) assert.ok(values.has(value) || value.startsWith('agent.seLinuxOptions.'), `${path} names ${value}`);
});

test('every metric that a page names is one', () => {
  const metrics = new Set(CATALOGUES.flatMap(({ metrics: all }) => Object.values(all as Readonly<Record<string, { readonly name: string }>>).map(({ name }) => name)));
  const named = allPages.flatMap(([path, text]) => [...text.matchAll(/`(ipvs_operator_[a-z_]+)`/g)].map(([, name]) => ({ path, name: name! })));
  assert.ok(new Set(named.map(({ path }) => path)).size > 1);
  for (const { path, name } of named) assert.ok(metrics.has(name), `${path} names ${name}`);
});
