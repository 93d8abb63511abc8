/**
 * Command-line options of `agent`. Wrong ones end the program before it does anything, with the option by name and what to give instead.
 */
import { listenProblem } from '../../observe/listen.ts';
import { UsageError, readArguments, readLogLevel } from '../../usage.ts';

export interface AgentCommandOptions {
  /** Name of the Node and of its IPVSNode. */
  readonly node: string;
  readonly kubeconfig: string | null;
  readonly state: string;
  /** Where the Leases of directors are. */
  readonly namespace: string;
  readonly resyncSeconds: number;
  readonly bindLingerSeconds: number;
  readonly listen: string;
  readonly logLevel: string;
}

export const AGENT_USAGE = `ipvs-operator agent [options]

Makes this node what the controller tells it: a director, a real server, or both. One on every node, in the network of the host.

  --node NAME           name of this Node (default $NODE_NAME)
  --kubeconfig FILE     instead of the pod's service account
  --state DIR           ledger and snapshot (default /var/lib/ipvs-operator)
  --namespace NAME      where the Leases of directors are (default $POD_NAMESPACE or ipvs-system)
  --resync SECONDS      how often everything is read back and compared (default 10)
  --bind-linger SECONDS how long a VIP stays bound at least after its last real server left this node (default 600)
  --listen HOST:PORT    /metrics, /livez and /readyz (default 127.0.0.1:9822)
  --log-level L         trace | debug | info | warn | error | fatal | silent (default info)

SIGTERM ends it and leaves the kernel forwarding.`;

/** Throws UsageError. */
export function readAgentOptions(args: readonly string[], env: Readonly<Record<string, string | undefined>> = process.env): AgentCommandOptions {
  const { values } = readArguments({
    args: [...args], strict: true, allowPositionals: false,
    options: {
      node: { type: 'string' }, kubeconfig: { type: 'string' }, state: { type: 'string' }, namespace: { type: 'string' }, resync: { type: 'string' },
      'bind-linger': { type: 'string' }, listen: { type: 'string' }, 'log-level': { type: 'string' },
    },
  });
  const node = values.node ?? env['NODE_NAME'] ?? '';
  if (node === '') throw new UsageError('--node NAME is missing, and NODE_NAME is not set: the name of the Node that this agent runs on');
  const logLevel = readLogLevel(values['log-level']);
  const listen = values.listen ?? '127.0.0.1:9822';
  const problem = listenProblem(listen);
  if (problem !== null) throw new UsageError(problem);
  return {
    node,
    kubeconfig: values.kubeconfig ?? null,
    state: values.state ?? '/var/lib/ipvs-operator',
    namespace: values.namespace ?? env['POD_NAMESPACE'] ?? 'ipvs-system',
    resyncSeconds: seconds('--resync', values.resync ?? '10', 1, 3600),
    bindLingerSeconds: seconds('--bind-linger', values['bind-linger'] ?? '600', 0, 86_400),
    listen,
    logLevel,
  };
}

function seconds(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < min || value > max) {
    throw new UsageError(`${option} ${text}: must be a whole number of seconds from ${min} to ${max}`);
  }
  return value;
}
