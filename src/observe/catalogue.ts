/**
 * Every metric of this product: name, labels, what it says. Data only. docs/metrics.md is made from these tables, and controller and
 * agent make their instruments from them (instrumentsOf), so a metric that is not here does not exist. Names, units and labels are
 * stable: dashboards and alerts hold on to them.
 */
import { counter, gauge, histogram } from './definition.ts';

const RESULTS = ['success', 'error'] as const;

/** Both processes; nobody but metrics.ts fills these. */
export const OWN_METRICS = {
  collectErrors: counter('ipvs_operator_metrics_collect_errors_total', 'Scrapes in which something could not be read; its metrics are then old or absent.'),
  droppedSeries: counter('ipvs_operator_metrics_dropped_total', 'Values left out because a metric had reached 20,000 series.'),
};

/** Both processes; process.ts fills these. */
export const PROCESS_METRICS = {
  cpu: counter('process_cpu_seconds_total', 'User and system CPU time.'),
  startTime: gauge('process_start_time_seconds', 'When the process started, since the epoch.'),
  residentMemory: gauge('process_resident_memory_bytes', 'Resident memory.'),
  openFiles: gauge('process_open_fds', 'Open file descriptors.'),
  maxFiles: gauge('process_max_fds', 'How many file descriptors may be open.'),
  heapTotal: gauge('nodejs_heap_size_total_bytes', "Size of the JavaScript engine's heap."),
  heapUsed: gauge('nodejs_heap_size_used_bytes', 'Used part of that heap.'),
  external: gauge('nodejs_external_memory_bytes', 'Memory of buffers outside of that heap.'),
  loopDelay: histogram('nodejs_eventloop_delay_seconds', 'How late the event loop was, looked at five times a second. Something that runs too long shows here.',
    {}, [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]),
};

/** Both processes: the connection to the API server. `resource` is the plural with its group, as virtualips.ipvs-operator.dev. */
export const KUBE_METRICS = {
  buildInfo: gauge('ipvs_operator_build_info', 'Always 1; the version is a label.', { version: null, role: null }),
  lists: counter('ipvs_operator_reflector_lists_total', 'Complete lists read.', { resource: null }),
  watches: counter('ipvs_operator_reflector_watches_total', 'Watches opened.', { resource: null }),
  watchEvents: counter('ipvs_operator_reflector_events_total', 'Events of objects received.', { resource: null }),
  reflectorErrors: counter('ipvs_operator_reflector_errors_total', 'Lists and watches that failed; they are tried again for ever.', { resource: null }),
  lastEventAge: gauge('ipvs_operator_reflector_last_event_age_seconds',
    'How long ago the server last said anything, bookmarks included. Above 90 the watch is opened anew.', { resource: null }),
  synced: gauge('ipvs_operator_reflector_synced', '1 once everything was read for the first time.', { resource: null }),
  objects: gauge('ipvs_operator_reflector_objects', 'Objects known.', { resource: null }),
  badObjects: gauge('ipvs_operator_reflector_bad_objects', 'Objects whose newest version breaks the schema; their last good version is in use.', { resource: null }),
};

export const CONTROLLER_METRICS = {
  reconciles: counter('ipvs_operator_controller_reconciles_total', 'Reconciles done, by kind of what was reconciled.', { kind: null, result: RESULTS }),
  reconcileDuration: histogram('ipvs_operator_controller_reconcile_duration_seconds',
    'How long a reconcile took, requests to the API server included.', { kind: null }),
  writes: counter('ipvs_operator_controller_writes_total', 'Objects written to the API server. A restart in which nothing changed writes nothing.',
    { kind: null, verb: null, result: RESULTS }),
  compiles: counter('ipvs_operator_controller_compiles_total', 'Runs of the compiler over everything that had changed.'),
  programs: gauge('ipvs_operator_controller_programs', 'Programs that the directors should have.'),
  virtualServers: gauge('ipvs_operator_controller_virtualservers', 'VirtualServers by the status of their conditions.',
    { condition: ['Accepted', 'ResolvedRefs', 'Programmed', 'Ready'], status: ['True', 'False', 'Unknown'] }),
  addresses: gauge('ipvs_operator_controller_pool_addresses', 'Addresses of a pool: how many it has for allocation, and how many of those are taken.',
    { pool: null, family: ['IPv4', 'IPv6'], state: ['capacity', 'allocated'] }),
  leader: gauge('ipvs_operator_controller_leader', '1 while this replica leads. The sum over all replicas is 1.'),
  leaderChanges: counter('ipvs_operator_controller_leader_changes_total', 'How often this replica became the leader or ceased to be it.'),
};

/** Kinds of agent/operation.ts; a test compares. */
const OPERATIONS = [
  'addService', 'setService', 'delService', 'addDestination', 'setDestination', 'delDestination', 'setTimeouts', 'startSync', 'stopSync',
  'addTunnel', 'delTunnel', 'linkUp', 'addAddress', 'delAddress', 'addLocalRoute', 'addFou', 'delFou', 'setSysctl', 'setRules', 'announce',
] as const;

/** What names a service of the kernel. `port` is 'first-last' for a range, and the mark stands for it in the kernel. */
const SERVICE = { namespace: null, name: null, address: null, port: null, protocol: null } as const;

export const AGENT_METRICS = {
  reconciles: counter('ipvs_operator_agent_reconciles_total', 'Reconciles done, by how much they looked at.',
    { extent: ['changes', 'node', 'full'], result: RESULTS }),
  reconcileDuration: histogram('ipvs_operator_agent_reconcile_duration_seconds', 'How long a reconcile took.', { extent: ['changes', 'node', 'full'] }),
  operations: counter('ipvs_operator_agent_operations_total', 'Changes made to the kernel.', { kind: OPERATIONS }),
  failures: counter('ipvs_operator_agent_operation_failures_total', 'Changes that the kernel refused, by the code of docs/errors.md.', { code: null }),
  drifts: counter('ipvs_operator_agent_drifts_total', 'How often something of ours had been changed by somebody else and was put right.'),
  settled: gauge('ipvs_operator_agent_settled', '1 when all that is asked for is in the kernel.'),
  programs: gauge('ipvs_operator_agent_programs', 'Programs of this node: applied whole, or not.', { state: ['applied', 'failed'] }),
  ownedVips: gauge('ipvs_operator_agent_owned_vips', 'VIPs that this node holds as a director.'),
  boundVips: gauge('ipvs_operator_agent_bound_vips', 'VIPs that this node receives for as a real server.'),
  ownerChanges: counter('ipvs_operator_agent_vip_changes_total', 'VIPs taken over and given up.', { change: ['claimed', 'lost'] }),
  probeConflicts: counter('ipvs_operator_agent_vip_probe_conflicts_total', 'VIPs not claimed because somebody else answered for them.'),
  announcements: counter('ipvs_operator_agent_announcements_total', 'VIPs announced to the network, by gratuitous ARP or neighbour advertisement.',
    { result: RESULTS }),
  foreign: gauge('ipvs_operator_agent_foreign', 'What is not ours and stands where ours should; it is left alone.',
    { what: ['services', 'destinations', 'addresses'] }),
  healthTargets: gauge('ipvs_operator_health_targets', 'Targets that are checked: equal checks of one real server are one, however many services share it.'),
  healthChecks: counter('ipvs_operator_health_checks_total', 'Finished health checks, by type and by what came of them (docs/health-checks.md).',
    { type: null, result: null }),
  healthLateness: counter('ipvs_operator_health_late_seconds_total', 'How late checks began, all together; divided by the number of checks, the mean.'),
  healthMissed: counter('ipvs_operator_health_missed_total', 'Checks that never were because the one before took too long, or the node was busy.'),
  healthTurns: counter('ipvs_operator_health_turns_total', 'How often a real server went from up to down or back.'),
  snapshot: gauge('ipvs_operator_agent_snapshot_in_use', '1 while the API server is away and the node is served from the snapshot.'),
  connections: counter('ipvs_operator_service_connections_total', 'Connections that IPVS scheduled, as the kernel counts them.', SERVICE),
  packets: counter('ipvs_operator_service_packets_total',
    'Packets of a service. Out is seen with NAT only: in DR and TUN answers do not pass the director.', { ...SERVICE, direction: null }),
  bytes: counter('ipvs_operator_service_bytes_total', 'Bytes of a service.', { ...SERVICE, direction: null }),
};

/** Chapters of docs/metrics.md. */
export const CATALOGUES = [
  { title: 'Agent', about: 'Every node where it runs.', metrics: AGENT_METRICS },
  { title: 'Controller', about: 'Each replica; all but the leader idle.', metrics: CONTROLLER_METRICS },
  { title: 'Connection to the API server', about: 'Agent and controller.', metrics: KUBE_METRICS },
  { title: 'Process', about: 'Agent and controller.', metrics: { ...PROCESS_METRICS, ...OWN_METRICS } },
] as const;
