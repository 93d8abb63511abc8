// The lab's command line (`npm run lab -- ...`): parses arguments, starts guests, tells the outcome.

import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { runInGuest } from './boot.ts';
import { chooseScenarios, makeRunFolder, openShell, runSuite } from './suite.ts';

const usage = `usage: npm run lab -- [options] [NAME or TAG ...]
  (no words)          run every scenario
  dr nat tun-         run scenarios: a word is a name, or else a tag, or else the beginning of names; logs in .lab/NAME.log
  --list              names, tags and what each proves
  --shell NAME        build that scenario's network and open a shell in it (on HOST COMMAND)
  --run               with --shell: run the scenario first, then open the shell in what it left
  --guests N          at most N guests side by side (default: one a CPU, up to 4)
  --exec COMMAND      run one shell command in a bare guest, at the repository root
  --qemu              use QEMU with Debian's kernel instead of User-Mode Linux (slower, has nftables)
  --cpu N --memory MB --timeout SECONDS      for --exec`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean' },
    shell: { type: 'string' },
    run: { type: 'boolean' },
    guests: { type: 'string' },
    exec: { type: 'string' },
    qemu: { type: 'boolean' },
    cpu: { type: 'string' },
    memory: { type: 'string' },
    timeout: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
});

const backend = values.qemu ? 'qemu' : 'uml';
const interrupted = new AbortController();
if (values.shell === undefined) {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interrupted.abort());
}

async function execute(command: string): Promise<number> {
  const workDirectory = makeRunFolder('exec');
  const seconds = Number(values.timeout ?? 600);
  const result = await runInGuest({
    backend,
    command,
    workDirectory,
    name: 'guest',
    cpu: Number(values.cpu ?? process.pid % availableParallelism()),
    ...(values.memory === undefined ? {} : { memoryMegabytes: Number(values.memory) }),
    timeoutMs: seconds * 1000,
    signal: interrupted.signal,
    onOutput: (chunk) => process.stdout.write(chunk),
    onError: (chunk) => process.stderr.write(chunk),
  });
  rmSync(workDirectory, { recursive: true, force: true });
  if (interrupted.signal.aborted) return 130;
  if (result.code === null) {
    process.stderr.write(`lab: the guest ${result.timedOut ? `was killed after ${seconds} s` : 'died'}; its console:\n${result.console}\n`);
    return result.timedOut ? 124 : 134;
  }
  return result.code;
}

async function list(): Promise<number> {
  const { chosen, broken } = await chooseScenarios(positionals);
  for (const { name, about, tags = [] } of chosen) {
    process.stdout.write(`${name.padEnd(32)} ${about}${tags.length > 0 ? `  [${tags.join(' ')}]` : ''}\n`);
  }
  for (const { file, error } of broken) process.stdout.write(`cannot load ${file}: ${error}\n`);
  return broken.length > 0 ? 1 : 0;
}

async function scenarios(): Promise<number> {
  const { chosen, broken } = await chooseScenarios(positionals);
  const results = await runSuite(chosen, {
    backend: values.qemu ? 'qemu' : 'auto',
    signal: interrupted.signal,
    print: (line) => process.stdout.write(`${line}\n`),
    ...(values.guests === undefined ? {} : { guests: Number(values.guests) }),
  });
  // Another's half-written file does not stop a run of one's own scenarios, but it fails a run of everything.
  const unloadable = positionals.length === 0 ? broken : [];
  for (const { file, error } of unloadable) process.stdout.write(`FAILED cannot load ${file}: ${error}\n`);
  const failed = results.filter((result) => !result.passed).length + unloadable.length;
  process.stdout.write(`${results.filter((result) => result.passed).length} passed, ${failed} failed\n`);
  return failed > 0 ? 1 : 0;
}

async function shell(word: string): Promise<number> {
  const { chosen } = await chooseScenarios([word]);
  return openShell(chosen.find((one) => one.name === word) ?? chosen[0]!, values.run === true, backend);
}

try {
  if (values.help) process.stdout.write(`${usage}\n`);
  else if (values.list) process.exitCode = await list();
  else if (values.exec !== undefined) process.exitCode = await execute(values.exec);
  else if (values.shell !== undefined) process.exitCode = await shell(values.shell);
  else process.exitCode = await scenarios();
} catch (error) {
  process.stderr.write(`lab: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
