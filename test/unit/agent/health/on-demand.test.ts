/** Checks are there when somebody asks for them, and there again after something went wrong with them. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { HealthOnDemand } from '../../../../src/agent/health/on-demand.ts';
import type { SocketEvent, Sockets } from '../../../../src/kernel/net/sockets.ts';
import type { ProgramHealthCheck } from '../../../../src/api/v1alpha1/program.ts';
import { facts, makeKernel, program, silent } from '../setup.ts';

const check: ProgramHealthCheck = { type: 'TCP', port: 0, path: 'Direct', periodSeconds: 1, timeoutSeconds: 1, riseCount: 1, fallCount: 1, onFailure: 'Quiesce', panicThresholdPercent: 0 };
const checked = program({ realServers: ['10.0.1.21|80|1|'], healthCheck: check });

/** Sockets on which everybody refuses, and how often somebody was asked. */
class Refusing implements Sockets {
  asked = 0;
  broken = false;
  #events: SocketEvent[] = [];
  open(): number {
    if (this.broken) throw new Error('out of order');
    this.asked += 1;
    this.#events.push({ fd: 100 + this.asked, writable: true, readable: true, error: 111 });
    return 100 + this.asked;
  }
  take(): SocketEvent[] { return this.#events.splice(0); }
  send(): number { return -11; }
  receive(): number { return -11; }
  release(): void {}
  close(): void {}
  end(): void {}
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 60_000; !holds();) {
    if (performance.now() > end) throw new Error(`not within 60 s: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 10); });
  }
}

test('checks that could not begin, or ended because something was wrong with them, begin anew with everything that is followed', async (t) => {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const made: Refusing[] = [];
  let opens = 0;
  const health = new HealthOnDemand({
    node: 'n1', log: silent, now: () => performance.now(), signal: stop.signal, onChange: () => {}, retryMs: 50,
    open: () => {
      if (++opens === 1) throw new Error('EMFILE');
      made.push(new Refusing());
      return made.at(-1)!;
    },
  });
  const index = facts(makeKernel());
  health.follow('default/shop', program(), index, new Map());
  assert.equal(opens, 0, 'nobody asks for checks: nothing is loaded');
  const weightOf = (): number | null | undefined => [...health.weights(checked, index).byServer.values()][0]?.weight;
  health.follow(checked.owner, checked, index, new Map());
  await until('it is checked after all', () => (made[0]?.asked ?? 0) > 0);
  await until('and found down', () => weightOf() === 0);
  made[0]!.broken = true;
  await until('others check', () => (made[1]?.asked ?? 0) > 0);
  await until('and find it down', () => weightOf() === 0);
  stop.abort();
  await health.ended;
});
