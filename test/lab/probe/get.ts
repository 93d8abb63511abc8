// The probe's `get`: so many connections or datagrams, who answered and what failed.

import type { Answers, GetOptions } from '../lab.ts';
import { dial } from './dial.ts';

export async function get(options: GetOptions): Promise<Answers> {
  const { count = 1, parallel = 1, timeoutMs = 5000, ...target } = options;
  const outcomes: Awaited<ReturnType<typeof dial>>[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next++;
      outcomes[index] = await dial({ ...target, timeoutMs });
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, count) }, worker));

  const by: Record<string, number> = {};
  const errors: Record<string, number> = {};
  const sources = new Set<string>();
  for (const outcome of outcomes) {
    if (typeof outcome === 'string') errors[outcome] = (errors[outcome] ?? 0) + 1;
    else {
      by[outcome.server] = (by[outcome.server] ?? 0) + 1;
      sources.add(outcome.client);
    }
  }
  return {
    by,
    errors,
    sources: [...sources].sort(),
    sequence: outcomes.map((outcome) => typeof outcome === 'string' ? outcome : outcome.server),
  };
}
