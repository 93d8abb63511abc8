/** A director that was cut off from everything, lost its VIPs to another one meanwhile, and is back: as soon as it can hear, it hears. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../../../../src/kube/errors.ts';
import type { KubeClient, WatchEvent } from '../../../../src/kube/client.ts';
import { AbortError, onAbort } from '../../../../src/kube/wait.ts';
import { BenchNode, ClusterBench, neighbour, until } from './bench.ts';

const VIP = '10.0.1.200';

/** A node that can be cut off. What it watched then is as good as dead afterwards, too: nobody tells a connection that the other side gave up. */
class Cut {
  #off = false;
  #times = 0;

  get off(): boolean { return this.#off; }
  set off(off: boolean) {
    this.#off = off;
    if (off) this.#times++;
  }

  client(client: KubeClient): KubeClient {
    const cut = this;
    const refuse = () => { if (this.#off) throw new ApiError({ code: 'UNREACHABLE', message: 'cut off', verb: 'GET', path: '' }); };
    const gated = Object.entries(client).map(([name, call]) => [name, async (...args: unknown[]) => { refuse(); return await (call as (...a: unknown[]) => unknown)(...args); }]);
    return {
      ...Object.fromEntries(gated) as KubeClient,
      watch: async function* (resource, options): AsyncGenerator<WatchEvent> {
        refuse();
        const times = cut.#times;
        for await (const event of client.watch(resource, options)) {
          if (cut.#times !== times) {
            await new Promise<void>((resolve) => { onAbort(options.signal, resolve); });
            throw new AbortError(options.signal!);
          }
          yield event;
        }
      },
    };
  }
}

test('a director that was cut off and lost its VIPs lets go of them as soon as its Lease is renewed, and who has them says so again', async (t) => {
  const bench = await ClusterBench.start(t);
  const cut = new Cut();
  const nodes: BenchNode[] = [];
  const surroundings = {
    log: bench.log,
    answerFor: (address: string, asker: BenchNode) => neighbour(nodes.filter((n) => !(cut.off && n.name === 'n1')), address, asker),
    connect: () => { const { client, close } = bench.connect(); return { client: cut.client(client), close }; },
  };
  const n1 = new BenchNode(surroundings, t, 'n1');
  const n2 = new BenchNode({ ...surroundings, connect: () => bench.connect() }, t, 'n2');
  nodes.push(n1, n2);
  n2.kernel.net.links = n2.kernel.net.links.map((l) => (l.name === 'e0' ? { ...l, mac: '02:00:00:00:00:02' } : l));
  bench.group();
  bench.program();
  bench.tell('n1');
  n1.start();
  await until('n1 has it', () => n1.has(VIP, 'e0'));
  bench.tell('n2');
  n2.start();
  await until('n2 stands by', () => n2.services().length === 1 && bench.server.cluster.all('/apis/coordination.k8s.io/v1/leases').length === 2);

  cut.off = true;
  await until('n2 has taken it', () => n2.has(VIP, 'e0'));
  assert.ok(n1.has(VIP, 'e0'), 'n1 has not heard of it');
  const announced = () => n2.kernel.log.filter((o) => o.kind === 'announce').length;
  // The first, and its repeats.
  await until('n2 has said so', () => announced() >= 3);
  const before = announced();
  bench.program({ realServers: ['10.0.1.29'] });
  cut.off = false;
  await until('n1 has let go of it', () => !n1.has(VIP, 'e0'));
  assert.equal(bench.vipStatus(VIP).activeNode, 'n2');
  await until('n1 knows the real servers of today', () => n1.kernel.ipvs.services.get(`TCP ${VIP}:80`)!.destinations.has('10.0.1.29:80'));
  // By itself it does so once a minute.
  await until('n2 said it again, to whoever believed n1', () => announced() >= before + 2);
});
