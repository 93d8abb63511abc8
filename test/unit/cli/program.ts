/** Runs the program as a person does, without root and kernel. Not a test. */
import { spawn, spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

export const MAIN = resolve(import.meta.dirname, '../../../src/main.ts');
const DEADLINE_MS = 120_000;

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function run(args: readonly string[], input = ''): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { input, encoding: 'utf8', timeout: DEADLINE_MS, maxBuffer: 64 << 20 });
  return { code: status, stdout, stderr };
}

/** Runs it with a reader that has had enough after the first bytes. */
export function runIntoClosedPipe(args: readonly string[], input: string): Promise<Outcome> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [MAIN, ...args], { timeout: DEADLINE_MS });
    let stdout = '';
    let stderr = '';
    child.stdout.once('data', (chunk: Buffer) => { stdout += chunk; child.stdout.destroy(); });
    child.stderr.on('data', (chunk: Buffer) => { stderr += chunk; });
    child.once('close', (code) => done({ code, stdout, stderr }));
    child.stdin.end(input);
  });
}
