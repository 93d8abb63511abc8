/** Credentials from a pod, from a kubeconfig file and from plugins: what is read, what is read again, what is refused and in which words. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CredentialsError, inClusterCredentials, tlsDigest, type CredentialsErrorCode } from '../../../src/kube/credentials.ts';
import { kubeconfigFileCredentials } from '../../../src/kube/kubeconfig-file.ts';
import { loadKubeConfig } from '../../../src/kube/kubeconfig.ts';
import { connect, FIXTURES, MemoryLog, startServer } from './fake-server.ts';

interface TestContext { after(fn: () => void): void }

const failsWith = (code: CredentialsErrorCode, message = /./) => (error: unknown): boolean => {
  assert.ok(error instanceof CredentialsError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};

const base64 = (name: string): string => readFileSync(join(FIXTURES, name)).toString('base64');

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'kube-credentials-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** The file system of a pod, with a clock. */
function pod(t: TestContext, files: Record<string, string | null> = {}) {
  const root = folder(t);
  const account = join(root, 'var/run/secrets/kubernetes.io/serviceaccount');
  mkdirSync(account, { recursive: true });
  copyFileSync(join(FIXTURES, 'a.pem'), join(account, 'ca.crt'));
  const write = (name: string, text: string): void => writeFileSync(join(account, name), text);
  for (const [name, text] of Object.entries({ token: 'first\n', namespace: 'kube-system', ...files })) if (text !== null) write(name, text);
  const clock = { ms: 0 };
  const env = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };
  return { root, account, write, clock, env, open: () => inClusterCredentials({ root, env, now: () => clock.ms }) };
}

describe('in a pod', () => {
  test('server, token, CA and namespace are those of the service account', async (t) => {
    const credentials = pod(t).open();
    const access = await credentials.access();
    assert.equal(access.server, 'https://10.96.0.1:443');
    assert.deepEqual(access.headers, { authorization: 'Bearer first' });
    assert.deepEqual(access.tls.ca, readFileSync(join(FIXTURES, 'a.pem')));
    assert.equal(credentials.namespace, 'kube-system');
  });

  test('an IPv6 address stands in brackets', async (t) => {
    const { root } = pod(t);
    const credentials = inClusterCredentials({ root, env: { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' } });
    assert.equal((await credentials.access()).server, 'https://[fd00::1]:6443');
  });

  test('a new token and a new CA are seen after a minute, not before', async (t) => {
    const p = pod(t);
    const credentials = p.open();
    p.write('token', 'second');
    copyFileSync(join(FIXTURES, 'b.pem'), join(p.account, 'ca.crt'));
    p.clock.ms = 59_999;
    const old = await credentials.access();
    assert.equal(old.headers['authorization'], 'Bearer first');
    p.clock.ms = 60_000;
    const fresh = await credentials.access();
    assert.equal(fresh.headers['authorization'], 'Bearer second');
    assert.notEqual(tlsDigest(fresh.tls), tlsDigest(old.tls));
    p.clock.ms = 120_000;
    assert.equal(tlsDigest((await credentials.access()).tls), tlsDigest(fresh.tls), 'the same bytes are the same');
  });

  test('a refresh reads at once', async (t) => {
    const p = pod(t);
    const credentials = p.open();
    p.write('token', 'second');
    await credentials.refresh();
    assert.equal((await credentials.access()).headers['authorization'], 'Bearer second');
  });

  const spoilt: [string, (p: ReturnType<typeof pod>) => void, RegExp][] = [
    ['an empty token', (p) => p.write('token', ''), /token: is empty/],
    ['a token of two lines', (p) => p.write('token', 'a\nb'), /is no token/],
    ['no token', (p) => rmSync(join(p.account, 'token')), /token cannot be read: ENOENT/],
    ['half a CA', (p) => p.write('ca.crt', readFileSync(join(FIXTURES, 'a.pem'), 'utf8').slice(0, 200)), /the CA certificate cannot be used/],
  ];
  for (const [name, spoil, message] of spoilt) {
    test(`${name} leaves what was read before in force, and is a problem until it is mended`, async (t) => {
      const p = pod(t);
      const credentials = p.open();
      spoil(p);
      p.clock.ms = 60_000;
      assert.equal((await credentials.access()).headers['authorization'], 'Bearer first');
      assert.ok(failsWith('CREDENTIALS_UNREADABLE', message)(credentials.problem));
      p.write('token', 'second');
      copyFileSync(join(FIXTURES, 'a.pem'), join(p.account, 'ca.crt'));
      p.clock.ms = 119_999;
      assert.equal((await credentials.access()).headers['authorization'], 'Bearer first', 'a broken file is not read for each request either');
      p.clock.ms = 120_000;
      assert.equal((await credentials.access()).headers['authorization'], 'Bearer second');
      assert.equal(credentials.problem, null);
    });

    test(`${name} at the start is an error`, (t) => {
      const p = pod(t);
      spoil(p);
      assert.throws(() => p.open(), failsWith('CREDENTIALS_UNREADABLE', message));
    });
  }

  test('a problem is logged once by the transport that uses the last good token', async (t) => {
    const server = await startServer(t);
    const p = pod(t);
    const log = new MemoryLog();
    const credentials = p.open();
    const local = { ...credentials, source: '', namespace: undefined, refresh: () => credentials.refresh(), access: async () => ({ ...await credentials.access(), server: server.url }), get problem() { return credentials.problem; } };
    const transport = connect(t, server, { credentials: local, log });
    p.write('token', '');
    p.clock.ms = 60_000;
    for (let i = 0; i < 3; i++) await transport.request({ method: 'GET', path: '/api/v1/gadgets' });
    assert.deepEqual(log.of('warn'), ['credentials cannot be read again; the last good ones stay in use']);
    assert.deepEqual(server.asked.map((a) => a.headers.authorization), ['Bearer first', 'Bearer first', 'Bearer first']);
  });

  test('without the environment of a pod there is a name for it', () => {
    assert.throws(() => inClusterCredentials({ env: {} }), failsWith('NOT_IN_CLUSTER', /kubeconfig/));
  });
});

interface Parts {
  readonly cluster?: object;
  readonly user?: object;
  readonly context?: object;
  readonly current?: string | null;
}

function kubeconfig({ cluster = {}, user = { token: 'abc' }, context = {}, current = 'c' }: Parts = {}): string {
  return JSON.stringify({
    apiVersion: 'v1', kind: 'Config', ...(current !== null && { 'current-context': current }),
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u', ...context } }, { name: 'other', context: { cluster: 'k', user: 'v', namespace: 'n' } }],
    clusters: [{ name: 'k', cluster: { server: 'https://192.0.2.1:6443/', 'certificate-authority-data': base64('a.pem'), ...cluster } }],
    users: [{ name: 'u', user }, { name: 'v', user: { token: 'of-v' } }],
  });
}

function write(t: TestContext, text: string): string {
  const path = join(folder(t), 'config');
  writeFileSync(path, text);
  return path;
}

describe('a kubeconfig file', () => {
  test('with a token', async (t) => {
    const credentials = kubeconfigFileCredentials(write(t, kubeconfig()));
    assert.deepEqual(await credentials.access(), { server: 'https://192.0.2.1:6443', headers: { authorization: 'Bearer abc' }, tls: { ca: readFileSync(join(FIXTURES, 'a.pem')) } });
  });

  test('with another context than the current one, and its namespace', async (t) => {
    const credentials = kubeconfigFileCredentials(write(t, kubeconfig()), { context: 'other' });
    assert.deepEqual([(await credentials.access()).headers, credentials.namespace], [{ authorization: 'Bearer of-v' }, 'n']);
  });

  test('with a client certificate, as data and as files beside it', async (t) => {
    const data = kubeconfigFileCredentials(write(t, kubeconfig({ user: { 'client-certificate-data': base64('b.pem'), 'client-key-data': base64('b.key') } })));
    const path = write(t, kubeconfig({ user: { 'client-certificate': 'b.pem', 'client-key': './b.key' }, cluster: { 'certificate-authority-data': '', 'certificate-authority': 'a.pem' } }));
    for (const name of ['a.pem', 'b.pem', 'b.key']) copyFileSync(join(FIXTURES, name), join(path, '..', name));
    assert.deepEqual(await kubeconfigFileCredentials(path).access(), await data.access());
    assert.deepEqual((await data.access()).headers, {});
  });

  test('with a token file, which wins over a token and is read again', async (t) => {
    const path = write(t, kubeconfig({ user: { token: 'old', tokenFile: 'token' } }));
    const token = join(path, '../token');
    writeFileSync(token, 'one\n');
    const credentials = kubeconfigFileCredentials(path);
    assert.equal((await credentials.access()).headers['authorization'], 'Bearer one');
    writeFileSync(token, 'two');
    await credentials.refresh();
    assert.equal((await credentials.access()).headers['authorization'], 'Bearer two');
  });

  test('is read again itself, and may be gone meanwhile', async (t) => {
    const path = write(t, kubeconfig());
    const clock = { ms: 0 };
    const credentials = kubeconfigFileCredentials(path, { now: () => clock.ms });
    writeFileSync(path, kubeconfig({ user: { token: 'new' }, cluster: { server: 'http://[::1]:8080' } }));
    clock.ms = 60_000;
    assert.deepEqual([(await credentials.access()).headers, (await credentials.access()).server], [{ authorization: 'Bearer new' }, 'http://[::1]:8080']);
    rmSync(path);
    clock.ms = 120_000;
    assert.equal((await credentials.access()).headers['authorization'], 'Bearer new');
    assert.ok(failsWith('KUBECONFIG_INVALID', /ENOENT/)(credentials.problem));
  });

  test('names the server to verify, or that none is to be verified', async (t) => {
    const { tls } = await kubeconfigFileCredentials(write(t, kubeconfig({ cluster: { 'tls-server-name': 'api.example', 'insecure-skip-tls-verify': true } }))).access();
    assert.deepEqual([tls.servername, tls.insecure], ['api.example', true]);
  });

  const refusals: [string, string | Parts, CredentialsErrorCode, RegExp][] = [
    ['no YAML', 'a: [', 'KUBECONFIG_INVALID', /config: is no YAML/],
    ['a list', '- 1', 'KUBECONFIG_INVALID', /is no kubeconfig/],
    ['nothing', '', 'KUBECONFIG_INVALID', /is no YAML: .*empty/],
    ['no current context', { current: null }, 'KUBECONFIG_INVALID', /has no current-context; set one/],
    ['a context that is not there', { current: 'x' }, 'KUBECONFIG_INVALID', /contexts has no entry named x/],
    ['a cluster that is not there', { context: { cluster: 'x' } }, 'KUBECONFIG_INVALID', /clusters has no entry named x/],
    ['a user that is not there', { context: { user: 'x' } }, 'KUBECONFIG_INVALID', /users has no entry named x/],
    ['a context without a user', { context: { user: undefined } }, 'KUBECONFIG_INVALID', /contexts\[c\]\.context\.user is missing/],
    ['no server', { cluster: { server: '' } }, 'KUBECONFIG_INVALID', /clusters\[k\]\.cluster\.server is missing/],
    ['a server that is no URL', { cluster: { server: '192.0.2.1:6443' } }, 'KUBECONFIG_INVALID', /clusters\[k\]\.cluster\.server: .* is no http or https URL/],
    ['a token that is no text', { user: { token: 5 } }, 'KUBECONFIG_INVALID', /users\[u\]\.user\.token is not a text/],
    ['a CA that is not base64', { cluster: { 'certificate-authority-data': '-----BEGIN' } }, 'KUBECONFIG_INVALID', /certificate-authority-data is not base64/],
    ['a CA that is no certificate', { cluster: { 'certificate-authority-data': 'YWJj' } }, 'CREDENTIALS_UNREADABLE', /the CA certificate cannot be used/],
    ['a CA file that is not there', { cluster: { 'certificate-authority-data': '', 'certificate-authority': 'nope.pem' } }, 'CREDENTIALS_UNREADABLE', /clusters\[k\]\.cluster\.certificate-authority cannot be read: ENOENT/],
    ['a certificate without its key', { user: { 'client-certificate-data': base64('a.pem') } }, 'CREDENTIALS_UNREADABLE', /certificate without its key/],
    ['the key of another certificate', { user: { 'client-certificate-data': base64('a.pem'), 'client-key-data': base64('b.key') } }, 'CREDENTIALS_UNREADABLE', /client certificate with its key cannot be used/],
    ['an exec plugin', { user: { exec: { command: 'aws' } } }, 'KUBECONFIG_PLUGIN', /users\[u\]\.user\.exec: .*use a token/],
    ['an auth provider', { user: { 'auth-provider': { name: 'oidc' } } }, 'KUBECONFIG_PLUGIN', /users\[u\]\.user\.auth-provider/],
    ['a password', { user: { username: 'a', password: 'b' } }, 'KUBECONFIG_UNSUPPORTED', /users\[u\]\.user\.username/],
    ['an impersonation', { user: { token: 'a', as: 'root' } }, 'KUBECONFIG_UNSUPPORTED', /users\[u\]\.user\.as: impersonation/],
    ['a proxy', { cluster: { 'proxy-url': 'http://p' } }, 'KUBECONFIG_UNSUPPORTED', /proxies are not supported/],
  ];
  for (const [name, content, code, message] of refusals) {
    test(`with ${name} is refused: ${code}`, (t) => {
      const path = write(t, typeof content === 'string' ? content : kubeconfig(content));
      assert.throws(() => kubeconfigFileCredentials(path), failsWith(code, message));
    });
  }
});

describe('loadKubeConfig', () => {
  const env = {};

  test('takes the file it is told, then KUBECONFIG, then the pod, then the home', async (t) => {
    const home = folder(t);
    mkdirSync(join(home, '.kube'));
    writeFileSync(join(home, '.kube/config'), kubeconfig({ user: { token: 'home' } }));
    const p = pod(t);
    const named = write(t, kubeconfig({ user: { token: 'named' } }));
    const told = write(t, kubeconfig({ user: { token: 'told' } }));
    const token = async (options: Parameters<typeof loadKubeConfig>[0]): Promise<string | undefined> => (await (await loadKubeConfig({ home, root: p.root, ...options })).access()).headers['authorization'];
    assert.equal(await token({ path: told, env: { KUBECONFIG: named, ...p.env } }), 'Bearer told');
    assert.equal(await token({ env: { KUBECONFIG: named, ...p.env } }), 'Bearer named');
    assert.equal(await token({ env: p.env }), 'Bearer first');
    assert.equal(await token({ env }), 'Bearer home');
    assert.equal(await token({ env: p.env, context: 'other' }), 'Bearer of-v', 'a context is one of a file');
  });

  test('says where it looked', async (t) => {
    await assert.rejects(loadKubeConfig({ env, home: folder(t) }), failsWith('KUBECONFIG_INVALID', /KUBECONFIG is not set, and .*\.kube\/config does not exist/));
    await assert.rejects(loadKubeConfig({ env, path: '/nope/config' }), failsWith('KUBECONFIG_INVALID', /\/nope\/config cannot be read/));
  });

  test('merges several files as kubectl does: the first of a name and the first current context count, missing files do not', async (t) => {
    const first = write(t, kubeconfig({ user: { token: 'first' }, current: null }));
    const second = write(t, kubeconfig({ user: { token: 'second' } }));
    const credentials = await loadKubeConfig({ env: { KUBECONFIG: `${first}:/nope:${second}` } });
    assert.equal((await credentials.access()).headers['authorization'], 'Bearer first');
    assert.deepEqual((await credentials.access()).tls.ca, readFileSync(join(FIXTURES, 'a.pem')));
  });

  /** A plugin that counts its runs. */
  function plugin(t: TestContext, script: string): Parts {
    const path = join(folder(t), 'plugin');
    writeFileSync(path, `${script}\n`);
    // Not itself: where temporary files are nothing may be executed on some hosts.
    return { user: { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'sh', args: [path], interactiveMode: 'Never' } } };
  }
  const counting = (t: TestContext): Parts => {
    const runs = join(folder(t), 'runs');
    return plugin(t, `echo x >>${runs}; n=$(wc -l <${runs}); echo '{"status":{"token":"run-'$n'"}}'`);
  };

  test('runs an exec plugin, once until its token is refused', async (t) => {
    const server = await startServer(t);
    const path = write(t, kubeconfig({ ...counting(t), cluster: { server: 'https://192.0.2.1:6443' } }));
    const credentials = await loadKubeConfig({ env, path });
    // The plugin's answer is what is tested; the server is a plain one.
    const local = { source: '', namespace: undefined, problem: null, refresh: () => credentials.refresh(), access: async () => ({ ...await credentials.access(), server: server.url, tls: {} }) };
    const transport = connect(t, server, { credentials: local });
    server.token = 'run-1';
    for (let i = 0; i < 3; i++) await transport.request({ method: 'GET', path: '/api/v1/gadgets' });
    server.token = 'run-2';
    await transport.request({ method: 'GET', path: '/api/v1/gadgets' });
    assert.deepEqual(server.asked.map((a) => a.headers.authorization), ['Bearer run-1', 'Bearer run-1', 'Bearer run-1', 'Bearer run-1', 'Bearer run-2']);
  });

  test('does not run the plugin again each minute', async (t) => {
    const clock = { ms: 0 };
    const credentials = await loadKubeConfig({ env, path: write(t, kubeconfig(counting(t))), now: () => clock.ms });
    clock.ms = 61_000;
    assert.equal((await credentials.access()).headers['authorization'], 'Bearer run-1');
  });

  test('tells what a plugin that fails has to say', async (t) => {
    const path = write(t, kubeconfig(plugin(t, 'echo "log in first" >&2; exit 1')));
    await assert.rejects(loadKubeConfig({ env, path }), failsWith('CREDENTIALS_UNREADABLE', /config: log in first/));
  });

  test('refuses with a plugin what it refuses without: an impersonation, a context that is not there', async (t) => {
    const parts = counting(t);
    await assert.rejects(loadKubeConfig({ env, path: write(t, kubeconfig({ user: { ...parts.user, as: 'root' } })) }), failsWith('KUBECONFIG_UNSUPPORTED', /as: impersonation/));
    const two = `${write(t, kubeconfig(parts))}:${write(t, kubeconfig())}`;
    await assert.rejects(loadKubeConfig({ env: { KUBECONFIG: two }, context: 'x' }), failsWith('KUBECONFIG_INVALID', /contexts has no entry named x/));
  });
});
