/**
 * Loads the schedulers that the kernel must not load by itself. NEW_SERVICE and SET_SERVICE call modprobe while they hold the
 * IPVS mutex. ip_vs_lblc and ip_vs_lblcr register per-namespace operations when they are loaded, for which they wait until no
 * network namespace is being torn down; and the teardown of a namespace waits for the IPVS mutex. So a service with such a
 * scheduler, added while a container ends, can hang IPVS and the teardown of namespaces until the next boot (seen on 6.1).
 * Loaded before, without the mutex, they are harmless. The other schedulers register nothing and are left to the kernel.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Schedulers that register per-namespace operations. */
const HAZARDOUS: ReadonlySet<string> = new Set(['lblc', 'lblcr']);
/** modprobe takes some 50 ms. */
const MODPROBE_TIMEOUT_MS = 10_000;

/** How a module is looked for and loaded; for tests. */
export interface ModuleAccess {
  exists(path: string): boolean;
  modprobe(module: string): void;
}

const HOST: ModuleAccess = {
  exists: existsSync,
  modprobe: (module) => { execFileSync('modprobe', ['-q', '--', module], { stdio: 'ignore', timeout: MODPROBE_TIMEOUT_MS }); },
};

/** Makes schedulers safe to name in a service. Remembers those that are. */
export class SchedulerLoader {
  readonly #access: ModuleAccess;
  readonly #safe = new Set<string>();

  constructor(access: ModuleAccess = HOST) { this.#access = access; }

  /**
   * Whether a service with this scheduler may be sent. Loads the module first where the kernel must not; synchronous, once a
   * scheduler. False: it is not there and modprobe could not load it.
   */
  ready(scheduler: string): boolean {
    if (!HAZARDOUS.has(scheduler) || this.#safe.has(scheduler)) return true;
    if (!this.#loaded(scheduler)) {
      try {
        this.#access.modprobe(`ip_vs_${scheduler}`);
      } catch {
        // No such module, no modprobe, no permission: what counts is whether the scheduler is there now.
      }
    }
    if (!this.#loaded(scheduler)) return false;
    this.#safe.add(scheduler);
    return true;
  }

  /** Whether a module was loaded by anybody: what the kernel lacked before it has now. What is built in was there from the start. */
  isLoaded(module: string): boolean { return this.#access.exists(`/sys/module/${module}`); }

  /** Each of them has a sysctl of its own as soon as it is there, as a module or built in. */
  #loaded(scheduler: string): boolean { return this.#access.exists(`/proc/sys/net/ipv4/vs/${scheduler}_expiration`); }
}
