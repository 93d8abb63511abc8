#!/usr/bin/env node
/**
 * The program: a table of sub-commands, help, the root AbortController, and exit codes. Nothing else. A sub-command's code is loaded only
 * when it runs, and for help nothing but the text.
 */

import { readFileSync } from 'node:fs';
import { print } from './cli/output.ts';
import { asksForHelp } from './usage.ts';

interface Command {
  readonly about: string;
  readonly usage: () => Promise<string>;
  /** Returns the exit code. */
  readonly run: (args: readonly string[], signal: AbortSignal) => Promise<number>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  standalone: {
    about: 'make this host what a folder of manifests says',
    usage: async () => (await import('./standalone/options.ts')).STANDALONE_USAGE,
    run: async (args, signal) => {
      (await import('./agent/footprint.ts')).growLate();
      return (await import('./standalone/run.ts')).standalone(args, signal);
    },
  },
  controller: {
    about: 'in a cluster: give VirtualServers addresses and compile them for the directors',
    usage: async () => (await import('./controller/options.ts')).CONTROLLER_USAGE,
    run: async (args, signal) => {
      const { Footprint, growAsNeeded, growLate } = await import('./agent/footprint.ts');
      growLate();
      const footprint = new Footprint({ settled: growAsNeeded });
      footprint.watch(signal);
      return (await import('./controller/run.ts')).controller(args, signal, version(), () => footprint.worked());
    },
  },
  agent: {
    about: 'in a cluster, on every node: make it the director and real server that the controller says',
    usage: async () => (await import('./agent/cluster/options.ts')).AGENT_USAGE,
    run: async (args, signal) => {
      const { growLate, optimizeLater } = await import('./agent/footprint.ts');
      growLate();
      optimizeLater();
      return (await import('./agent/cluster/run.ts')).agent(args, signal, version());
    },
  },
  plan: {
    about: 'print what standalone would change, and change nothing',
    usage: async () => (await import('./cli/usages.ts')).PLAN_USAGE,
    run: async (args, signal) => (await import('./cli/plan.ts')).planCommand(args, signal),
  },
  preflight: {
    about: 'look whether this host has what it takes, and who stands in the way',
    usage: async () => (await import('./cli/usages.ts')).PREFLIGHT_USAGE,
    run: async (args, signal) => (await import('./cli/preflight.ts')).preflightCommand(args, signal),
  },
  status: {
    about: 'show what standalone last reported, with live counters',
    usage: async () => (await import('./cli/usages.ts')).STATUS_USAGE,
    run: async (args, signal) => (await import('./cli/status.ts')).statusCommand(args, signal),
  },
  explain: {
    about: 'in a cluster: say where one VirtualServer stops on its way to the kernels, and why',
    usage: async () => (await import('./cli/usages.ts')).EXPLAIN_USAGE,
    run: async (args, signal) => (await import('./cli/explain.ts')).explainCommand(args, signal),
  },
  save: {
    about: 'print the IPVS table of this host, for ipvsadm -R or as manifests',
    usage: async () => (await import('./cli/usages.ts')).SAVE_USAGE,
    run: async (args, signal) => (await import('./cli/save.ts')).saveCommand(args, signal),
  },
  import: {
    about: 'turn the text of ipvsadm-save into manifests',
    usage: async () => (await import('./cli/usages.ts')).IMPORT_USAGE,
    run: async (args, signal) => (await import('./cli/import.ts')).importCommand(args, signal),
  },
};

/** package.json stands beside both src/ and dist/. */
function ourPackage(): { readonly version: string; readonly engines: { readonly node: string } } {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as ReturnType<typeof ourPackage>;
}

function version(): string { return ourPackage().version; }

/** Why this Node will not do, or null. An older one, as distributions have it, gets as far as the first thing that it does not know, which may be late. */
function nodeProblem(): string | null {
  const [needed = 0] = ourPackage().engines.node.match(/\d+/g)!.map(Number);
  const { node } = process.versions;
  return Number.parseInt(node, 10) >= needed ? null : `this is Node ${node}, and it needs ${needed} or later: npm brought one along, node_modules/.bin/node`;
}

/** EX_USAGE of sysexits.h. */
const EXIT_USAGE = 64;
/** EX_UNAVAILABLE: 1 means something to some commands. */
const EXIT_UNAVAILABLE = 69;

async function main(): Promise<number> {
  const [name, ...args] = process.argv.slice(2);
  const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) {
    const wanted = name === undefined || name === 'help' || name === '--help' || name === '-h';
    await print(`${wanted ? '' : `unknown command ${name}\n\n`}${usage()}\n`, wanted ? process.stdout : process.stderr);
    return wanted ? 0 : EXIT_USAGE;
  }
  const problem = nodeProblem();
  if (problem !== null) {
    process.stderr.write(`ipvs-operator ${name}: ${problem}\n`);
    return EXIT_UNAVAILABLE;
  }
  if (asksForHelp(args)) {
    await print(`${await command.usage()}\n`);
    return 0;
  }
  const root = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => root.abort(signal));
  try {
    return await command.run(args, root.signal);
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    process.stderr.write(`ipvs-operator ${name}: ${code ? `${code}: ` : ''}${message ?? String(error)}\n`);
    if (code === undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return code === 'USAGE' ? EXIT_USAGE : 1;
  }
}

function usage(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((n) => n.length)) + 2;
  return ['ipvs-operator: Linux IPVS with an owner', '', 'usage: ipvs-operator COMMAND [options]', '',
    ...Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(width)}${about}`), '',
    'ipvs-operator COMMAND --help says more.'].join('\n');
}

process.exitCode = await main();
// Nothing may keep the process alive once its command has returned: sockets and timers of a command end with it.
process.exit();
