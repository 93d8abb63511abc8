/**
 * Secrets are in no log, whatever is wrong with the file or the program they come from: as pino writes errors, with stacks and causes. Parsers
 * quote what they could not read.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { kubeconfigFileCredentials } from '../../../src/kube/kubeconfig-file.ts';
import { loadKubeConfig } from '../../../src/kube/kubeconfig.ts';

interface TestContext { after(fn: () => void): void }

const SECRET = 'c2VjcmV0LW9mLXRoZS1jbHVzdGVy';

/** What a log has of an error, and what a person sees of it. */
function logged(error: unknown): string {
  let text = '';
  pino({ level: 'trace' }, { write: (line: string) => { text += line; } }).error({ err: error }, 'x');
  return `${text}${(error as Error).message}`;
}

function write(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'kube-secrets-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'config'), text);
  return join(folder, 'config');
}

const kubeconfig = (user: string): string => `apiVersion: v1
current-context: x
contexts: [ { name: x, context: { cluster: c, user: u } } ]
clusters: [ { name: c, cluster: { server: https://192.0.2.1 } } ]
users:
- name: u
  user:
${user}`;

const BROKEN: Readonly<Record<string, string>> = {
  'bad indentation beside it': kubeconfig(`    token: ${SECRET}\n   oops: [\n`),
  'a quote that does not end': kubeconfig(`    token: "${SECRET}\n`),
  'the same key twice': kubeconfig(`    token: ${SECRET}\n    token: ${SECRET}\n`),
  'a tab': kubeconfig(`    token:\t${SECRET}\n\t  x: y\n`),
  'a brace too few': `{ users: [ { name: u, user: { token: ${SECRET} } `,
  'an anchor that is not there': kubeconfig(`    token: *${SECRET}\n`),
  'a tag that nobody knows': kubeconfig(`    token: !${SECRET} ${SECRET}\n`),
  'a token with a line in it': kubeconfig(`    token: "${SECRET}\\n${SECRET}"\n`),
  'a token that is a list': kubeconfig(`    token: [ ${SECRET} ]\n`),
  'a key that is none': kubeconfig(`    client-certificate-data: ${SECRET}\n    client-key-data: ${SECRET}\n`),
  'a key that is no base64': kubeconfig(`    client-key-data: "*${SECRET}"\n`),
};

for (const [what, text] of Object.entries(BROKEN)) {
  test(`a kubeconfig with ${what} is told without its token`, async (t) => {
    const path = write(t, text);
    const errors: unknown[] = [];
    try { kubeconfigFileCredentials(path); } catch (error) { errors.push(error); }
    // Several files are client-node's to read.
    await loadKubeConfig({ env: { KUBECONFIG: `${path}:${path}` } }).catch((error: unknown) => errors.push(error));
    assert.ok(errors.length > 0, 'it is refused');
    for (const error of errors) assert.doesNotMatch(logged(error), new RegExp(SECRET.slice(0, 8)));
  });
}

for (const [what, script] of Object.entries({
  'no JSON': `echo '${SECRET}'`, 'half of it': `echo '{"status":{"token":"${SECRET}'`, 'JSON that is no credential': `echo '["${SECRET}"]'`, 'a token of two lines': `printf '{"status":{"token":"${SECRET}\\\\n${SECRET}"}}'`,
})) {
  test(`a plugin that prints ${what} is told without what it printed`, async (t) => {
    const plugin = write(t, `${script}\n`);
    const path = write(t, kubeconfig(`    exec: { apiVersion: client.authentication.k8s.io/v1, command: sh, args: [ ${plugin} ], interactiveMode: Never }\n`));
    const error: unknown = await loadKubeConfig({ env: {}, path }).then(() => null, (e: unknown) => e);
    assert.ok(error instanceof Error, 'it is refused');
    assert.doesNotMatch(logged(error), new RegExp(SECRET.slice(0, 8)));
  });
}
