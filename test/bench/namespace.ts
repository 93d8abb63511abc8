// Network namespaces for samples: fresh ones, because deleted real servers slow a namespace down for two minutes; and away
// with them, because the kernel's table of services is one for all namespaces. Inside a guest only.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Services hold a reference to their scheduler's module. */
const SCHEDULER_MODULES = ['ip_vs_rr', 'ip_vs_mh'];
/** The kernel takes a namespace down in the background; 10,000 services take it half a second. */
const GONE_WITHIN_MS = 60_000;

let made = 0;

/** Adds a namespace with `lo` up and returns its name. */
export function addNamespace(): string {
  const name = `bench${made++}`;
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return name;
}

/** Removes a namespace and waits until its services, if they were the last, are gone. */
export async function dropNamespace(name: string, lastOne = true): Promise<void> {
  execFileSync('ip', ['netns', 'del', name]);
  const deadline = performance.now() + GONE_WITHIN_MS;
  while (lastOne && servicesLeft()) {
    if (performance.now() > deadline) throw new Error(`namespace ${name} does not go away`);
    await sleep(50);
  }
}

function servicesLeft(): boolean {
  return SCHEDULER_MODULES.map((module) => `/sys/module/${module}/refcnt`).some((file) => existsSync(file) && Number(readFileSync(file, 'utf8')) > 0);
}
