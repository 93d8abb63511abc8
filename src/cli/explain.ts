/**
 * `ipvs-operator explain NAMESPACE/NAME`: follows one VirtualServer of a cluster from its spec to the kernel of each director, and says
 * where it stops and why. Reads with the user's own credentials and changes nothing. Reads by explain-read.ts, judges by
 * explain-judge.ts, words by explain-text.ts.
 */
import { createClient } from '../kube/client.ts';
import { ApiError } from '../kube/errors.ts';
import { CredentialsError } from '../kube/credentials.ts';
import { loadKubeConfig } from '../kube/kubeconfig.ts';
import { Transport } from '../kube/transport.ts';
import { isAbort, sleep } from '../kube/wait.ts';
import { UsageError, readArguments } from '../usage.ts';
import { explain, type Explanation } from './explain-judge.ts';
import { readFacts } from './explain-read.ts';
import { conclusion, explanationText } from './explain-text.ts';
import { print, readFormat } from './output.ts';

const EXIT = { served: 0, notServed: 1, unknown: 2 } as const;
const SYSTEM_NAMESPACE = 'ipvs-system';

export async function explainCommand(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments({
    args: [...args], strict: true, allowPositionals: true,
    options: {
      namespace: { type: 'string', short: 'n' }, kubeconfig: { type: 'string' }, context: { type: 'string' }, 'system-namespace': { type: 'string' },
      output: { type: 'string', short: 'o' },
    },
  });
  const format = readFormat(values.output, ['text', 'json']);
  const target = readTarget(positionals, values.namespace);
  try {
    const credentials = await loadKubeConfig({
      ...(values.kubeconfig !== undefined && { path: values.kubeconfig }),
      ...(values.context !== undefined && { context: values.context }),
    });
    const transport = new Transport(credentials, { userAgent: 'ipvs-operator-explain' });
    try {
      const facts = await readFacts(createClient(transport), {
        name: target.name, namespace: target.namespace ?? credentials.namespace ?? 'default', systemNamespace: systemNamespace(values['system-namespace']),
      }, {
        now: () => performance.now(), wallClock: Date.now, sleep, signal,
        onWait: (leases, seconds) => { process.stderr.write(`looking for up to ${seconds} s whether somebody renews ${leases.join(', ')}\n`); },
      });
      const explanation = explain(facts);
      await print(format === 'json' ? `${JSON.stringify({ ...explanation, conclusion: conclusion(explanation) })}\n` : explanationText(explanation));
      return exitOf(explanation);
    } finally {
      transport.close();
    }
  } catch (error) {
    // Whatever it is: 1 would say that it is not served.
    const known = error instanceof ApiError || error instanceof CredentialsError;
    const { message, stack } = error as Error;
    if (!isAbort(error)) process.stderr.write(`ipvs-operator explain: ${known ? `${error.code}: ${message}` : stack ?? message}\n`);
    return EXIT.unknown;
  }
}

/** Where the Leases are. In the pod of a controller its own namespace, which may be any. */
export function systemNamespace(given: string | undefined, env: Readonly<Record<string, string | undefined>> = process.env): string {
  return given ?? (env['POD_NAMESPACE'] || SYSTEM_NAMESPACE);
}

export function exitOf({ served }: Explanation): number {
  return served === null ? EXIT.unknown : served ? EXIT.served : EXIT.notServed;
}

/** Throws UsageError. */
export function readTarget(positionals: readonly string[], namespace: string | undefined): { readonly namespace: string | undefined; readonly name: string } {
  const [text] = positionals;
  if (text === undefined) throw new UsageError('name a VirtualServer: ipvs-operator explain NAMESPACE/NAME');
  if (positionals.length > 1) throw new UsageError(`explain shows one VirtualServer, not ${positionals.length}`);
  const parts = text.split('/');
  if (parts.length > 2 || parts.some((p) => p === '')) throw new UsageError(`${text}: must be NAMESPACE/NAME`);
  if (parts.length === 1) return { namespace, name: text };
  if (namespace !== undefined && namespace !== parts[0]) throw new UsageError(`${text} is not in namespace ${namespace}; leave one of them out`);
  return { namespace: parts[0], name: parts[1]! };
}
