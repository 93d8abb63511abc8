/** The explanation of one VirtualServer: every step from its spec to the kernels, whether clients are served, and where it stops. Pure. */
import { backendSteps, excludedStep, nodeSteps } from './explain-backends.ts';
import { caseOf } from './explain-case.ts';
import { directorSteps, foreignSteps, programStep } from './explain-directors.ts';
import type { Facts } from './explain-facts.ts';
import { healthSteps } from './explain-health.ts';
import { acceptedStep, controllerStep, readyStep, specStep } from './explain-server.ts';
import { unsure, type Step } from './explain-step.ts';
import { addressSteps } from './explain-vips.ts';
import { realServersStep, weightSteps } from './explain-weights.ts';

export interface Explanation {
  readonly virtualServer: string;
  /** null: cannot be told. */
  readonly served: boolean | null;
  readonly steps: readonly Step[];
  /**
   * The first step that keeps clients from being served, or that leaves it open; when they are served, the first that is wrong beside the
   * way. Null: all is well.
   */
  readonly stopsAt: Step | null;
}

export function explain(facts: Facts): Explanation {
  const c = caseOf(facts);
  const virtualServer = c.key;
  const absent = c.raw === null && !('unread' in facts.server && facts.server.unread.why !== 'noKind');
  if (absent) return { virtualServer, served: false, steps: [specStep(c)], stopsAt: specStep(c) };
  const nodes = nodeSteps(c);
  const waiting = nodes.some((s) => s.ok === false && s.needed);
  const steps = [
    specStep(c), controllerStep(c), acceptedStep(c), ...backendSteps(c), excludedStep(c, waiting), ...addressSteps(c), programStep(c),
    ...directorSteps(c), ...foreignSteps(c), ...nodes, ...weightSteps(c), ...healthSteps(c), realServersStep(c),
    ...facts.bad.map((text) => unsure('reading', '', text, 'kubectl get crds -o name; this program and the CRDs may be of two versions', false)),
  ].filter((s) => s !== null);
  const ready = readyStep(c, steps.some((s) => s.ok === null && s.needed));
  if (ready) steps.push(ready);
  const stops = steps.find((s) => s.ok === false && s.needed);
  const open = steps.find((s) => s.ok === null && s.needed);
  const beside = steps.find((s) => s.ok === false);
  return { virtualServer, steps, served: stops ? false : open ? null : true, stopsAt: stops ?? open ?? beside ?? null };
}
