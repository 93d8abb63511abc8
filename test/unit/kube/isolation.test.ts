/** An agent pays for what it loads: nothing but kubeconfig.ts may bring in client-node, and that only when it has to. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const KUBE = join(import.meta.dirname, '../../../src/kube');

/** Whether a Node process that runs this loads client-node, as its module loader saw it. It ends there: to go on costs a second. */
function loads(t: { after(fn: () => void): void }, code: string): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'kube-isolation-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const script = join(folder, 'load.mjs');
  writeFileSync(script, `
    import { registerHooks } from 'node:module';
    import { writeSync } from 'node:fs';
    const end = (seen) => { writeSync(1, JSON.stringify(seen)); process.exit(); };
    registerHooks({ load(url, context, next) { if (url.includes('/@kubernetes/client-node/')) end(true); return next(url, context); } });
    ${code}
    end(false);`);
  return JSON.parse(execFileSync(process.execPath, [script], { encoding: 'utf8' })) as boolean;
}

const importAll = (files: readonly string[]): string => files.map((f) => `await import(${JSON.stringify(join(KUBE, f))});`).join('\n');

test('everything in this room except kubeconfig.ts loads without client-node', (t) => {
  const files = readdirSync(KUBE).filter((f) => f.endsWith('.ts') && f !== 'kubeconfig.ts');
  assert.ok(files.length >= 15, files.join());
  assert.equal(loads(t, importAll(files)), false);
});

test('kubeconfig.ts loads it for a plugin, and neither when imported nor for a plain file', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kube-isolation-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const config = (user: object): string => {
    const path = join(folder, `${Object.keys(user).join()}.yaml`);
    writeFileSync(path, JSON.stringify({ 'current-context': 'c', contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }], clusters: [{ name: 'k', cluster: { server: 'https://192.0.2.1' } }], users: [{ name: 'u', user }] }));
    return path;
  };
  const load = (path: string): string => `const { loadKubeConfig } = await import(${JSON.stringify(join(KUBE, 'kubeconfig.ts'))}); await loadKubeConfig({ path: ${JSON.stringify(path)} });`;
  assert.equal(loads(t, load(config({ token: 'a' }))), false);
  assert.equal(loads(t, load(config({ exec: { command: 'echo', args: ['{"status":{"token":"a"}}'] } }))), true, 'or this test would see nothing');
});

test('only kubeconfig.ts names client-node', () => {
  const naming = readdirSync(KUBE).filter((f) => f.endsWith('.ts') && /from '@kubernetes|import\('@kubernetes/.test(readFileSync(join(KUBE, f), 'utf8')));
  assert.deepEqual(naming, ['kubeconfig.ts']);
});
