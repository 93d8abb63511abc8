// Which version of the sources a benchmark measured.

import { execFileSync } from 'node:child_process';
import { repositoryRoot } from '../lab/boot.ts';

export function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: repositoryRoot, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown'; // a copy without its history
  }
}
