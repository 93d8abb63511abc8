/**
 * `ipvs-operator agent`: the process on every node of a cluster. Opens the state folder, the kernel and the connection to the API server, and
 * runs until it is told to stop. Stopping leaves the kernel forwarding and the Lease as it is: whoever comes back in time loses nothing.
 */
import { release } from 'node:os';
import type { Logger } from 'pino';
import { openIpvs } from '../../kernel/ipvs/client.ts';
import { openNet } from '../../kernel/net/client.ts';
import { probe } from '../../kernel/net/probe.ts';
import { createClient } from '../../kube/client.ts';
import { inClusterCredentials, type Credentials } from '../../kube/credentials.ts';
import { EventRecorder } from '../../kube/events.ts';
import { Transport } from '../../kube/transport.ts';
import { openLog } from '../../observe/log.ts';
import { createMetrics } from '../../observe/metrics.ts';
import { serveHealth } from '../../observe/server.ts';
import { Agent } from '../agent.ts';
import type { Kernel } from '../apply.ts';
import { Footprint, growUpTo, optimize } from '../footprint.ts';
import { HealthOnDemand } from '../health/on-demand.ts';
import { Loop } from '../loop.ts';
import { StateFolder } from '../state-folder.ts';
import { ClusterHost } from './host.ts';
import { agentMetrics } from './metrics.ts';
import { readAgentOptions, type AgentCommandOptions } from './options.ts';

/** Resyncs without a report until the process counts as stuck; never less than STUCK_MS. Milliseconds. */
const STUCK_RESYNCS = 12;
const STUCK_MS = 120_000;
/** With more programs than that, compiling the agent's own code is worth its memory. */
const FEW_PROGRAMS = 50;
/**
 * And then garbage has so much room before it is collected, for each program: with more of them more is alive at a time, and what gets old
 * costs a pause of 100 ms. Node's own bound is 48 MB.
 */
const YOUNG_BYTES = 8 * 2 ** 10;
/** For what is still to be written to the API server when the process ends. Milliseconds. */
const LAST_WORDS_MS = 1_000;
/** How long a VIP that nobody wants any more resets connections. Whoever gets it next waits for that, so not long. */
const PARTING_MS = 3_000;

export async function agent(args: readonly string[], signal: AbortSignal, version: string): Promise<number> {
  const options = readAgentOptions(args);
  const log = openLog(options.logLevel, { component: 'agent', node: options.node });
  const credentials = await credentialsOf(options);
  const folder = StateFolder.open(options.state);
  const kernel: Kernel = { ipvs: openIpvs(), net: openNet() };
  const transport = new Transport(credentials, { userAgent: `ipvs-operator-agent/${version} ${options.node}`, log });
  try {
    log.info({ version, state: options.state, server: credentials.source }, 'started');
    await serve({ options, kernel, folder, transport, log, version, signal });
    log.info('stopped; the kernel keeps forwarding');
    return 0;
  } finally {
    transport.close();
    kernel.ipvs.close();
    kernel.net.close();
    folder.close();
  }
}

interface Parts {
  readonly options: AgentCommandOptions;
  readonly kernel: Kernel;
  readonly folder: StateFolder;
  readonly transport: Transport;
  readonly log: Logger;
  readonly version: string;
  readonly signal: AbortSignal;
}

async function serve({ options, kernel, folder, transport, log, version, signal }: Parts): Promise<void> {
  const { node, namespace } = options;
  const stuckMs = Math.max(STUCK_MS, STUCK_RESYNCS * options.resyncSeconds * 1000);
  const now = () => performance.now();
  const client = createClient(transport);
  const metrics = createMetrics({ onError: (err) => log.warn({ err }, 'metrics') });
  const counters = agentMetrics(metrics, version);
  const events = new EventRecorder({ client, reportingController: 'ipvs-operator.dev/agent', reportingInstance: node, clock: Date.now, log });
  const footprint = new Footprint();
  const checks = new HealthOnDemand({ node, log, now, signal, onChange: () => loop.trigger('changes') });
  const worker = new Agent(kernel, folder, {
    node, role: 'auto', labels: { 'kubernetes.io/hostname': node }, clock: Date.now, log, adoptMarked: true, health: checks, partingMs: PARTING_MS,
  });
  const host = new ClusterHost({
    node, namespace, client, agent: worker, net: kernel.net, probe, folder, events, log, clock: Date.now, now, random: Math.random, version, kernel: release(),
    lingerMs: options.bindLingerSeconds * 1000, health: () => checks.watch,
  });
  const loop = new Loop({
    agent: worker, net: kernel.net, log, now, fullEveryMs: options.resyncSeconds * 1000,
    onReport: (report, error, pass) => {
      if (report === null || report.operations > 0) footprint.worked();
      counters.pass(report, pass);
      if (host.assignment.programs.size > FEW_PROGRAMS) {
        optimize();
        growUpTo(host.assignment.programs.size * YOUNG_BYTES);
      }
      host.report(report, error);
    },
  });
  counters.watch(host, worker, () => checks.watch, () => loop, kernel.ipvs, now, signal);
  const health = await serveHealth({ listen: options.listen, metrics, live: () => host.notLive(stuckMs), ready: () => host.notReady(), log, signal });
  let reconciling: Promise<void> | null = null;
  footprint.watch(signal);
  await host.run(signal, () => {
    host.loop = loop;
    if (host.assignment.programs.size > FEW_PROGRAMS) optimize();
    reconciling = loop.run(signal);
  });
  await reconciling;
  await checks.ended;
  host.flush();
  await events.flush(AbortSignal.timeout(LAST_WORDS_MS));
  await health.closed;
}

async function credentialsOf({ kubeconfig }: AgentCommandOptions): Promise<Credentials> {
  // Only who needs it loads a YAML parser.
  return kubeconfig === null ? inClusterCredentials() : (await import('../../kube/kubeconfig-file.ts')).kubeconfigFileCredentials(kubeconfig);
}
