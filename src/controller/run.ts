/**
 * `ipvs-operator controller`: the process. Caches from the start, so that a new leader begins warm; decisions only while it leads; and
 * when the Lease is lost the process ends, for a half leader is worse than none.
 */
import { createClient } from '../kube/client.ts';
import { EventRecorder } from '../kube/events.ts';
import { loadKubeConfig } from '../kube/kubeconfig.ts';
import { LeaderElection } from '../kube/lease.ts';
import { Transport } from '../kube/transport.ts';
import { openLog } from '../observe/log.ts';
import { createMetrics } from '../observe/metrics.ts';
import { serveHealth } from '../observe/server.ts';
import { Controller } from './controller.ts';
import { controllerMetrics } from './metrics.ts';
import { CONTROLLER_LEASE, readControllerOptions } from './options.ts';
import { transitions } from './transitions.ts';
import { World } from './world.ts';

/** A pass that neither ends nor writes anything for so long is stuck. Milliseconds. */
const STUCK_MS = 120_000;

/** `worked` is called with each write: memory is given back when there was none for a while. */
export async function controller(args: readonly string[], signal: AbortSignal, version: string, worked: () => void = () => {}): Promise<number> {
  const options = readControllerOptions(args);
  const { namespace, identity } = options;
  const log = openLog(options.logLevel, { component: 'controller', identity });
  const now = () => performance.now();
  const credentials = await loadKubeConfig({
    ...(options.kubeconfig === null ? {} : { path: options.kubeconfig }),
    ...(options.context === null ? {} : { context: options.context }),
  });
  const transport = new Transport(credentials, { userAgent: `ipvs-operator-controller/${version}`, log });
  const client = createClient(transport);
  const metrics = createMetrics({ onError: (err) => log.warn({ err }, 'metrics') });
  const counters = controllerMetrics(metrics, version);
  const recorder = new EventRecorder({ client, reportingController: 'ipvs-operator.dev/controller', reportingInstance: identity, clock: Date.now, log });
  // The world wakes the controller, which is made of it.
  const wake = { call: () => {} };
  const world = new World({ client, namespace, log, now, random: Math.random, wake: () => wake.call() });
  const control = new Controller({
    client, world, log, now, clock: Date.now, writesPerSecond: options.writesPerSecond, onPass: counters.pass,
    count: (kind, verb, ok) => { worked(); counters.count(kind, verb, ok); },
    onTransition: (server, before, after) => { for (const t of transitions(before, after)) recorder.record({ ...t, regarding: server }); },
  });
  wake.call = () => control.wake();
  counters.watch(world, control, now);
  const live = () => {
    const silentMs = now() - (control.silentSince ?? now());
    return silentMs > STUCK_MS ? `the reconcile that runs has written nothing for ${Math.round(silentMs / 1000)} s` : null;
  };
  const ready = () => (world.synced ? null : `waiting for ${world.missing.join(', ')}`);
  const health = await serveHealth({ listen: options.listen, metrics, live, ready, log, signal });
  // The caches live longer than the leading: both end with the process.
  const ended = new AbortController();
  const running = AbortSignal.any([signal, ended.signal]);
  const caches = world.run(running);
  log.info({ namespace, version, server: credentials.source }, 'started');
  let outcome: 'stopped' | 'lost' | 'failed' = 'stopped';
  if (options.leaderElection) {
    const election = new LeaderElection({
      client, namespace, name: CONTROLLER_LEASE, identity, now, wallClock: Date.now, log,
      onStartedLeading: (leading) => { counters.leads(true); return control.run(leading); },
      onStoppedLeading: () => counters.leads(false),
    });
    outcome = await election.run(signal);
  } else {
    counters.leads(true);
    await control.run(signal);
  }
  await recorder.flush(AbortSignal.timeout(2_000));
  ended.abort();
  await caches;
  transport.close();
  if (signal.aborted) await health.closed;
  log.info({ outcome }, 'stopped');
  return outcome === 'stopped' ? 0 : 1;
}
