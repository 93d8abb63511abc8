/**
 * Command-line options of `standalone`, `plan` and everything else that works on a folder and a host. Wrong options end the program
 * before it does anything, with the option by name and what to give instead.
 */
import { hostname } from 'node:os';
import type { RoleChoice } from '../agent/facts.ts';
import { LOG_LEVELS, UsageError, readArguments, readLogLevel } from '../usage.ts';

export interface StandaloneOptions {
  readonly manifests: string;
  readonly state: string;
  readonly node: string;
  readonly role: RoleChoice;
  readonly labels: Readonly<Record<string, string>>;
  readonly once: boolean;
  readonly cleanup: boolean;
  /** How often everything is read back and compared. */
  readonly resyncSeconds: number;
  readonly logLevel: string;
}

export const DEFAULT_STATE = '/var/lib/ipvs-operator';
const DEFAULT_RESYNC = 10;
const ROLES: readonly RoleChoice[] = ['director', 'real-server', 'both', 'auto'];

export const STANDALONE_USAGE = `ipvs-operator standalone --manifests DIR [options]

Makes this host what the manifests in DIR say: director, real server, or both.

  --manifests DIR   folder with VirtualServer, VIPPool and DirectorGroup manifests
  --state DIR       ledger and snapshot (default ${DEFAULT_STATE})
  --node NAME       this host's name in DirectorGroup selectors (default: the hostname)
  --label K=V       a node label, for DirectorGroup selectors; may be repeated
  --role ROLE       director | real-server | both | auto (default auto)
  --once            apply, verify, and exit: 0 only when everything asked for is in the kernel
  --cleanup         remove exactly what is ours, restore the sysctls, and exit
  --resync SECONDS  how often everything is read back and compared with the manifests (default ${DEFAULT_RESYNC})
  --log-level L     ${LOG_LEVELS.join(' | ')} (default info)

SIGTERM ends it and leaves the kernel forwarding. SIGHUP, as of a terminal that is closed, does not.`;

/** Reads the options. Throws UsageError. `needManifests` false: the folder is optional (--cleanup, status). */
export function readOptions(args: readonly string[], needManifests = true): StandaloneOptions {
  const { values } = readArguments({
    args: [...args], strict: true, allowPositionals: false,
    options: {
      manifests: { type: 'string' }, state: { type: 'string' }, node: { type: 'string' }, label: { type: 'string', multiple: true }, role: { type: 'string' },
      once: { type: 'boolean' }, cleanup: { type: 'boolean' }, resync: { type: 'string' }, 'log-level': { type: 'string' },
    },
  });
  const role = values.role ?? 'auto';
  if (!ROLES.includes(role as RoleChoice)) throw new UsageError(`--role ${role}: must be one of ${ROLES.join(', ')}`);
  const resyncSeconds = Number(values.resync ?? DEFAULT_RESYNC);
  if (!Number.isInteger(resyncSeconds) || resyncSeconds < 1 || resyncSeconds > 3600) {
    throw new UsageError(`--resync ${values.resync}: must be a whole number of seconds from 1 to 3600`);
  }
  const logLevel = readLogLevel(values['log-level']);
  if (needManifests && !values.cleanup && !values.manifests) throw new UsageError('--manifests DIR is missing: the folder with the manifests');
  const node = values.node ?? hostname();
  return {
    manifests: values.manifests ?? '', state: values.state ?? DEFAULT_STATE, node, role: role as RoleChoice,
    labels: { 'kubernetes.io/hostname': node, ...Object.fromEntries((values.label ?? []).map(readLabel)) },
    once: values.once ?? false, cleanup: values.cleanup ?? false, resyncSeconds, logLevel,
  };
}

/** The same for a `command` that only looks: what would make standalone do something is not its to take. Throws UsageError. */
export function readLookOptions(command: string, args: readonly string[], needManifests = true): StandaloneOptions {
  const options = readOptions(args, needManifests);
  if (options.once || options.cleanup) throw new UsageError(`${options.once ? '--once' : '--cleanup'}: ${command} only looks and changes nothing; it is an option of standalone`);
  return options;
}

function readLabel(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`--label ${text}: must be KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}
