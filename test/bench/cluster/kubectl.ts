// kubectl for a guest: it asks with a file in a folder that both see, and the machine beside it types. In the guest kubectl would take a
// third of the one CPU that all directors share, and ten times as long. Both halves are here; what is applied and what is measured is real.ts's.

import { execFile } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { programPath } from '../../cluster/programs.ts';

interface Answer { readonly ok: boolean; readonly stderr: string; readonly ms: number }

const APPLIED_WITHIN_MS = 280_000;
const LOOK_MS = 20;
const question = (folder: string): string => join(folder, 'to-apply.json');
const answered = (folder: string): string => join(folder, 'applied.json');

/** A file that is there is whole. */
function writeWhole(file: string, value: unknown): void {
  writeFileSync(`${file}.part`, JSON.stringify(value));
  renameSync(`${file}.part`, file);
}

/** On the machine: applies what the guest asks for, as often as it asks; `around` is called before and after. Resolves when the signal aborts. */
export async function applyWhenAsked(folder: string, kubeconfig: string, around: (when: 'before' | 'after') => void, signal: AbortSignal): Promise<void> {
  const file = question(folder);
  while (!signal.aborted) {
    if (existsSync(file)) {
      around('before');
      const began = performance.now();
      const answer = await new Promise<Answer>((done) => {
        execFile(programPath('kubectl'), ['--kubeconfig', kubeconfig, '--cache-dir', join(folder, 'kubectl'), 'apply', '--server-side', '-f', file], { timeout: APPLIED_WITHIN_MS, env: { ...process.env, KUBERC: 'off' }, signal, maxBuffer: 1 << 26 },
          (error, _, stderr) => done({ ok: error === null, stderr: stderr || (error?.message ?? ''), ms: performance.now() - began }));
      });
      rmSync(file);
      writeWhole(answered(folder), answer);
      around('after');
    }
    // Aborted: the loop looks at the signal next.
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
  }
}

/** In the guest: has one kubectl apply all of them. Resolves to how long it took, in milliseconds; rejects with its words. */
export async function apply(folder: string, items: readonly object[], signal: AbortSignal): Promise<number> {
  writeWhole(question(folder), { apiVersion: 'v1', kind: 'List', items });
  while (!existsSync(answered(folder))) await sleep(100, undefined, { signal });
  const { ok, stderr, ms } = JSON.parse(readFileSync(answered(folder), 'utf8')) as Answer;
  rmSync(answered(folder));
  if (!ok) throw new Error(`kubectl: ${stderr.slice(-2000)}`);
  return ms;
}
