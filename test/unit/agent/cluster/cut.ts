/** A cable that is pulled between one node of a test and everything else. */
import type { KubeClient, WatchEvent } from '../../../../src/kube/client.ts';
import { ApiError } from '../../../../src/kube/errors.ts';
import { AbortError, onAbort } from '../../../../src/kube/wait.ts';

/** A node that can be cut off. What it watched then is as good as dead afterwards, too: nobody tells a connection that the other side gave up. */
export class Cut {
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
