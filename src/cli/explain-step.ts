/** One step of an explanation, and the commands that its steps send people to. Plain data and pure functions. */
import type { Unread } from './explain-facts.ts';

/** In the order of the way from a spec to the kernels. The names are stable: programs read them with -o json. */
export const STEPS = {
  spec: 'The VirtualServer is there and valid.',
  controller: 'A controller has looked at its newest generation, and one leads.',
  accepted: 'The addresses that it asks for are its own.',
  backend: 'One of spec.backends: it exists, may be used, and offers real servers.',
  excluded: 'Real servers that cannot be used.',
  address: 'One VIP: claimed, and held by a live director.',
  program: 'The compiled program for directors is there, whole.',
  director: 'One director of the group: live, and it runs the program.',
  foreign: 'Something that is not ours stands in the way on that director.',
  node: 'One node with real servers in modes DR and TUN: it receives for the VIPs.',
  weights: 'Weights that the labels of nodes changed.',
  health: 'Real servers pass their health check, as one director sees them.',
  realServers: 'Real servers of the program take new connections.',
  ready: 'What the controller itself says.',
  reading: 'An object that cannot be read.',
} as const;

export type StepName = keyof typeof STEPS;

export interface Step {
  readonly step: StepName;
  /** Which of several: `203.0.113.10`, `edge-1`; '' where there is one. */
  readonly about: string;
  /** null: cannot be told. */
  readonly ok: boolean | null;
  /** Without it clients are not served. Otherwise something is wrong beside the way. */
  readonly needed: boolean;
  readonly text: string;
  /** What to do, a command first; '' when there is nothing to do. */
  readonly fix: string;
}

export function good(step: StepName, about: string, text: string): Step {
  return { step, about, ok: true, needed: true, text, fix: '' };
}

export function wrong(step: StepName, about: string, text: string, fix: string, needed = true): Step {
  return { step, about, ok: false, needed, text, fix };
}

export function unsure(step: StepName, about: string, text: string, fix: string, needed = true): Step {
  return { step, about, ok: null, needed, text, fix };
}

/** What could not be read. */
export function unread(step: StepName, about: string, { why, text, permission }: Unread, needed = true): Step {
  const fix = why === 'forbidden' ? `kubectl auth can-i ${permission}, and ask an administrator for that permission`
    : why === 'noKind' ? 'kubectl apply -f crds/ installs the kinds of this operator'
      : `kubectl ${permission.replace(/^list /, 'get ')}`;
  return unsure(step, about, why === 'forbidden' ? `not looked at, for want of permission to ${permission}` : `not looked at: ${text}`, fix, needed);
}

/** Commands for kubectl. */
export const look = {
  pods: (system: string, component: 'agent' | 'controller') => `kubectl -n ${system} get pods -l app.kubernetes.io/component=${component} -o wide`,
  agentOn: (system: string, node: string) => `${look.pods(system, 'agent')} --field-selector spec.nodeName=${node}`,
  controllerLog: (system: string) => `kubectl -n ${system} logs deploy/ipvs-operator-controller --tail=50`,
  labels: (labels: Readonly<Record<string, string>>) => Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(','),
};

/** `1 real server`, `3 real servers`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}
