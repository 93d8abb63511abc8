/**
 * InvalidWriter: tells objects that fail their schema so in their status. They are not in the caches, so each is read from the server
 * as it is. Which there are is known elsewhere.
 */
import { isDeepStrictEqual } from 'node:util';
import { readShape } from '../../api/shape.ts';
import { STATUS_SHAPES } from '../../api/shapes.generated.ts';
import { RESOURCES, type VirtualServerStatus } from '../../api/v1alpha1/index.ts';
import type { KubeClient } from '../../kube/client.ts';
import { setCondition, type Condition } from '../../kube/conditions.ts';
import { isNotFound } from '../../kube/errors.ts';
import { partsOf, type KubeObject, type Resource } from '../../kube/types.ts';
import { invalidStatus } from '../status/virtualserver.ts';
import type { Budget } from './budget.ts';
import { FIELD_MANAGER, type CountWrite } from './writer.ts';

export interface InvalidWriterOptions {
  readonly client: Pick<KubeClient, 'get' | 'apply'>;
  readonly budget: Budget;
  readonly count: CountWrite;
}

export type PeopleKind = 'VirtualServer' | 'VIPPool' | 'DirectorGroup';
type Raw = KubeObject & { readonly status?: unknown };

export class InvalidWriter {
  readonly #options: InvalidWriterOptions;

  constructor(options: InvalidWriterOptions) {
    this.#options = options;
  }

  /** `objectKey`: Kind/namespace/name. Rejects with ApiError. Gone is well, and so is mended meanwhile: the caches are about to hear of it. */
  async write(objectKey: string, now: string, signal: AbortSignal): Promise<void> {
    const { client, budget, count } = this.#options;
    const slash = objectKey.indexOf('/');
    const kind = objectKey.slice(0, slash) as PeopleKind;
    const { namespace, name } = partsOf(objectKey.slice(slash + 1));
    // Without its schema: what cannot be read as ours still has metadata.
    const { parse, ...resource } = RESOURCES[kind];
    try {
      await budget.take(signal);
      const raw = await client.get(resource as Resource<Raw>, name, namespace, { signal });
      // Of the form that there is now, or somebody who waits for that would be told of another.
      const problem = problemOf(parse, raw);
      if (problem === null) return;
      const before = readable(kind, raw.status);
      const status = saysInvalid(kind, before, raw.metadata.generation, problem, now);
      if (isDeepStrictEqual(raw.status, status)) return;
      await budget.take(signal);
      const object = { apiVersion: raw.apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) }, status };
      await client.apply(resource, object, { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal });
      count(kind, 'status', true);
    } catch (error) {
      if (isNotFound(error)) return;
      count(kind, 'status', false);
      throw error;
    }
  }
}

/** What is wrong with an object as it was read; null: nothing. */
function problemOf(parse: (value: unknown) => unknown, raw: Raw): string | null {
  try {
    parse(raw);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** A status that keeps to its schema, or none. */
function readable(kind: PeopleKind, status: unknown): VirtualServerStatus | undefined {
  if (status === undefined) return undefined;
  const { value, problems } = readShape(STATUS_SHAPES[kind], status, 'strip');
  return problems.length === 0 ? value as VirtualServerStatus : undefined;
}

function saysInvalid(kind: PeopleKind, before: VirtualServerStatus | undefined, generation: number | undefined, problem: string, now: string): object {
  if (kind === 'VirtualServer') return invalidStatus(before, generation, problem, now);
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  const notReady = { type: 'Ready', status: 'False', reason: 'InvalidSpec', message: problem, ...observed } as const;
  const conditions = setCondition((before?.conditions ?? []) as readonly Condition[], notReady, now);
  return { ...before, ...observed, conditions };
}
