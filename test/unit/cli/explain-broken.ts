/** Broken worlds, and where the explanation of each stops: what is broken, the step, and what is said of it and advised. A table, no tests. */
import type { StepName } from '../../../src/cli/explain-step.ts';
import { condition, lease, unread, type World } from './explain-world.ts';

export interface Broken {
  readonly what: string;
  readonly world: (w: World) => void;
  readonly step: StepName;
  readonly about?: string;
  readonly served?: boolean | null;
  readonly text: RegExp;
  readonly fix: RegExp;
}

export const refused = (reason: string, message: string) => (w: World) => {
  w.server.status.conditions = [condition('Accepted', 'False', reason, message), condition('Ready', 'False', 'NotAccepted', message)];
  w.programs = [];
};
/** DR to a node, which has the VIP unless told otherwise. */
export const dr = (w: World) => {
  w.server.spec = { ...w.server.spec, mode: 'DR', ports: [{ port: 80 }], backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] };
  w.nodes = [{ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1', labels: { role: 'web' } }, status: { addresses: [{ type: 'InternalIP', address: '192.168.20.15' }] } }];
  Object.assign(w.programs[0]!.spec, { mode: 'DR', sourceAddress: 'Preserve' });
  w.programs[0]!.spec.services[0]!.realServers = ['192.168.20.15|80|1|node-1'];
  w.ipvsNodes['node-1'] = {
    metadata: { generation: 2 }, spec: { directorGroups: [], realServer: { binds: [{ address: '203.0.113.10', family: 'IPv4', mode: 'DR', localAddress: '192.168.20.15', virtualServer: 'tenant-a/shop' }] }, reservedAddresses: [] },
    status: { agentVersion: '0.1.0', observedGeneration: 2, boundVIPs: ['203.0.113.10'] },
  };
};
/** DR, and the node does not receive for the VIP yet. */
const unbound = (w: World) => {
  dr(w);
  w.ipvsNodes['node-1']!.status = { agentVersion: '0.1.0', observedGeneration: 2, boundVIPs: [] };
  w.programs[0]!.spec.services[0]!.realServers = [];
};
const unowned = (w: World) => { w.vips['203.0.113.10']!.status = { activeNode: '' }; };
const failing = (code: string, message: string) => (w: World) => {
  w.ipvsNodes['edge-1']!.status = { ...w.ipvsNodes['edge-1']!.status, applied: [], failures: [{ virtualServer: 'tenant-a/shop', code, message }] };
};
export const noServers = (w: World) => { w.programs[0]!.spec.services[0]!.realServers = []; };

/** What edge-1 says of real servers that fail their check. */
const failingChecks = (unhealthy: number, ignored: number, message: string, director = 'edge-1') => (w: World) => {
  w.ipvsNodes[director]!.status = { ...w.ipvsNodes[director]!.status, backends: [{ virtualServer: 'tenant-a/other', unhealthy: 7, ignored: 0, draining: 0, message: '' }, { virtualServer: 'tenant-a/shop', unhealthy, ignored, draining: 0, message }] };
};

export const BROKEN: readonly Broken[] = [
  // Spec.
  { what: 'there is none', world: (w) => { w.absent = true; }, step: 'spec', text: /no VirtualServer tenant-a\/shop/, fix: /^kubectl get ivs -A/ },
  {
    what: 'no CRDs', world: (w) => { w.unread.server = unread('noKind', 'get virtualservers.ipvs-operator.dev/shop -n tenant-a'); },
    step: 'spec', text: /CRDs are not installed/, fix: /^kubectl apply .*crds\//,
  },
  {
    what: 'the spec contradicts itself', world: (w) => { w.server.spec['ports'] = [{ port: 80, targetPort: 8080 }]; },
    step: 'spec', text: /spec\.ports\[0\]\.targetPort/, fix: /^kubectl -n tenant-a edit ivs shop$/,
  },
  { what: 'a field that nobody knows', world: (w) => { w.server.spec['colour'] = 'red'; }, step: 'spec', text: /spec\.colour/, fix: /edit ivs shop/ },
  {
    what: 'it is being deleted', world: (w) => { Object.assign(w.server.metadata, { deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['example.org/hold'] }); },
    step: 'spec', text: /deleted since 2026-01-01T00:00:00Z, and waits for example.org\/hold/, fix: /get ivs shop -o yaml/,
  },
  // Controller.
  {
    what: 'no controller ever', world: (w) => { w.server.status = {}; w.leases = {}; w.programs = []; w.vips = {}; },
    step: 'controller', text: /no controller has looked at it yet: no controller leads \(Lease ipvs-operator-controller in namespace ipvs-system is not there\)/, fix: /^kubectl -n ipvs-system get pods -l app.kubernetes.io\/component=controller/,
  },
  {
    what: 'the controller died before the last edit', world: (w) => { w.server.metadata.generation = 4; w.leases['ipvs-operator-controller']!.live = false; },
    step: 'controller', text: /seen generation 3, not 4: no controller leads .*is not renewed/, fix: /component=controller/,
  },
  {
    what: 'the controller lives and does not follow', world: (w) => { w.server.metadata.generation = 4; },
    step: 'controller', text: /seen generation 3, not 4, although ctl-1 leads/, fix: /^kubectl -n ipvs-system logs deploy\/ipvs-operator-controller/,
  },
  {
    what: 'the controller died, all is served', world: (w) => { w.leases['ipvs-operator-controller']!.live = false; },
    step: 'controller', served: true, text: /what is programmed is served, changes wait/, fix: /component=controller/,
  },
  // Accepted.
  {
    what: 'the pool is missing', world: refused('PoolNotFound', 'there is no default VIPPool'),
    step: 'accepted', text: /PoolNotFound: there is no default/, fix: /^kubectl get vippools$/,
  },
  {
    what: 'the namespace is not admitted', world: (w) => { w.server.spec['vip'] = { poolRef: { name: 'public' } }; refused('NamespaceNotAllowed', 'VIPPool public does not admit namespace tenant-a')(w); },
    step: 'accepted', text: /does not admit/, fix: /^kubectl edit vippool public$/,
  },
  {
    what: 'the address is in no pool', world: refused('AddressOutsidePools', '198.51.100.1 lies in no VIPPool'),
    step: 'accepted', text: /AddressOutsidePools/, fix: /vippools/,
  },
  { what: 'a port is taken', world: refused('PortConflict', 'port 80 is served already'), step: 'accepted', text: /PortConflict/, fix: /^kubectl get vip/ },
  {
    what: 'suspended', world: refused('Suspended', 'spec.suspend is true'),
    step: 'accepted', text: /Suspended/, fix: /patch ivs shop --type=merge -p '\{"spec":\{"suspend":false\}\}'/,
  },
  {
    what: 'it shares with one that has nothing', world: (w) => { w.server.spec['vip'] = { sharedFrom: { name: 'other' } }; refused('Pending', 'no address')(w); },
    step: 'accepted', text: /Pending/, fix: /^kubectl -n tenant-a get ivs other$/,
  },
  {
    what: 'the newest form is refused and the old one goes on', world: (w) => { w.server.status.conditions = [condition('Accepted', 'False', 'PoolExhausted', 'full')]; },
    step: 'accepted', text: /PoolExhausted: full; the form of before is still served/, fix: /vippool/,
  },
  // Backends.
  {
    what: 'the Service is missing', world: (w) => { w.services = {}; w.slices = {}; noServers(w); },
    step: 'backend', about: 'Service tenant-a/web', text: /spec\.backends\[0\]\.serviceRef: Service tenant-a\/web does not exist/, fix: /^kubectl -n tenant-a get services$/,
  },
  {
    what: 'the Service has no such port', world: (w) => { w.server.spec['backends'] = [{ serviceRef: { name: 'web', port: 'admin' } }]; noServers(w); },
    step: 'backend', about: 'Service tenant-a/web port admin', text: /has no port admin \(it has http 80\/TCP\)/, fix: /describe service web/,
  },
  {
    what: 'the second of two Services is missing', world: (w) => { w.server.spec['backends'] = [{ serviceRef: { name: 'web' } }, { serviceRef: { name: 'api' } }]; },
    step: 'backend', about: 'Service tenant-a/api', served: true, text: /spec\.backends\[1\]/, fix: /get services/,
  },
  {
    what: 'no endpoints', world: (w) => { w.slices['tenant-a/web']![0]!.endpoints = []; noServers(w); },
    step: 'backend', text: /no Pod with its labels runs/, fix: /^kubectl -n tenant-a get pods -l app=web/,
  },
  {
    what: 'no endpoints and no selector', world: (w) => { w.slices = {}; w.services['tenant-a/web']!.spec = { ports: [{ name: 'http', port: 80 }] }; noServers(w); },
    step: 'backend', text: /no selector/, fix: /get endpointslices -l kubernetes.io\/service-name=web/,
  },
  {
    what: 'no endpoint is ready', world: (w) => { for (const e of w.slices['tenant-a/web']![0]!.endpoints!) e.conditions = { ready: false }; noServers(w); },
    step: 'backend', text: /0 of 3 endpoints ready, in 1 EndpointSlice: none takes connections/, fix: /get pods -l app=web/,
  },
  {
    what: 'no endpoint has the port', world: (w) => { w.slices['tenant-a/web']![0]!.ports = [{ name: 'other', port: 9 }]; noServers(w); },
    step: 'backend', text: /2 of 3 endpoints ready, 1 terminating, in 1 EndpointSlice, but none on the port/, fix: /endpointslices .* -o yaml/,
  },
  {
    what: 'a Service of another namespace without permission', world: (w) => { w.server.spec['backends'] = [{ serviceRef: { name: 'web', namespace: 'tenant-b' } }]; w.services = { 'tenant-b/web': { ...w.services['tenant-a/web']!, metadata: { name: 'web', namespace: 'tenant-b' } } }; noServers(w); },
    step: 'backend', about: 'Service tenant-b/web', text: /gives no permission; create a ReferenceGrant/, fix: /^kubectl -n tenant-b get referencegrants$/,
  },
  {
    what: 'no node has the labels', world: (w) => { dr(w); w.nodes = []; w.ipvsNodes['node-1']!.spec = { directorGroups: [], realServer: { binds: [] }, reservedAddresses: [] }; noServers(w); },
    step: 'backend', about: 'nodes role=web', text: /no node/, fix: /^kubectl get nodes -l role=web$/,
  },
  // Excluded.
  {
    what: 'every real server is refused', world: (w) => { noServers(w); w.server.status = { ...w.server.status, excludedCount: 5, excluded: [{ backend: '10.1.0.1', reason: 'UnsupportedBackendForMode', message: 'use mode NAT' }] }; },
    step: 'excluded', text: /5 real servers cannot be used: 10.1.0.1 UnsupportedBackendForMode: use mode NAT; and 4 more/, fix: /jsonpath='\{.status.excluded\}'/,
  },
  {
    what: 'some are refused', world: (w) => { w.server.status = { ...w.server.status, excludedCount: 1, excluded: [{ backend: '10.1.0.9', reason: 'EndpointNotPermitted', message: 'no' }] }; },
    step: 'excluded', served: true, text: /1 real server cannot/, fix: /excluded/,
  },
  {
    what: 'one Service is missing and all of the other is refused',
    world: (w) => {
      noServers(w);
      w.server.spec['backends'] = [{ serviceRef: { name: 'api' } }, { serviceRef: { name: 'web' } }];
      w.server.status = { ...w.server.status, excludedCount: 2, excluded: [{ backend: '10.1.0.1', reason: 'EndpointNotPermitted', message: 'no' }] };
    },
    step: 'excluded', text: /2 real servers cannot/, fix: /excluded/,
  },
  // The VIP.
  {
    what: 'the VIP is not claimed', world: (w) => { w.vips = {}; },
    step: 'address', about: '203.0.113.10', text: /no VirtualIP/, fix: /logs deploy\/ipvs-operator-controller/,
  },
  {
    what: 'the VIP is claimed by another', world: (w) => { w.vips['203.0.113.10']!.spec.claims[0]!.name = 'other'; },
    step: 'address', text: /claimed by tenant-a\/other, not by tenant-a\/shop/, fix: /^kubectl get vip 203.0.113.10 -o yaml$/,
  },
  {
    what: 'the claim is that of a deleted namesake', world: (w) => { w.vips['203.0.113.10']!.spec.claims[0]!.uid = 'u0'; },
    step: 'address', text: /earlier VirtualServer/, fix: /logs/,
  },
  {
    what: 'the owner is dead', world: (w) => { w.leases['director-edge-1']!.live = false; },
    step: 'address', text: /edge-1 holds it since 2026-01-01T00:00:00Z \(3 h\), but does not renew its Lease/, fix: /--field-selector spec.nodeName=edge-1$/,
  },
  {
    what: 'the agent of the owner is gone and its kernel answers', world: (w) => { w.leases['director-edge-1']!.live = false; w.vips['203.0.113.10']!.status!.conditions = [condition('Owned', 'Unknown', 'OwnerLost', 'edge-1 still answers')]; },
    step: 'address', served: null, text: /its agent is gone: edge-1 still answers/, fix: /spec.nodeName=edge-1$/,
  },
  {
    what: 'the owner left the group', world: (w) => { w.ipvsNodes['edge-1']!.spec.directorGroups = []; },
    step: 'address', text: /edge-1 holds it, and does not direct for DirectorGroup edge any more/, fix: /^kubectl get dgroup edge/,
  },
  {
    what: 'two answer', world: (w) => { w.vips['203.0.113.10']!.status!.conditions = [condition('DuplicateAddress', 'True', 'ForeignHost', '02:00:00:00:00:99 answers too')]; },
    step: 'address', served: true, text: /ForeignHost: 02:00:00:00:00:99/, fix: /get vip/,
  },
  {
    what: 'a stranger has the address', world: (w) => { unowned(w); w.vips['203.0.113.10']!.status!.conditions = [condition('Owned', 'False', 'AddressInUse', '02:00:00:00:00:99 answers for the address'), condition('DuplicateAddress', 'True', 'ForeignHost', 'x')]; },
    step: 'address', text: /no director holds it: 02:00:00:00:00:99 answers/, fix: /^ip neigh show 203.0.113.10/,
  },
  {
    what: 'no DirectorGroup at all', world: (w) => { unowned(w); w.vips['203.0.113.10']!.spec.directorGroup = ''; w.programs[0]!.spec.directorGroup = ''; },
    step: 'address', text: /there is no DirectorGroup$/, fix: /^kubectl get dgroup/,
  },
  {
    what: 'the DirectorGroup was deleted', world: (w) => { unowned(w); w.groups = {}; w.ipvsNodes = {}; },
    step: 'address', text: /there is no DirectorGroup edge/, fix: /^kubectl get dgroup/,
  },
  {
    what: 'the DirectorGroup selects nobody', world: (w) => { unowned(w); w.ipvsNodes = {}; },
    step: 'address', text: /DirectorGroup edge selects no node/, fix: /^kubectl label node NODE node-role\/edge=$/,
  },
  {
    what: 'no director is live', world: (w) => { unowned(w); w.leases['director-edge-1']!.live = w.leases['director-edge-2']!.live = false; },
    step: 'address', text: /no agent of DirectorGroup edge is live \(edge-1, edge-2\)/, fix: /component=agent/,
  },
  {
    what: 'no director has the network', world: (w) => { unowned(w); for (const n of ['edge-1', 'edge-2']) w.leases[`director-${n}`] = lease(n, '10.0.0.0/24'); },
    step: 'address', text: /no live director \(edge-1, edge-2\) has a NIC/, fix: /interface of DirectorGroup edge/,
  },
  {
    what: 'the live directors are those of another group',
    world: (w) => { unowned(w); for (const n of ['edge-1', 'edge-2']) w.leases[`director-${n}`]!.lease.metadata.annotations = { 'ipvs-operator.dev/groups': 'other' }; },
    step: 'address', text: /no agent of DirectorGroup edge is live/, fix: /component=agent/,
  },
  { what: 'it is about to be taken', world: unowned, step: 'address', text: /edge-1, edge-2 can and have not taken it yet/, fix: /component=agent/ },
  // Program.
  { what: 'there is no program', world: (w) => { w.programs = []; }, step: 'program', text: /the controller has not written one/, fix: /logs/ },
  {
    what: 'a slice is missing', world: (w) => { w.programs[0]!.spec.slice = { index: 0, count: 2 }; },
    step: 'program', text: /SlicesMissing: 1 of 2 slices/, fix: /logs/,
  },
  {
    what: 'the program is that of a deleted namesake', world: (w) => { w.programs[0]!.spec.virtualServer.uid = 'u0'; },
    step: 'program', text: /earlier VirtualServer/, fix: /logs/,
  },
  // Directors.
  {
    what: 'the owner runs an older program', world: (w) => { w.ipvsNodes['edge-1']!.status!.applied = ['tenant-a/shop|older']; },
    step: 'director', about: 'edge-1', text: /runs older, an older form/, fix: /spec.nodeName=edge-1$/,
  },
  {
    what: 'the owner does not run it', world: (w) => { w.ipvsNodes['edge-1']!.status!.applied = []; },
    step: 'director', about: 'edge-1', text: /does not run the program/, fix: /edge-1$/,
  },
  {
    what: 'the owner has not reported', world: (w) => { delete w.ipvsNodes['edge-1']!.status; },
    step: 'director', about: 'edge-1', text: /has not reported/, fix: /edge-1$/,
  },
  {
    what: 'a foreign service on the owner', world: failing('ForeignConflict', 'run ipvsadm -D -t 203.0.113.10:80'),
    step: 'director', about: 'edge-1', text: /ForeignConflict: run ipvsadm -D/, fix: /^kubectl describe ivn edge-1$/,
  },
  {
    what: 'the kernel of the owner lacks the scheduler', world: failing('KernelFeatureMissing', 'modprobe ip_vs_mh'),
    step: 'director', about: 'edge-1', text: /KernelFeatureMissing/, fix: /ivn edge-1/,
  },
  {
    what: 'the second director is dead', world: (w) => { w.leases['director-edge-2']!.live = false; },
    step: 'director', about: 'edge-2', served: true, text: /does not renew its Lease \(last at/, fix: /edge-2$/,
  },
  {
    what: 'the second director has never come', world: (w) => { delete w.leases['director-edge-2']; },
    step: 'director', about: 'edge-2', served: true, text: /no Lease/, fix: /edge-2$/,
  },
  {
    what: 'Local, and the owner has no real server', world: (w) => { w.programs[0]!.spec.localOnly = true; w.programs[0]!.spec.services[0]!.realServers = ['10.1.0.1|8080|1|node-7']; },
    step: 'director', about: 'edge-1', text: /trafficPolicy is Local/, fix: /get ivsp shop/,
  },
  {
    what: 'kube-proxy flushes on the owner', world: (w) => { w.ipvsNodes['edge-1']!.status!.conditions = [condition('Degraded', 'True', 'KubeProxyConflict', 'set excludeCIDRs')]; },
    step: 'foreign', about: 'edge-1', served: true, text: /KubeProxyConflict: set excludeCIDRs/, fix: /get ivn edge-1/,
  },
  {
    what: 'a foreign address on the owner', world: (w) => { w.ipvsNodes['edge-1']!.status!.foreign = { services: 0, destinations: 0, addresses: 1, examples: ['eth0 203.0.113.10'], culprit: 'keepalived' }; },
    step: 'foreign', served: true, text: /1 address of somebody else \(keepalived\).*eth0/, fix: /ivn edge-1/,
  },
  // Nodes.
  { what: 'a node has not bound the VIP', world: unbound, step: 'node', about: 'node-1', text: /does not receive for 203.0.113.10 yet/, fix: /spec.nodeName=node-1$/ },
  {
    what: 'a node has no agent', world: (w) => { unbound(w); delete w.ipvsNodes['node-1']!.status; },
    step: 'node', text: /no agent has reported from there/, fix: /node-1$/,
  },
  {
    what: 'the agent of a node is behind', world: (w) => { unbound(w); w.ipvsNodes['node-1']!.status!.observedGeneration = 1; },
    step: 'node', text: /has seen generation 1 of IPVSNode node-1, not 2/, fix: /node-1$/,
  },
  {
    what: 'a node cannot bind', world: (w) => { unbound(w); w.ipvsNodes['node-1']!.status!.failures = [{ virtualServer: 'tenant-a/shop', code: 'NoInterface', message: 'no NIC' }]; },
    step: 'node', text: /NoInterface: no NIC/, fix: /^kubectl describe ivn node-1$/,
  },
  {
    what: 'a node that gets packets is told nothing', world: (w) => { dr(w); w.ipvsNodes['node-1']!.spec.realServer = { binds: [] }; },
    step: 'node', served: true, text: /directors send to it, and it is not told/, fix: /logs/,
  },
  {
    what: 'one real server is refused, and the node of the other has not bound the VIP',
    world: (w) => {
      unbound(w);
      w.server.status = { ...w.server.status, excludedCount: 1, excluded: [{ backend: '10.1.0.9', reason: 'EndpointNotPermitted', message: 'no' }] };
    },
    step: 'node', about: 'node-1', text: /does not receive for 203.0.113.10 yet/, fix: /node-1$/,
  },
  {
    what: 'a second node has not bound the VIP',
    world: (w) => {
      dr(w);
      w.ipvsNodes['node-2'] = { ...w.ipvsNodes['node-1']!, status: { agentVersion: '0.1.0', boundVIPs: [] } };
    },
    step: 'node', about: 'node-2', served: true, text: /does not receive/, fix: /node-2$/,
  },
  // Health checks.
  {
    what: 'every real server fails its check on the director that holds the VIP', world: failingChecks(2, 0, '10.1.0.1:8080 is down: Refused: nothing listens'),
    step: 'health', about: 'edge-1', text: /^no real server of 2 passes the check, new connections are refused: 10\.1\.0\.1:8080 is down: Refused/, fix: /^kubectl -n tenant-a get ivsp shop -o jsonpath='\{\.spec\.healthCheck\}' and try the same from edge-1$/,
  },
  { what: 'one of two real servers is down', world: failingChecks(1, 0, '10.1.0.1:8080 is down'), step: 'health', served: true, text: /^1 of 2 real servers are down: 10\.1\.0\.1:8080 is down$/, fix: /healthCheck/ },
  { what: 'checks fail and are not obeyed', world: failingChecks(0, 2, 'fails, and too few others are up'), step: 'health', served: true, text: /^2 real servers of 2 fail the check and are kept/, fix: /healthCheck/ },
  { what: 'the director that does not hold the VIP reaches nobody', world: failingChecks(2, 0, 'Timeout', 'edge-2'), step: 'health', about: 'edge-2', served: true, text: /^no real server of 2/, fix: /from edge-2$/ },
  {
    what: 'Local, and the only real server of the owner is down',
    world: (w) => { w.programs[0]!.spec.localOnly = true; w.programs[0]!.spec.services[0]!.realServers = ['10.1.0.1|8080|1|edge-1', '10.1.0.2|8080|1|edge-2']; failingChecks(1, 0, 'Hangs')(w); },
    step: 'health', about: 'edge-1', text: /^no real server of 1/, fix: /from edge-1$/,
  },
  // Real servers.
  {
    what: 'all weights are 0', world: (w) => { w.server.spec['backends'] = [{ weight: 0, serviceRef: { name: 'web' } }]; w.programs[0]!.spec.services[0]!.realServers = ['10.1.0.1|8080|0|node-1']; },
    step: 'realServers', text: /all 1 of the program have weight 0/, fix: /edit ivs shop/,
  },
  {
    what: 'the label of a node takes the only real server away', world: (w) => { w.programs[0]!.spec.services[0]!.realServers = ['10.1.0.1|8080|0|node-1']; },
    step: 'realServers', text: /all 1 of the program have weight 0/, fix: /^kubectl label node node-1 ipvs-operator\.dev\/weight-$/,
  },
  {
    what: 'the label of a node is no weight', world: (w) => { w.server.status.conditions!.push(condition('Degraded', 'True', 'InvalidNodeWeight', 'the label of node node-1 ("heavy") does not count')); },
    step: 'weights', served: true, text: /node-1 \("heavy"\)/, fix: /^kubectl label node NODE ipvs-operator\.dev\/weight=100 --overwrite$/,
  },
  { what: 'the program has none, and nobody says why', world: noServers, step: 'realServers', text: /the program has none/, fix: /logs/ },
  {
    what: 'one port of two has none', world: (w) => { w.programs[0]!.spec.services.push({ ports: [{ name: '', protocol: 'TCP', port: 443, endPort: 443 }], mark: 0, realServers: [] }); },
    step: 'realServers', served: true, text: /for 443\/TCP of 203.0.113.10/, fix: /get ivsp shop/,
  },
  // What the controller says, when all else is well.
  {
    what: 'only the controller is not content', world: (w) => { w.server.status.conditions = [condition('Accepted', 'True', 'Accepted', ''), condition('Ready', 'False', 'NoOwner', 'nobody')]; },
    step: 'ready', served: true, text: /the controller says NoOwner: nobody/, fix: /describe ivs shop/,
  },
];
