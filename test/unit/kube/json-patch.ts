/** What a fake API server does with a JSON patch (RFC 6902): the operations that the product uses. Everything or nothing. */
import type { Edit } from '../../../src/kube/client.ts';

class Impossible extends Error {}

/** Null when the patch cannot be done: a test that does not hold, or a place that is not there. What does not change is the same object. */
export function patched<T>(target: T, edits: readonly Edit[]): T | null {
  try {
    return edits.reduce<unknown>((now, edit) => edited(now, edit.path.split('/').slice(1).map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~')), edit), target) as T;
  } catch (error) {
    if (error instanceof Impossible) return null;
    throw error;
  }
}

function edited(target: unknown, [key, ...rest]: readonly string[], edit: Edit): unknown {
  if (typeof target !== 'object' || target === null || key === undefined) throw new Impossible();
  const copy = (Array.isArray(target) ? [...target as unknown[]] : { ...target }) as Record<string, unknown>;
  if (!(key in copy) && (rest.length > 0 || edit.op !== 'add')) throw new Impossible();
  if (rest.length > 0) copy[key] = edited(copy[key], rest, edit);
  else if (edit.op === 'remove') delete copy[key];
  else if (edit.op !== 'test') copy[key] = edit.value;
  else if (JSON.stringify(copy[key]) !== JSON.stringify(edit.value)) throw new Impossible();
  return copy;
}
