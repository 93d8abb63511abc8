// Finds the scenarios: every exported scenario() of the modules in test/lab/scenarios, and one for each file of kernel
// tests. Works on host and guest.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { kernelTestScenarios } from './kernel-tests.ts';
import type { Scenario } from './lab.ts';

const folder = join(import.meta.dirname, 'scenarios');

export interface Scenarios {
  readonly scenarios: readonly Scenario[];
  /** Files that cannot be loaded, and why. A run of everything fails because of them, others go on without. */
  readonly broken: readonly { readonly file: string; readonly error: string }[];
}

/** All scenarios: kernel tests first, then by file and as exported. Throws when two share a name. */
export async function loadScenarios(): Promise<Scenarios> {
  const scenarios: Scenario[] = kernelTestScenarios();
  const broken: { file: string; error: string }[] = [];
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.ts')).sort()) {
    let module: Record<string, unknown>;
    try {
      module = await import(join(folder, file)) as Record<string, unknown>;
    } catch (error) {
      broken.push({ file, error: String(error) });
      continue;
    }
    for (const scenario of Object.values(module).flat().filter(isScenario)) {
      if (scenarios.some((other) => other.name === scenario.name)) throw new Error(`two scenarios are named ${scenario.name}`);
      scenarios.push(scenario);
    }
  }
  return { scenarios, broken };
}

function isScenario(value: unknown): value is Scenario {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'scenario';
}
