/**
 * Steps about the real servers of the program: who takes connections, and weights that are not the written ones because of a node's label
 * or a Pod's annotation. Pure. The written weight is in the spec, the one in force in the program: who may read these two needs no
 * permission to read Nodes and Pods.
 */
import { WEIGHT_NAME } from '../api/v1alpha1/index.ts';
import { parseRealServer } from '../api/v1alpha1/program.ts';
import { names } from '../api/v1alpha1/problems.ts';
import { candidatesOf } from '../controller/compile/sources.ts';
import { surroundingsOf } from './explain-backends.ts';
import { conditionOf, servicesOf, type Case } from './explain-case.ts';
import { downWhereHeld } from './explain-health.ts';
import { count, good, look, wrong, type Step } from './explain-step.ts';

/** A real server whose weight is another than anybody wrote in the spec. */
interface Weighed { readonly address: string; readonly node: string; readonly pod: string; readonly weight: number; readonly written: number }

/** By reason of Degraded. */
const REMEDIES: Readonly<Record<string, string>> = {
  InvalidNodeWeight: `kubectl label node NODE ${WEIGHT_NAME}=100 --overwrite`,
  InvalidPodWeight: `kubectl annotate pod POD ${WEIGHT_NAME}=100 --overwrite`,
  PodsUnknown: 'helm upgrade with --set rbac.readPods=true, or set podWeights to Ignore',
};

export function weightSteps(c: Case): Step[] {
  const steps: Step[] = [];
  const weighed = weighedOf(c);
  if (weighed.length > 0) {
    const where = (w: Weighed): string => `${w.node === '' ? '' : ` on ${w.node}`}${w.pod === '' ? '' : ` (Pod ${w.pod})`}`;
    const texts = weighed.map((w) => `${w.address}${where(w)} has ${w.weight} instead of ${w.written}`);
    const whose = weighed.some((w) => w.pod !== '') ? `label ${WEIGHT_NAME} of their nodes and the annotation of their Pods` : `label ${WEIGHT_NAME} of their nodes`;
    steps.push({ ...good('weights', '', `by the ${whose} (percent), ${count(weighed.length, 'real server')}: ${names(texts)}`), needed: false });
  }
  const degraded = conditionOf(c, 'Degraded');
  const remedy = REMEDIES[degraded?.reason ?? ''];
  if (c.current && degraded?.status === 'True' && remedy !== undefined) steps.push(wrong('weights', '', degraded.message, remedy, false));
  return steps;
}

export function realServersStep(c: Case): Step | null {
  const { program, facts: { namespace, name, systemNamespace } } = c;
  if (!program) return null;
  const services = servicesOf(program.program);
  const all = new Set(services.flatMap((s) => s.all.map((r) => r.address)));
  const ready = new Set(services.flatMap((s) => s.ready.map((r) => r.address)));
  if (all.size === 0) return wrong('realServers', '', 'the program has none: new connections are refused', look.controllerLog(systemNamespace));
  if (ready.size === 0) {
    const fix = unquiet(weighedOf(c).filter((w) => w.weight === 0)) ?? `kubectl -n ${namespace} edit ivs ${name} and give a backend a weight`;
    return wrong('realServers', '', `all ${all.size} of the program have weight 0: new connections are refused`, fix);
  }
  const empty = services.filter((s) => s.ready.length === 0).map((s) => s.name);
  if (empty.length > 0) {
    const text = `no real server takes new connections for ${names(empty)}`;
    return wrong('realServers', '', text, `kubectl -n ${namespace} get ivsp ${name} -o yaml`, false);
  }
  const down = downWhereHeld(c);
  // Then the step before said so.
  if (down >= ready.size) return null;
  return good('realServers', '', `${ready.size - down} of ${all.size} take new connections`);
}

/** How those get connections again whom a label or an annotation of 0 keeps from it; null: it was neither. */
function unquiet(quiet: readonly Weighed[]): string | null {
  const pods = quiet.filter((w) => w.pod !== '');
  const nodes = new Set(quiet.flatMap((w) => (w.pod === '' ? [w.node] : [])));
  if (nodes.size > 0) return `kubectl label node ${[...nodes].slice(0, 3).join(' ')} ${WEIGHT_NAME}-`;
  if (pods.length === 0) return null;
  const slash = pods[0]!.pod.indexOf('/');
  return `kubectl -n ${pods[0]!.pod.slice(0, slash)} annotate pod ${pods[0]!.pod.slice(slash + 1)} ${WEIGHT_NAME}-`;
}

/** Nothing while the program may be that of another spec, or some backend cannot be looked at. */
function weighedOf({ server, program, current, facts }: Case): Weighed[] {
  if (server === null || !program || !current) return [];
  const written = new Map<string, { readonly weights: Set<number>; readonly pod: string }>();
  for (const { address, weight, pod } of candidatesOf(server, surroundingsOf(facts)).candidates) {
    const known = written.get(address);
    if (known) known.weights.add(weight);
    else written.set(address, { weights: new Set([weight]), pod });
  }
  const found = new Map<string, Weighed>();
  for (const text of program.program.spec.services.flatMap((s) => s.realServers)) {
    const r = parseRealServer(text);
    const own = r ? written.get(r.address) : undefined;
    if (!r || !own || (r.node === '' && own.pod === '') || own.weights.has(r.weight)) continue;
    found.set(r.address, { address: r.address, node: r.node, pod: own.pod, weight: r.weight, written: [...own.weights][0]! });
  }
  return [...found.values()];
}
