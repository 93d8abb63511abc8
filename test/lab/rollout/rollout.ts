// One rollout with or without kills, on a fleet that stands: steps in a drawn order with drawn pauses, victims killed beside them.
// It does and waits; what must be true afterwards is the scenario's (scenarios/cluster-kill.ts).

import type { Daemon, Lab } from '../lab.ts';
import type { Operator } from '../operator.ts';
import { between, shuffled, type Random } from '../random.ts';
import type { VipWatch } from '../vip-watch.ts';
import { directors, realServers, rollout, vips, type Variant } from './fleet-services.ts';
import type { Kill } from './kills.ts';
import type { Kubelet } from './kubelet.ts';

export interface Fleet {
  readonly lab: Lab;
  readonly operator: Operator;
  readonly kubelet: Kubelet;
  readonly watch: VipWatch;
}

/** A step that fails for so long is no accident of a kill any more. Milliseconds. */
const STEP_MS = 120_000;

/** How many steps a rollout has. */
export const STEPS = rollout('A', 1).flat().length;

/** Resolves when every step is done and every victim runs again; nothing need be settled. */
export async function rollOut({ lab, operator, kubelet, watch }: Fleet, from: Variant, round: number, next: Random, kills: readonly Kill[]): Promise<void> {
  const steps = shuffled(next, rollout(from, round)).flat();
  let done = 0;
  const waiting: { step: number; go: () => void }[] = [];
  const after = (step: number): Promise<void> => new Promise((go) => { waiting.push({ step, go }); });
  const killing = kills.map(async (kill) => {
    await after(kill.afterStep);
    await lab.sleep(kill.delayMs);
    await killOne({ lab, operator, kubelet, watch }, kill);
  });
  const step = async (): Promise<void> => {
    for (const { step, go } of waiting) if (step === done) go();
    const { what, run } = steps[done]!;
    lab.log(`step ${done + 1}: ${what}`);
    await lab.eventually(async () => {
      try {
        await run(operator.cluster);
      } catch (error) {
        // Each try is a TLS handshake, and an API server that is coming back needs the CPU.
        await lab.sleep(1_000);
        throw error;
      }
    }, { withinMs: STEP_MS, what });
    done++;
    await lab.sleep(between(next, 0, 600));
  };
  const stepping = async (): Promise<void> => { while (done < steps.length) await step(); };
  await Promise.all([stepping(), ...killing]);
}

async function killOne({ lab, operator, kubelet, watch }: Fleet, { victim, which, downMs }: Kill): Promise<void> {
  const { cluster, agents } = operator;
  if (victim === 'apiserver' || victim === 'etcd') {
    lab.log(`kill -9 ${victim}, for ${downMs} ms`);
    await cluster.kill(victim);
    await lab.sleep(downMs);
    await cluster.start(victim);
    lab.log(`${victim} is back`);
    return;
  }
  const [name, daemon] = chosen();
  lab.log(`kill -9 ${name}, for ${downMs} ms`);
  await kubelet.kill(daemon, downMs);

  function chosen(): [string, Daemon] {
    // Nobody leads while the API server is away for long; then any of them is a victim.
    if (victim === 'controller') return ['the controller', operator.leader() ?? operator.controllers[which % operator.controllers.length]!];
    const [owner] = watch.holders(Object.values(vips)[which % Object.values(vips).length]!);
    const all = victim === 'owner' ? [owner!] : (victim === 'director' ? directors : realServers).map((n) => n.name).filter((n) => n !== owner);
    const node = all[which % all.length]!;
    return [`the agent of ${node} (${victim})`, agents[node]!];
  }
}
