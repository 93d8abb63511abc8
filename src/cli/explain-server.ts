/** Steps about the VirtualServer itself: is it valid, did a controller look at it, what did it decide, what does it say now. Pure. */
import { formatProblem, portText } from '../api/v1alpha1/index.ts';
import { names } from '../api/v1alpha1/problems.ts';
import { CONTROLLER_LEASE } from '../controller/options.ts';
import { conditionOf, type Case } from './explain-case.ts';
import { valueOf } from './explain-facts.ts';
import { good, look, unread, unsure, wrong, type Step } from './explain-step.ts';

export function specStep({ facts, key, raw, server, problems }: Case): Step {
  const { namespace, name } = facts;
  if ('unread' in facts.server) {
    return facts.server.unread.why === 'noKind'
      ? wrong('spec', '', 'the cluster does not know VirtualServers: the CRDs are not installed', 'kubectl apply -f crds/, and install the operator')
      : unread('spec', '', facts.server.unread);
  }
  if (raw === null) return wrong('spec', '', `there is no VirtualServer ${key}`, 'kubectl get ivs -A lists those that are there');
  const { deletionTimestamp, finalizers = [] } = raw.metadata;
  if (deletionTimestamp !== undefined) {
    const waits = finalizers.length > 0 ? `, and waits for ${names(finalizers)}` : '';
    return wrong('spec', '', `it is being deleted since ${deletionTimestamp}${waits}`, `kubectl -n ${namespace} get ivs ${name} -o yaml`);
  }
  if (server === null) return wrong('spec', '', `it is not valid: ${problems.map(formatProblem).join('; ')}`, `kubectl -n ${namespace} edit ivs ${name}`);
  const { mode, ports, scheduler } = server.spec;
  return good('spec', '', `valid: ${mode}, ${names(ports.map(portText))}, scheduler ${scheduler.name}`);
}

export function controllerStep({ facts, raw, status, current }: Case): Step | null {
  const { systemNamespace: system } = facts;
  if (raw === null) return null;
  const lease = valueOf(facts.leases)?.get(CONTROLLER_LEASE);
  const blind = 'unread' in facts.leases;
  const seen = status?.observedGeneration;
  const behind = seen === undefined ? 'no controller has looked at it yet'
    : `the controller has seen generation ${seen}, not ${raw.metadata.generation ?? 'the newest'}`;
  const dead = `no controller leads (Lease ${CONTROLLER_LEASE} in namespace ${system} ${lease === undefined ? 'is not there' : 'is not renewed'})`;
  if (lease?.live) {
    const leads = `${lease.lease.spec?.holderIdentity} leads`;
    if (current) return good('controller', '', `has looked at generation ${seen}; ${leads}`);
    return wrong('controller', '', `${behind}, although ${leads}`, look.controllerLog(system));
  }
  if (!current) return wrong('controller', '', blind ? behind : `${behind}: ${dead}`, look.pods(system, 'controller'));
  if (blind) return good('controller', '', `has looked at generation ${seen}; whether one leads now is not known`);
  // What runs goes on running; only changes wait. A single controller may do without a Lease.
  if (lease === undefined) return good('controller', '', `has looked at generation ${seen}; no Lease says who leads`);
  const text = `has looked at generation ${seen}, but now ${dead}: what is programmed is served, changes wait`;
  return wrong('controller', '', text, look.pods(system, 'controller'), false);
}

export function acceptedStep(c: Case): Step | null {
  const { facts, raw, current, program } = c;
  const { namespace, name } = facts;
  if (raw === null) return null;
  const accepted = conditionOf(c, 'Accepted');
  if (accepted === undefined || !current) return unsure('accepted', '', 'not decided yet for this generation', look.controllerLog(facts.systemNamespace));
  if (accepted.status !== 'True') {
    const serving = program ? '; the form of before is still served' : '';
    return wrong('accepted', '', `${accepted.reason}: ${accepted.message}${serving}`, acceptedFix(accepted.reason, c));
  }
  const pools = c.addresses.flatMap((a) => valueOf(facts.virtualIPs.get(a))?.spec.poolRef.name ?? []);
  const from = pools.length > 0 ? ` from VIPPool ${[...new Set(pools)].join(', ')}` : '';
  return good('accepted', '', `namespace ${namespace} has ${c.addresses.join(', ') || 'its addresses'}${from} for ${name}`);
}

/** The message says what to do; this is where. */
function acceptedFix(reason: string, { facts: { namespace, name, systemNamespace }, server }: Case): string {
  const vip = server?.spec.vip;
  const pool = vip?.poolRef?.name;
  switch (reason) {
    case 'PoolNotFound': return 'kubectl get vippools';
    case 'NamespaceNotAllowed': case 'PoolExhausted':
      return pool === undefined ? 'kubectl get vippools, and edit the one in question' : `kubectl edit vippool ${pool}`;
    case 'AddressOutsidePools': return 'kubectl get vippools -o yaml shows their blocks';
    case 'AddressInUse': case 'PortConflict': return 'kubectl get vip -o yaml shows who has which ports';
    case 'Suspended': return `kubectl -n ${namespace} patch ivs ${name} --type=merge -p '{"spec":{"suspend":false}}'`;
    case 'Pending':
      return vip?.sharedFrom ? `kubectl -n ${namespace} get ivs ${vip.sharedFrom.name}` : `kubectl get dgroup, and ${look.controllerLog(systemNamespace)}`;
    default: return `kubectl -n ${namespace} edit ivs ${name}`;
  }
}

/** `blind`: something that is needed could not be looked at, so that the controller's word is all there is. */
export function readyStep(c: Case, blind: boolean): Step | null {
  const { facts: { namespace, name }, raw, current } = c;
  if (raw === null) return null;
  const ready = conditionOf(c, 'Ready');
  if (ready === undefined || !current) return unsure('ready', '', 'the controller says nothing about this generation yet', '', false);
  if (ready.status === 'True') return good('ready', '', 'the controller says that clients are served');
  return wrong('ready', '', `the controller says ${ready.reason}: ${ready.message}`, `kubectl -n ${namespace} describe ivs ${name}`, blind);
}
