/** What each command of this room says of itself: apart from its code, which who only asks for help need not load. */
import { DEFAULT_STATE } from '../standalone/options.ts';

const MANIFEST_OPTIONS_USAGE = `  --namespace NAME  namespace of the VirtualServers (default: default)
  --pool NAME       name of the VIPPool that admits exactly these addresses (default: imported)
`;

export const PLAN_USAGE = `ipvs-operator plan --manifests DIR [--state DIR] [--node NAME] [--role ROLE] [--label K=V] [-o json]

Prints what standalone would change on this host, and changes nothing.
Exit code: 0 nothing to change, 2 something to change, 1 something asked for cannot be done (said on stderr).`;

export const PREFLIGHT_USAGE = `ipvs-operator preflight [--manifests DIR] [--state DIR] [--node NAME] [--role ROLE] [--label K=V] [-o json]

Looks whether this host has what it takes (modules, permissions, settings), and who else works on IPVS here. Changes nothing.
With --manifests: what these manifests need of this host, and which settings they would change. Without: everything there is.

  --state DIR   state folder of standalone, which tells what is ours (default ${DEFAULT_STATE})
  -o json       for programs

Exit code: 0 nothing stands in the way (there may be warnings), 1 something does.`;

export const STATUS_USAGE = `ipvs-operator status [--state DIR] [-o json] [NAME]

Shows what standalone last reported about this host, with the kernel's connection counters where they may be read (root).
With NAME (shop or default/shop): one VirtualServer, its conditions and its real servers.

  --state DIR   state folder of standalone (default ${DEFAULT_STATE})
  -o json       for programs

Exit code: 0 ok, 1 not ok, 3 there is no status.`;

export const EXPLAIN_USAGE = `ipvs-operator explain NAMESPACE/NAME [options]

Follows one VirtualServer of a cluster from its spec to the kernel of each director, and says where it stops, why, and what to run.
Changes nothing. What you may not read is named, and the rest is looked at all the same.

  -n, --namespace NAME      when only a NAME is given (default that of the kubeconfig's context)
  --kubeconfig FILE         as kubectl has it: $KUBECONFIG, the pod's service account, ~/.kube/config
  --context NAME            of the kubeconfig
  --system-namespace NAME   where the operator runs (default $POD_NAMESPACE, as in the pod of a controller, or ipvs-system)
  -o json                   for programs

Exit code: 0 clients are served, 1 they are not, 2 it cannot be told.`;

export const SAVE_USAGE = `ipvs-operator save [-o ipvsadm|yaml]

Prints the IPVS table of this host (this network namespace), whoever made it. Changes nothing.

  -o ipvsadm        as ipvsadm-save -n, with the thresholds that ipvsadm-save forgets (default); for ipvsadm -R
  -o yaml           as VirtualServer and VIPPool manifests, for ipvs-operator standalone
${MANIFEST_OPTIONS_USAGE}
Exit code: 0 all of it, 1 something is left out (said on stderr and on top of the YAML) or cannot be read.`;

export const IMPORT_USAGE = `ipvs-operator import [FILE|-]

Reads what ipvsadm-save -n wrote (FILE, or stdin) and prints VirtualServer and VIPPool manifests that say the same.

${MANIFEST_OPTIONS_USAGE}
Exit code: 0 all of it, 1 something that manifests cannot say is left out (said on stderr and on top of the YAML),
2 the text cannot be read (each line with its number on stderr; nothing is printed).

A first start of standalone, without a state folder, adopts the services that it finds in the kernel and the manifests name:
  ipvsadm-save -n | ipvs-operator import > /etc/ipvs/imported.yaml && ipvs-operator plan --manifests /etc/ipvs`;
