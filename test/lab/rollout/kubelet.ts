// What a kubelet does for the product's processes: whoever ends by itself is started again. Those that a test killed are its own
// business until it says otherwise.

import type { Daemon, Lab } from '../lab.ts';

export interface Kubelet {
  /** SIGKILL, `downMs` of nothing, and a start. */
  kill(daemon: Daemon, downMs: number): Promise<void>;
  /** How often each ended by itself and was started again. */
  readonly restarts: ReadonlyMap<string, number>;
}

/** How often it looks. Milliseconds. */
const LOOK_MS = 500;

/** Watches processes, by the names under which they are counted, until the scenario ends. */
export function startKubelet(lab: Lab, daemons: Readonly<Record<string, Daemon>>): Kubelet {
  const restarts = new Map<string, number>();
  const killed = new Set<Daemon>();
  const look = async (): Promise<void> => {
    while (!lab.signal.aborted) {
      for (const [name, daemon] of Object.entries(daemons)) {
        if (daemon.running || killed.has(daemon)) continue;
        restarts.set(name, (restarts.get(name) ?? 0) + 1);
        await daemon.start();
      }
      await lab.sleep(LOOK_MS);
    }
  };
  look().catch((error: unknown) => { if (!lab.signal.aborted) throw error; }); // Rejected, it fails the scenario; the end of that is no failure.
  return {
    restarts,
    kill: async (daemon, downMs) => {
      // Two kills may draw the same victim: who is dead already is started by the first.
      if (killed.has(daemon)) return;
      killed.add(daemon);
      await daemon.kill();
      await lab.sleep(downMs);
      await daemon.start();
      killed.delete(daemon);
    },
  };
}
