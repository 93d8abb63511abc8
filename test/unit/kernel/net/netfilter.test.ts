import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { findNetfilter, lazyNetfilter } from '../../../../src/kernel/net/netfilter.ts';
import type { CommandResult, CommandRunner } from '../../../../src/kernel/net/command.ts';
import { NO_RULES } from '../../../../src/kernel/net/types.ts';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';
import { SAMPLE } from './sample-rules.ts';

const DONE: CommandResult = { code: 0, stdout: '', stderr: '', missing: false };
const MISSING: CommandResult = { code: -1, stdout: '', stderr: 'ENOENT', missing: true };
const refused = (stderr: string): CommandResult => ({ code: 1, stdout: '', stderr, missing: false });

interface Fake extends CommandRunner { readonly ran: string[] }

/** Programs by name; what is not named is not installed. */
function fake(programs: Readonly<Record<string, CommandResult | ((args: readonly string[], input: string) => CommandResult)>>): Fake {
  const ran: string[] = [];
  const runSync = (program: string, args: readonly string[], input = ''): CommandResult => {
    ran.push([program, ...args].join(' '));
    const answer = programs[program] ?? MISSING;
    return typeof answer === 'function' ? answer(args, input) : answer;
  };
  return { ran, runSync, run: async (program, args, input) => runSync(program, args, input) };
}

describe('the packet filter', () => {
  const unsupported = refused('Error: Could not process rule: Operation not supported\nadd table inet x\n');
  const choices: [string, Parameters<typeof fake>[0], string | undefined][] = [
    ['nft, where its transaction works', { nft: DONE, 'iptables-legacy-restore': DONE }, 'nft'],
    ['iptables-legacy, where the kernel has no nf_tables', { nft: unsupported, 'iptables-legacy-restore': DONE, 'iptables-restore': DONE }, 'iptables'],
    ['plain iptables, where there is nothing else', { 'iptables-restore': DONE, iptables: DONE }, 'iptables'],
    ['plain iptables, where the legacy one is refused', { nft: unsupported, 'iptables-legacy-restore': refused('can\'t initialize'), 'iptables-restore': DONE, iptables: DONE }, 'iptables'],
    ['nothing, where nothing works', { nft: unsupported, 'iptables-restore': refused('TABLE_ADD failed (Operation not supported): table mangle') }, undefined],
    ['nothing, where nothing is installed', {}, undefined],
  ];
  for (const [what, programs, expected] of choices) {
    it(`is ${what}`, () => { assert.equal(findNetfilter(fake(programs))?.name, expected); });
  }

  it('is asked for once, and only when it is needed', async () => {
    const commands = fake({ nft: DONE });
    const filter = lazyNetfilter(commands);
    assert.deepEqual(commands.ran, []);
    await filter.set(SAMPLE);
    await filter.set(SAMPLE);
    filter.backend();
    assert.deepEqual(commands.ran, ['nft -f -', 'nft -f -', 'nft -f -']);
  });

  it('that is missing is looked for again after half a minute, and not before', () => {
    let now = 0;
    const programs: Record<string, CommandResult> = {};
    const commands = fake(programs);
    const filter = lazyNetfilter(commands, () => now);
    assert.equal(filter.backend(), null);
    const tried = commands.ran.length;
    programs['nft'] = DONE;
    now = 29_999;
    assert.equal(filter.backend(), null);
    assert.equal(commands.ran.length, tried);
    now = 30_000;
    assert.equal(filter.backend(false), null, 'nobody misses it');
    assert.equal(commands.ran.length, tried);
    assert.equal(filter.backend()?.name, 'nft');
    now = 90_000;
    assert.equal(filter.backend()?.name, 'nft');
    assert.equal(commands.ran.length, tried + 1, 'one that works is kept');
  });

  const thrownBy = async (act: () => Promise<unknown>): Promise<KernelError> => {
    try {
      await act();
    } catch (error) {
      assert.ok(error instanceof KernelError, String(error));
      return error;
    }
    throw new Error('nothing was thrown');
  };

  it('that is missing fails by name for rules, and not for their absence', async () => {
    const filter = lazyNetfilter(fake({}));
    await filter.set(NO_RULES);
    const error = await thrownBy(() => filter.set(SAMPLE));
    assert.equal(error.code, 'BACKEND_MISSING');
    assert.match(error.message, /install nftables or iptables/);
  });

  it('checks rules before any program sees them', async () => {
    const commands = fake({ nft: DONE });
    const filter = lazyNetfilter(commands);
    filter.backend();
    const error = await thrownBy(() => filter.set({ ...NO_RULES, mss: [{ family: 'IPv4', vip: '10.0.0.1; flush ruleset', mss: 1400 }] }));
    assert.equal(error.code, 'INVALID');
    assert.equal(commands.ran.length, 1);
  });

  it('passes on the program\'s own words', async () => {
    const filter = findNetfilter(fake({ nft: (_, input) => (input.includes('probe') ? DONE : refused('/dev/stdin:3:1-2: Error: no\nmore\n')) }))!;
    const error = await thrownBy(() => filter.set(SAMPLE));
    assert.deepEqual([error.code, error.message], ['KERNEL_REFUSED', 'nft -f ipvs_operator: /dev/stdin:3:1-2: Error: no | more']);
  });

  it('says which capability is missing', async () => {
    const filter = findNetfilter(fake({ nft: (args) => (args[0] === '-f' ? DONE : refused('Error: Operation not permitted (you must be root)')) }))!;
    const error = await thrownBy(async () => filter.read());
    assert.deepEqual([error.code, error.errnoName], ['PERMISSION_DENIED', 'EPERM']);
    assert.match(error.message, /CAP_NET_ADMIN/);
  });

  it('of nft has nothing of ours where the table does not exist', () => {
    const filter = findNetfilter(fake({ nft: (args) => (args[0] === '-f' ? DONE : refused('Error: No such file or directory\n')) }))!;
    assert.equal(filter.read(), null);
  });

  for (const output of ['', '{"nftables": [{"table"']) {
    it(`of nft reads as edited where nft prints ${JSON.stringify(output)} for the table`, () => {
      const filter = findNetfilter(fake({ nft: { ...DONE, stdout: output } }))!;
      assert.match(filter.read()?.marks[0]?.vip ?? '', /^\? table ipvs_operator/);
    });
  }

  it('of iptables on a host without ip6tables works for IPv4', async () => {
    const inputs: string[] = [];
    const commands = fake({ 'iptables-restore': (_, input) => { inputs.push(input); return DONE; }, iptables: { ...DONE, stdout: 'iptables v1.8.9 (nf_tables)' }, 'iptables-save': DONE });
    const filter = findNetfilter(commands)!;
    await filter.set({ ...NO_RULES, mss: [SAMPLE.mss[0]!] });
    assert.equal(inputs.length, 2);
    assert.match(inputs[1]!, /--set-mss 1440/);
    assert.equal(filter.read(), null);
  });
});
