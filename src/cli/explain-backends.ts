/**
 * Steps about where real servers come from and what became of them: backends, those that cannot be used, nodes. Pure. Their weights are
 * explain-weights.ts's.
 * What a backend offers is the controller's own code to say (controller/compile/sources.ts), so that both agree.
 */
import type { IPVSNode, VirtualServerBackend } from '../api/v1alpha1/index.ts';
import { names } from '../api/v1alpha1/problems.ts';
import { candidatesOf, type SourceProblem } from '../controller/compile/sources.ts';
import type { Service } from '../controller/core.ts';
import { serviceIPs, sliceService, Surroundings } from '../controller/surroundings.ts';
import { storeOf } from '../kube/store.ts';
import { servicesOf, type Case } from './explain-case.ts';
import { valueOf, type Facts, type Read } from './explain-facts.ts';
import { count, good, look, unread, wrong, type Step } from './explain-step.ts';

export function backendSteps(c: Case): Step[] {
  const { server, facts, serves } = c;
  if (server === null) return [];
  const surroundings = surroundingsOf(facts);
  const steps = server.spec.backends.map((backend, i) => {
    // The others are emptied, not dropped: messages name a backend by its place.
    const backends = server.spec.backends.map((b, j) => (i === j ? b : { weight: b.weight }));
    const { candidates, problems } = candidatesOf({ ...server, spec: { ...server.spec, backends } }, surroundings);
    return backendStep(c, backend, new Set(candidates.map((x) => x.address)).size, problems[0]);
  });
  // A backend that fails is the reason only when there is no other that offers something.
  const needed = serves !== true && !steps.some((s) => s.ok === true);
  return steps.map((s) => ({ ...s, needed }));
}

function backendStep(c: Case, backend: VirtualServerBackend, offered: number, problem: SourceProblem | undefined): Step {
  const { facts } = c;
  if (backend.static) return good('backend', 'static', count(offered, 'real server'));
  if (backend.nodes) {
    const labels = look.labels(backend.nodes.selector.matchLabels);
    if ('unread' in facts.nodes) return unread('backend', `nodes ${labels}`, facts.nodes.unread);
    return offered > 0 ? good('backend', `nodes ${labels}`, `${count(offered, 'address', 'addresses')} of nodes`)
      : wrong('backend', `nodes ${labels}`, 'no node with an internal address has these labels', `kubectl get nodes -l ${labels}`);
  }
  const ref = backend.serviceRef!;
  const namespace = ref.namespace ?? facts.namespace;
  const key = `${namespace}/${ref.name}`;
  const about = `Service ${key}${ref.port === undefined ? '' : ` port ${ref.port}`}`;
  const grants = namespace === facts.namespace ? undefined : facts.grants.get(namespace);
  if (grants && 'unread' in grants && grants.unread.why !== 'noKind') return unread('backend', about, grants.unread);
  for (const read of [facts.services.get(key), facts.slices.get(key), facts.endpoints.get(key)]) {
    if (read && 'unread' in read) return unread('backend', about, read.unread);
  }
  if (problem) return wrong('backend', about, problem.message, problemFix(problem.reason, namespace, ref.name));
  return serviceStep(about, namespace, ref.name, valueOf(facts.services.get(key)) ?? null, tally(facts, key), offered);
}

function problemFix(reason: SourceProblem['reason'], namespace: string, name: string): string {
  switch (reason) {
    case 'ServiceNotFound': return `kubectl -n ${namespace} get services`;
    case 'PortNotFound': return `kubectl -n ${namespace} describe service ${name}`;
    case 'RefNotPermitted': return `kubectl -n ${namespace} get referencegrants`;
  }
}

interface Tally { readonly slices: number; readonly all: number; readonly ready: number; readonly leaving: number }

function serviceStep(about: string, namespace: string, name: string, service: Service | null, { slices, all, ready, leaving }: Tally, offered: number): Step {
  const selector = service?.spec?.selector;
  const selects = selector !== undefined && Object.keys(selector).length > 0;
  const slicesOf = `kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${name}`;
  const pods = selects ? `kubectl -n ${namespace} get pods -l ${look.labels(selector)} -o wide` : slicesOf;
  if (all === 0) {
    const why = selects ? ': no Pod with its labels runs' : ', and no selector that would find some: write an EndpointSlice for it';
    return wrong('backend', about, `it has no endpoints${why}`, pods);
  }
  const terminating = leaving > 0 ? `, ${leaving} terminating` : '';
  const where = slices > 0 ? `, in ${count(slices, 'EndpointSlice')}` : ', in an Endpoints object';
  const text = `${ready} of ${count(all, 'endpoint')} ready${terminating}${where}`;
  if (offered > 0) return good('backend', about, text);
  return ready === 0 ? wrong('backend', about, `${text}: none takes connections`, pods)
    : wrong('backend', about, `${text}, but none on the port that is asked for`, `${slicesOf} -o yaml`);
}

/** Endpoints by address: one may be in several slices. */
function tally(facts: Facts, key: string): Tally {
  const slices = valueOf(facts.slices.get(key)) ?? [];
  const ready = new Set<string>();
  const leaving = new Set<string>();
  const all = new Set<string>();
  for (const { endpoints } of slices) {
    for (const { addresses, conditions } of endpoints ?? []) {
      const address = addresses[0] ?? '';
      all.add(address);
      if (conditions?.ready !== false) ready.add(address);
      else if (conditions.terminating === true) leaving.add(address);
    }
  }
  if (slices.length === 0) {
    for (const { addresses, notReadyAddresses } of valueOf(facts.endpoints.get(key))?.subsets ?? []) {
      for (const { ip } of addresses ?? []) { all.add(ip); ready.add(ip); }
      for (const { ip } of notReadyAddresses ?? []) all.add(ip);
    }
  }
  return { slices: slices.length, all: all.size, ready: ready.size, leaving: [...leaving].filter((a) => !ready.has(a)).length };
}

/** `waiting`: nodes have to receive for the VIPs first, which then is the reason why there are no real servers. */
export function excludedStep({ facts: { namespace, name }, status, current, serves }: Case, waiting: boolean): Step | null {
  const { excluded = [], excludedCount = excluded.length } = (current ? status : undefined) ?? {};
  if (excludedCount === 0) return null;
  const some = excluded.slice(0, 3).map((e) => `${e.backend} ${e.reason}: ${e.message}`);
  const more = excludedCount > some.length ? `; and ${excludedCount - some.length} more` : '';
  const all = `kubectl -n ${namespace} get ivs ${name} -o jsonpath='{.status.excluded}'`;
  return wrong('excluded', '', `${count(excludedCount, 'real server')} cannot be used: ${some.join('; ')}${more}`, all, serves === false && !waiting);
}

/** Nodes that are told to receive for the VIPs, in modes DR and TUN. */
export function nodeSteps(c: Case): Step[] {
  const { facts, mode, key, serves, addresses } = c;
  if (mode === undefined || mode === 'NAT') return [];
  const needed = serves !== true;
  if ('unread' in facts.ipvsNodes) return [unread('node', '', facts.ipvsNodes.unread, needed)];
  const told = facts.ipvsNodes.value.flatMap((node) => {
    const binds = node.spec.realServer.binds.filter((b) => b.virtualServer === key);
    return binds.length > 0 ? [{ node, vips: [...new Set(binds.map((b) => b.address))] }] : [];
  });
  const steps = told.map(({ node, vips }) => nodeStep(node, vips, c, needed));
  const known = new Set(told.map(({ node }) => node.metadata.name));
  const untold = new Set((c.program ? servicesOf(c.program.program) : []).flatMap((s) => s.all.map((r) => r.node)).filter((n) => n !== '' && !known.has(n)));
  for (const node of untold) {
    steps.push(wrong('node', node, `directors send to it, and it is not told to receive for ${names(addresses)}`, look.controllerLog(facts.systemNamespace), false));
  }
  return steps;
}

function nodeStep({ metadata: { name, generation }, status }: IPVSNode, vips: readonly string[], { facts, key }: Case, needed: boolean): Step {
  const { systemNamespace: system } = facts;
  const missing = vips.filter((v) => !status?.boundVIPs?.includes(v));
  if (missing.length === 0) return { ...good('node', name, `receives for ${names(vips)}`), needed };
  const waits = `does not receive for ${names(missing)} yet, so directors send it nothing new`;
  if (status?.agentVersion === undefined) return wrong('node', name, `${waits}: no agent has reported from there`, look.agentOn(system, name), needed);
  const failure = status.failures?.find((f) => f.virtualServer === key);
  if (failure) return wrong('node', name, `${waits}: ${failure.code}: ${failure.message}`, `kubectl describe ivn ${name}`, needed);
  const seen = status.observedGeneration;
  const lags = seen !== undefined && generation !== undefined && seen < generation;
  const behind = lags ? `: its agent has seen generation ${seen} of IPVSNode ${name}, not ${generation}` : '';
  return wrong('node', name, `${waits}${behind}`, look.agentOn(system, name), needed);
}

/** What of a cluster was read, as compile asks for it. */
export function surroundingsOf(facts: Facts): Surroundings {
  return new Surroundings({
    services: storeOf(present(facts.services), { indexes: { clusterIP: serviceIPs } }),
    slices: storeOf(present(facts.slices), { indexes: { service: sliceService } }),
    endpoints: storeOf(present(facts.endpoints)),
    nodes: storeOf(valueOf(facts.nodes) ?? []), grants: storeOf(present(facts.grants)), namespaces: storeOf([]), serviceCIDRs: storeOf([]), ipvsNodes: storeOf([]),
  }, () => false);
}

/** What could be read, and is there. */
function present<T>(reads: ReadonlyMap<string, Read<T | readonly T[] | null>>): T[] {
  return [...reads.values()].flatMap((read) => valueOf(read) ?? []);
}
