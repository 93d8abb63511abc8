// The guest's side of the story: tells happenings, runs commands as a person would type them, and holds every claim to what was
// found. Knows nothing of how it is drawn.

import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Agent, Lab, RunResult } from '../lab.ts';
import { turnsFolder, type Happening, type Told } from './story.ts';

const program = resolve(import.meta.dirname, '../../../dist/main.js');

/** Where a person would have the manifests. */
export const manifestFolder = '/etc/ipvs-operator';
const stateFolder = '/var/lib/ipvs-operator';
/** How a person starts the product. */
export const standalone = `ipvs-operator standalone --manifests ${manifestFolder} &`;

export interface Stage {
  tell(what: Happening): void;
  /** Begins a chapter. The one before must have ended. */
  chapter(number: number, title: string, sentence: string): void;
  end(): void;
  doing(text: string): void;
  say(text: string): void;
  /** Shows a command, runs it on the host, shows what it printed, with the words to look for. */
  type(lab: Lab, host: string, command: string, mark?: string): Promise<RunResult>;
  /** `expected` is what the story says; it holds when `found` is deeply equal. */
  claim(text: string, found: unknown, expected: unknown): void;
  counted(connections: number, lost: number): void;
  /** Waits until the person has seen everything so far: before anything that is shown while it happens. */
  turn(lab: Lab): Promise<void>;
}

/** `print` takes one line for the host. */
export function createStage(shared: string, print: (line: string) => void): Stage {
  let chapter = 0;
  let turns = 0;
  const tell = (what: Happening): void => print(JSON.stringify({ chapter, what } satisfies Told));
  return {
    tell,
    chapter: (number, title, sentence) => {
      chapter = number;
      turns = 0;
      tell({ kind: 'chapter', title, sentence });
    },
    end: () => tell({ kind: 'end' }),
    doing: (text) => tell({ kind: 'doing', text }),
    say: (text) => tell({ kind: 'say', text }),
    type: async (lab, host, command, mark) => {
      tell({ kind: 'command', host, command });
      const result = await lab.host(host).run(command);
      tell({ kind: 'output', text: `${result.stdout}${result.stderr}`, ...(mark === undefined ? {} : { mark }) });
      return result;
    },
    claim: (text, found, expected) => {
      const holds = isDeepStrictEqual(found, expected);
      tell({ kind: 'claim', holds, text, found: holds ? '' : `expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}` });
    },
    counted: (connections, lost) => tell({ kind: 'counted', connections, lost }),
    turn: async (lab) => {
      const name = `${chapter}-${++turns}`;
      tell({ kind: 'turn', name });
      const file = join(shared, turnsFolder, name);
      while (!existsSync(file)) await lab.sleep(50);
    },
  };
}

/** Makes `ipvs-operator` a command of the guest, and this agent's folders the usual ones: what is shown is what is run. */
export function installCommand(agent: Agent): void {
  writeFileSync('/usr/local/bin/ipvs-operator', `#!/bin/sh\nexec node ${program} "$@"\n`, { mode: 0o755 });
  for (const [usual, folder] of [[manifestFolder, agent.manifests], [stateFolder, agent.state]] as const) {
    rmSync(usual, { recursive: true, force: true });
    mkdirSync(resolve(usual, '..'), { recursive: true });
    symlinkSync(folder, usual);
  }
}

/**
 * The operations that an agent logged from a place in its log on, in words. The log comes through a pipe, after the status: waits
 * a little until there are as many as are expected, and never fails for having others.
 */
export async function logged(lab: Lab, agent: Agent, from: number, expected: number): Promise<string[]> {
  // What follows the last line feed may be half a line.
  const now = (): string[] => agent.log.slice(from).split('\n').slice(0, -1).filter((line) => line.startsWith('{'))
    .flatMap((line) => (JSON.parse(line) as { operation?: string }).operation ?? []);
  for (let tries = 0; tries < 30 && now().length < expected; tries++) await lab.sleep(100);
  return now();
}
