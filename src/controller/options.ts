/**
 * Command-line options of `controller`. Wrong ones end the program before it does anything, with the option by name and what to give instead.
 */
import { hostname } from 'node:os';
import { listenProblem } from '../observe/listen.ts';
import { UsageError, readArguments, readLogLevel } from '../usage.ts';

/** Name of the Lease that makes one of several controllers the leader. */
export const CONTROLLER_LEASE = 'ipvs-operator-controller';

/** Of its health port: beside an agent's on one host. */
export const CONTROLLER_LISTEN = '127.0.0.1:9821';

export interface ControllerCommandOptions {
  readonly namespace: string;
  readonly kubeconfig: string | null;
  readonly context: string | null;
  readonly identity: string;
  readonly listen: string;
  readonly leaderElection: boolean;
  readonly writesPerSecond: number;
  readonly logLevel: string;
}

export const CONTROLLER_USAGE = `ipvs-operator controller [options]

Gives VirtualServers their addresses, compiles them to programs for directors, and reports their status. Runs in a cluster, once or several
times: one of them leads.

  --namespace NAME       where its own Lease and those of the directors are (default $POD_NAMESPACE or ipvs-system)
  --kubeconfig FILE      instead of the pod's service account
  --context NAME         of the kubeconfig
  --listen HOST:PORT     /metrics, /livez and /readyz (default ${CONTROLLER_LISTEN})
  --no-leader-election   lead at once: only where there can be no second one
  --writes-per-second N  at most so many writes to the API server, after a burst of 1000 (default 250)
  --log-level L          trace | debug | info | warn | error | fatal | silent (default info)`;

/** Throws UsageError. */
export function readControllerOptions(args: readonly string[], env: Readonly<Record<string, string | undefined>> = process.env): ControllerCommandOptions {
  const { values } = readArguments({
    args: [...args], strict: true, allowPositionals: false,
    options: {
      namespace: { type: 'string' }, kubeconfig: { type: 'string' }, context: { type: 'string' }, listen: { type: 'string' },
      'no-leader-election': { type: 'boolean' }, 'writes-per-second': { type: 'string' }, 'log-level': { type: 'string' },
    },
  });
  const writesPerSecond = Number(values['writes-per-second'] ?? 250);
  if (!Number.isFinite(writesPerSecond) || writesPerSecond < 1 || writesPerSecond > 100_000) {
    throw new UsageError(`--writes-per-second ${values['writes-per-second']}: must be a number from 1 to 100000`);
  }
  const logLevel = readLogLevel(values['log-level']);
  const listen = values.listen ?? CONTROLLER_LISTEN;
  const problem = listenProblem(listen);
  if (problem !== null) throw new UsageError(problem);
  return {
    namespace: values.namespace ?? env['POD_NAMESPACE'] ?? 'ipvs-system', kubeconfig: values.kubeconfig ?? null, context: values.context ?? null,
    // A restarted pod has the same name, and must not take the Lease of its predecessor for its own.
    identity: `${env['POD_NAME'] ?? hostname()}_${process.pid}_${Date.now().toString(36)}`,
    listen, leaderElection: !values['no-leader-election'], writesPerSecond, logLevel,
  };
}
