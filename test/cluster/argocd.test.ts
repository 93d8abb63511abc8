/**
 * The health script for Argo CD, run by Lua 5.1, the language that Argo CD interprets: an object in, its health out. Lua comes from PATH or is
 * Debian's package, unpacked below .lab and not installed. Needs no cluster; it is here because it needs a foreign program.
 */
import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runCommand } from '../lab/process.ts';
import { labFolder } from './programs.ts';

const script = readFileSync(resolve(import.meta.dirname, '../../deploy/argocd/health.lua'), 'utf8');

interface Health { readonly status: string; readonly message: string }

let lua = '';
before(async () => { lua = await findLua(); });

async function findLua(): Promise<string> {
  for (const name of ['lua5.1', 'luajit']) if ((await runCommand(['sh', '-c', `command -v ${name}`])).code === 0) return name;
  const unpacked = join(labFolder, 'lua/usr/bin/lua5.1');
  if (existsSync(unpacked)) return unpacked;
  const folder = join(labFolder, 'lua');
  mkdirSync(folder, { recursive: true });
  const { code, stdout, stderr } = await runCommand(['sh', '-c', 'cd "$0" && apt-get download lua5.1 && dpkg-deb -x lua5.1_*.deb .', folder], { timeoutMs: 120_000 });
  assert.equal(code, 0, `no Lua 5.1; as root, type: apt-get update && apt-get install lua5.1\n${stdout}${stderr}`);
  return unpacked;
}

/** A JSON value as Lua writes it. */
function literal(value: unknown): string {
  if (Array.isArray(value)) return `{${value.map(literal).join(',')}}`;
  if (typeof value === 'object' && value !== null) return `{${Object.entries(value).map(([key, one]) => `[${JSON.stringify(key)}]=${literal(one)}`).join(',')}}`;
  return value === undefined || value === null ? 'nil' : JSON.stringify(value);
}

async function health(object: object): Promise<Health> {
  const { code, stdout, stderr } = await runCommand([lua, '-'], { stdin: `obj = ${literal(object)}\nlocal hs = (function()\n${script}\nend)()\nprint(hs.status)\nprint(hs.message)\n` });
  assert.equal(code, 0, stderr);
  const [status = '', message = ''] = stdout.split('\n');
  return { status, message };
}

const condition = (type: string, status: string, reason: string) => ({ type, status, reason, message: `${type} is ${reason}` });
const object = (conditions?: object[], { generation = 2, observedGeneration = 2, ...metadata }: { generation?: number; observedGeneration?: number; deletionTimestamp?: string } = {}) => (
  { metadata: { name: 'a', generation, ...metadata }, ...(conditions === undefined ? {} : { status: { observedGeneration, conditions } }) });
const ready = condition('Ready', 'True', 'Ready');

for (const [what, one, wanted, message] of [
  ['an object that was just made', object(), 'Progressing', /Not looked at/],
  ['one with an empty status', { ...object(), status: {} }, 'Progressing', /Not looked at/],
  ['one that serves', object([condition('Accepted', 'True', 'Accepted'), ready]), 'Healthy', /^Ready is Ready$/],
  ['one that served before its last change', object([ready], { generation: 3 }), 'Progressing', /newest version/],
  ['one that is being deleted', object([ready], { deletionTimestamp: '2026-01-01T00:00:00Z' }), 'Progressing', /deleted/],
  ['one that waits for real servers', object([condition('Ready', 'False', 'NoReadyBackends')]), 'Progressing', /NoReadyBackends/],
  ['one of which nothing is known', object([condition('Ready', 'Unknown', 'Pending')]), 'Progressing', /Pending/],
  ['one without a word about ready', object([condition('Accepted', 'True', 'Accepted')]), 'Progressing', /Not ready yet/],
  ['one that only a person can help', object([condition('Ready', 'False', 'NotAccepted'), condition('Stalled', 'True', 'AddressUnavailable')]), 'Degraded', /AddressUnavailable/],
  ['one that was stalled once', object([ready, condition('Stalled', 'False', 'Ready')]), 'Healthy', /Ready/],
  ['one that works, though not as it should', object([ready, condition('Degraded', 'True', 'DuplicateAddress')]), 'Healthy', /DuplicateAddress/],
  ['one that was suspended by somebody', object([condition('Ready', 'False', 'Suspended')]), 'Suspended', /Suspended/],
  ['a pool that somebody disabled', object([condition('Ready', 'False', 'Disabled')]), 'Suspended', /Disabled/],
  ['a pool that overlaps another, as it is told', object([condition('Ready', 'True', 'PoolOverlap')]), 'Healthy', /PoolOverlap/],
  ['a pool whose addresses are all in use', object([condition('Ready', 'True', 'PoolExhausted')]), 'Healthy', /PoolExhausted/],
  ['a pool whose group is not there', object([condition('Ready', 'False', 'DirectorGroupNotFound')]), 'Degraded', /DirectorGroupNotFound/],
  ['a group without nodes', object([condition('Ready', 'False', 'NoMembers')]), 'Degraded', /NoMembers/],
  ['a group whose agents are not there yet', object([condition('Ready', 'False', 'NoLiveMember')]), 'Progressing', /NoLiveMember/],
] as const) {
  test(`${what} is ${wanted}`, async () => {
    const { status, message: said } = await health(one);
    assert.equal(status, wanted);
    assert.match(said, message);
  });
}
