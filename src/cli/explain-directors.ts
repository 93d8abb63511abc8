/** Steps about the program and the directors that run it: whole, and in which kernels. Pure. */
import { joinSlices, MAX_APPLIED, readApplied, type IPVSNode } from '../api/v1alpha1/index.ts';
import { names } from '../api/v1alpha1/problems.ts';
import { conditionOf, servicesOf, type Case } from './explain-case.ts';
import { valueOf } from './explain-facts.ts';
import { count, good, look, unread, unsure, wrong, type Step } from './explain-step.ts';

export function programStep(c: Case): Step {
  const { facts, raw, program } = c;
  if ('unread' in facts.programs) return unread('program', '', facts.programs.unread);
  const log = look.controllerLog(facts.systemNamespace);
  const slices = facts.programs.value;
  if (slices.length === 0) {
    const accepted = c.current ? conditionOf(c, 'Accepted') : undefined;
    const refused = accepted !== undefined && accepted.status !== 'True';
    if (refused) return wrong('program', '', `there is none, because it is not accepted (${accepted.reason})`, '');
    return wrong('program', '', 'the controller has not written one', log);
  }
  if (!program) {
    const joined = joinSlices(slices);
    return wrong('program', '', 'problem' in joined ? `${joined.problem.code}: ${joined.problem.message}` : 'it is not whole', log);
  }
  const { spec } = program.program;
  if (raw?.metadata.uid !== undefined && program.uid !== raw.metadata.uid) {
    return wrong('program', '', 'it is that of an earlier VirtualServer of this name; the controller replaces it', log);
  }
  const servers = new Set(servicesOf(program.program).flatMap((s) => s.all.map((r) => `${r.address} ${r.port}`))).size;
  const group = spec.directorGroup === '' ? 'no DirectorGroup' : `DirectorGroup ${spec.directorGroup}`;
  return good('program', '', `${spec.contentHash} for ${group}: ${count(servers, 'real server')}${slices.length > 1 ? ` in ${count(slices.length, 'slice')}` : ''}`);
}

/** The owners of the VIPs first: they are the ones that count. */
export function directorSteps(c: Case): Step[] {
  const { facts, members, program, group, holders } = c;
  if (!program) return [];
  if (group === '') {
    const fix = 'kubectl get dgroup; create one whose nodeSelector selects the nodes that are to direct';
    return [wrong('director', '', 'the program is for no DirectorGroup, so nobody runs it', fix)];
  }
  if ('unread' in facts.ipvsNodes) return [unread('director', '', facts.ipvsNodes.unread)];
  const owners = new Set([...holders.values()].filter(Boolean));
  const rank = (n: IPVSNode) => (owners.has(n.metadata.name) ? 0 : 1);
  const sorted = [...members ?? []].sort((a, b) => rank(a) - rank(b));
  // Why a group has no member is said where its VIPs are.
  return sorted.map((node) => ({ ...directorStep(node, program.program.spec.contentHash, c), needed: owners.has(node.metadata.name) }));
}

function directorStep(node: IPVSNode, hash: string, c: Case): Step {
  const { facts, key, leaseOf, holders, program } = c;
  const { name } = node.metadata;
  const { status } = node;
  const held = [...holders].filter(([, holder]) => holder === name).map(([address]) => address);
  const here = look.agentOn(facts.systemNamespace, name);
  const no = (text: string, fix: string) => wrong('director', name, text, fix);
  const seen = leaseOf?.get(name);
  if (leaseOf && !seen) return no('it has no Lease: its agent has never run, or cannot reach the API server', here);
  if (seen && !seen.live) {
    const last = seen.lease.spec?.renewTime ?? 'no time';
    const step = no(`it does not renew its Lease (last at ${last} by its own clock): its agent is gone, or cannot reach the API server`, here);
    // What its kernel does is said where its VIP is.
    return held.some((a) => stillAnswers(c, a)) ? { ...step, ok: null } : step;
  }
  if (status?.agentVersion === undefined) return no('its agent has not reported yet', here);
  const failure = status.failures?.find((f) => f.virtualServer === key);
  if (failure) return no(`${failure.code}: ${failure.message}`, `kubectl describe ivn ${name}`);
  const applied = readApplied(status.applied ?? []);
  const has = applied.get(key);
  if (has === undefined && applied.size >= MAX_APPLIED) {
    const all = status.programs?.applied ?? 'many';
    return unsure('director', name, `it names only ${applied.size} of its ${all} programs, and not this one`, `ipvsadm -Ln on ${name}`);
  }
  if (has !== hash) return no(has === undefined ? 'it does not run the program' : `it runs ${has}, an older form`, here);
  const local = program!.program.spec.localOnly === true && held.length > 0
    && !servicesOf(program!.program).some((s) => held.some((a) => s.name.endsWith(` of ${a}`)) && s.ready.some((r) => r.node === name));
  if (local) {
    return no('trafficPolicy is Local, and it holds the VIP without a real server of its own that takes connections',
      `kubectl -n ${facts.namespace} get ivsp ${facts.name} -o yaml`);
  }
  const runs = `runs ${hash}${held.length > 0 ? ` and holds ${names(held)}` : ''}`;
  return leaseOf ? good('director', name, `live, ${runs}`) : unsure('director', name, `${runs}; whether it is live is not known without its Lease`, here);
}

/** The other directors leave a VIP alone whose owner is silent and still answers for it. */
function stillAnswers({ facts }: Case, address: string): boolean {
  return valueOf(facts.virtualIPs.get(address))?.status?.conditions?.some((x) => x.type === 'Owned' && x.reason === 'OwnerLost') === true;
}

const FOREIGN: ReadonlySet<string> = new Set(['ForeignFlush', 'KubeProxyConflict', 'ForeignConflict']);

/** What is not ours and disturbs, on directors; beside the way as long as the program runs. */
export function foreignSteps({ members, program }: Case): Step[] {
  if (!program) return [];
  return (members ?? []).flatMap(({ metadata: { name }, status }) => {
    const degraded = status?.conditions?.find((x) => x.type === 'Degraded' && x.status === 'True' && FOREIGN.has(x.reason));
    const { addresses = 0, culprit, examples = [] } = status?.foreign ?? {};
    if (!degraded && addresses === 0) return [];
    const who = culprit ? ` (${culprit})` : '';
    const text = degraded
      ? `${degraded.reason}: ${degraded.message}${who}`
      : `${count(addresses, 'address', 'addresses')} of somebody else${who} stand where VIPs are: ${names(examples, 3)}`;
    return [wrong('foreign', name, text, `kubectl get ivn ${name} -o jsonpath='{.status.foreign}'`, false)];
  });
}
