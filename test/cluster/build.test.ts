// Where test/tools/build.sh takes programs from and when it builds, with a Go that only pretends to: the order of places,
// versions, two builds at once, builds that fail. Needs neither Go nor a network nor a cluster.

import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

const script = resolve(import.meta.dirname, '../tools/build.sh');
const pinned = /k8s\.io\/kubernetes v([0-9.]+)/.exec(readFileSync(join(dirname(script), 'kubernetes/go.mod'), 'utf8'))![1]!;
const [major, minor] = pinned.split('.');

const base = mkdtempSync(join(tmpdir(), 'ipvs-build-'));
after(() => rmSync(base, { recursive: true, force: true }));

function program(path: string, body: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
}

interface Place { readonly folder: string; readonly links: string; readonly path: string; readonly cache: string; readonly builds: () => string[] }

/** All that build.sh needs of a system. Nothing else is on PATH: no etcd, helm or kubectl of the machine this runs on. */
const system = ['sh', 'cat', 'cut', 'date', 'dirname', 'env', 'flock', 'head', 'ln', 'mkdir', 'mv', 'readlink', 'rm', 'sed', 'sleep', 'chmod'];

/** A fresh home with a pretended Go on PATH, which notes each build and takes half a second for it. */
function place(name: string, { goVersion = 'go1.26.8', goFails = false } = {}): Place {
  const folder = join(base, name);
  const noted = join(folder, 'builds');
  mkdirSync(join(folder, 'path'), { recursive: true });
  for (const name of system) if (!existsSync(join(folder, 'path', name))) symlinkSync(join('/usr/bin', name), join(folder, 'path', name));
  program(join(folder, 'path/go'), `
    case $1 in
      env) echo ${goVersion} ;;
      build) for last in "$@"; do :; done; echo "$last" >>${noted}; sleep 0.5
        while [ "$1" != -o ]; do shift; done
        echo built >"$2"; chmod +x "$2"; exit ${goFails ? 1 : 0} ;;
    esac`);
  return {
    folder, links: join(folder, 'bin'), path: join(folder, 'path'), cache: join(folder, 'cache/ipvs-operator'),
    builds: () => (existsSync(noted) ? readFileSync(noted, 'utf8').trim().split('\n') : []),
  };
}

function build({ folder, links, path }: Place, tools: readonly string[], environment: Record<string, string> = {}): Promise<{ code: number; stderr: string }> {
  const child = spawn('sh', [script, links, ...tools], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: path, HOME: folder, XDG_CACHE_HOME: join(folder, 'cache'), ...environment },
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
  return new Promise((done) => child.once('close', (code) => done({ code: code ?? 1, stderr })));
}

test('what is nowhere is built once, into the cache folder of its version', async () => {
  const here = place('nowhere');
  const first = await build(here, ['kube-apiserver']);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stderr, /building kube-apiserver v[0-9.]+ from source \(once, .* minutes on two cores\)/);
  assert.equal(readlinkSync(join(here.links, 'kube-apiserver')), join(here.cache, `kubernetes-${pinned}/kube-apiserver`));
  assert.deepEqual(await build(here, ['kube-apiserver']), { code: 0, stderr: '' }, 'the second time there is nothing to say');
  assert.deepEqual(here.builds(), ['k8s.io/kubernetes/cmd/kube-apiserver']);
});

test('a program on PATH is taken when it is of our major and minor version', async () => {
  const here = place('path');
  const other = join(here.path, 'kube-apiserver');
  program(other, `echo Kubernetes v${major}.${minor}.99`);
  await build(here, ['kube-apiserver']);
  assert.deepEqual([readlinkSync(join(here.links, 'kube-apiserver')), here.builds()], [other, []]);
  program(other, `echo Kubernetes v${major}.1.2`);
  await build(here, ['kube-apiserver']);
  assert.deepEqual(here.builds(), ['k8s.io/kubernetes/cmd/kube-apiserver'], 'another version is not ours');
  assert.notEqual(readlinkSync(join(here.links, 'kube-apiserver')), other);
  program(join(here.path, 'kubectl'), 'case $1 in version) echo "Client Version: v1.2.3-dispatcher" ;; esac');
  await build(here, ['kubectl']);
  assert.deepEqual(here.builds().slice(1), ['k8s.io/kubernetes/cmd/kubectl']);
});

test('KUBEBUILDER_ASSETS comes first, whatever its version, and goes when it is unset', async () => {
  const here = place('assets');
  const assets = join(here.folder, 'assets');
  for (const name of ['etcd', 'kube-apiserver']) program(join(assets, name), 'echo v0.0.1');
  await build(here, ['etcd', 'kube-apiserver', 'kubectl'], { KUBEBUILDER_ASSETS: assets });
  assert.equal(readlinkSync(join(here.links, 'kube-apiserver')), join(assets, 'kube-apiserver'));
  assert.deepEqual(here.builds(), ['k8s.io/kubernetes/cmd/kubectl'], 'what is not in it is looked for elsewhere');
  await build(here, ['kube-apiserver']);
  assert.match(readlinkSync(join(here.links, 'kube-apiserver')), /kubernetes-/);
});

test('two at once build once', async () => {
  const here = place('twice');
  const both = await Promise.all([build(here, ['helm']), build(here, ['helm'])]);
  assert.deepEqual(both.map(({ code }) => code), [0, 0]);
  assert.deepEqual(here.builds(), ['helm.sh/helm/v4/cmd/helm']);
});

test('a build that fails says so, leaves nothing to be taken for a program, and is tried again', async () => {
  const here = place('fails', { goFails: true });
  const { code, stderr } = await build(here, ['kubeconform']);
  assert.equal(code, 1);
  assert.match(stderr, /cannot build kubeconform/);
  const [charts] = readdirSync(here.cache).filter((name) => name.startsWith('charts-'));
  assert.deepEqual(readdirSync(join(here.cache, charts!)), []);
  assert.ok(!existsSync(join(here.links, 'kubeconform')));
  assert.equal((await build(place('fails'), ['kubeconform'])).code, 0);
  assert.deepEqual(readdirSync(join(here.cache, charts!)), ['kubeconform']);
});

test('an old Go is not used, and etcd is never built', async () => {
  const old = place('old', { goVersion: 'go1.19.8' });
  program(join(old.path, 'python3'), 'exit 1');
  const { code, stderr } = await build(old, ['kube-apiserver']);
  assert.equal(code, 1);
  assert.match(stderr, /needs Go 1\.26 or later.*apt-get install -y python3-venv/);
  assert.deepEqual(old.builds(), []);
  // Nor is one that is not there, and the message is the same.
  rmSync(join(old.path, 'go'));
  const none = await build(old, ['kube-apiserver']);
  assert.deepEqual([none.code, none.stderr], [code, stderr]);
  assert.match((await build(old, ['etcd'])).stderr, /etcd is missing; type: sh tools\/bootstrap\.sh cluster/);
  assert.match((await build(old, ['docker'])).stderr, /no such tool: docker/);
});
