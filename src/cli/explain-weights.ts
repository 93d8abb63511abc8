/**
 * Steps about the real servers of the program: who takes connections, and weights that are not the written ones because of a node's label.
 * Pure. The written weight is in the spec, the one in force in the program: who may read these two needs no permission to read Nodes.
 */
import { NODE_WEIGHT_LABEL } from '../api/v1alpha1/index.ts';
import { parseRealServer } from '../api/v1alpha1/program.ts';
import { candidatesOf } from '../controller/compile/sources.ts';
import { surroundingsOf } from './explain-backends.ts';
import { conditionOf, servicesOf, type Case } from './explain-case.ts';
import { downWhereHeld } from './explain-health.ts';
import { count, good, look, names, wrong, type Step } from './explain-step.ts';

/** A real server whose weight is another than anybody wrote in the spec. */
interface Weighed { readonly address: string; readonly node: string; readonly weight: number; readonly written: number }

export function weightSteps(c: Case): Step[] {
  const steps: Step[] = [];
  const weighed = weighedOf(c);
  if (weighed.length > 0) {
    const texts = weighed.map((w) => `${w.address} on ${w.node} has ${w.weight} instead of ${w.written}`);
    steps.push({ ...good('weights', '', `by the label ${NODE_WEIGHT_LABEL} of their nodes (percent), ${count(weighed.length, 'real server')}: ${names(texts)}`), needed: false });
  }
  const degraded = conditionOf(c, 'Degraded');
  if (c.current && degraded?.status === 'True' && degraded.reason === 'InvalidNodeWeight') {
    steps.push(wrong('weights', '', degraded.message, `kubectl label node NODE ${NODE_WEIGHT_LABEL}=100 --overwrite`, false));
  }
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
    const quiet = new Set(weighedOf(c).flatMap((w) => (w.weight === 0 ? [w.node] : [])));
    return wrong('realServers', '', `all ${all.size} of the program have weight 0: new connections are refused`,
      quiet.size > 0 ? `kubectl label node ${[...quiet].slice(0, 3).join(' ')} ${NODE_WEIGHT_LABEL}-` : `kubectl -n ${namespace} edit ivs ${name} and give a backend a weight`);
  }
  const empty = services.filter((s) => s.ready.length === 0).map((s) => s.name);
  if (empty.length > 0) return wrong('realServers', '', `no real server takes new connections for ${names(empty)}`, `kubectl -n ${namespace} get ivsp ${name} -o yaml`, false);
  const down = downWhereHeld(c);
  // Then the step before said so.
  if (down >= ready.size) return null;
  return good('realServers', '', `${ready.size - down} of ${all.size} take new connections`);
}

/** Nothing while the program may be that of another spec, or some backend cannot be looked at. */
function weighedOf({ server, program, current, facts }: Case): Weighed[] {
  if (server === null || !program || !current) return [];
  const written = new Map<string, Set<number>>();
  for (const { address, weight } of candidatesOf(server, surroundingsOf(facts)).candidates) {
    const known = written.get(address);
    if (known) known.add(weight);
    else written.set(address, new Set([weight]));
  }
  const found = new Map<string, Weighed>();
  for (const text of program.program.spec.services.flatMap((s) => s.realServers)) {
    const r = parseRealServer(text);
    const own = r ? written.get(r.address) : undefined;
    if (!r || !own || r.node === '' || own.has(r.weight)) continue;
    found.set(r.address, { address: r.address, node: r.node, weight: r.weight, written: [...own][0]! });
  }
  return [...found.values()];
}
