import { describe, it, mock } from 'node:test';
import assert from 'node:assert/strict';
import { POLL_MS, watchNet, type EventSource } from '../../../../src/kernel/net/watch.ts';
import { RTM } from '../../../../src/kernel/net/rtnetlink-constants.ts';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';
import { MessageReader } from '../../../../src/kernel/netlink/reader.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import { taken } from '../netlink/scripted-socket.ts';

/** rtmsg of IPv4, table and type as given. */
function route(table: number, type: number): Uint8Array {
  return taken(new MessageWriter(128).message(RTM.NEWROUTE, 0).word(2).word(table | (type << 24)).word(0));
}
const address = (): Uint8Array => taken(new MessageWriter(128).message(RTM.NEWADDR, 0).word(2).word(1));

function setup(t: { after(f: () => void): void }) {
  mock.timers.enable({ apis: ['setInterval'] });
  t.after(() => { mock.timers.reset(); });
  const queue: (Uint8Array | 'lost' | 'broken')[] = [];
  const log: string[] = [];
  const open = (): EventSource => {
    log.push('open');
    return {
      drain(each = () => {}) {
        let lost = false;
        let messages = 0;
        for (const item of queue.splice(0)) {
          if (item === 'broken') throw new KernelError({ code: 'SYSTEM_CALL', operation: 'recv' });
          if (item === 'lost') lost = true;
          else for (const reader = new MessageReader(item); reader.next(); messages++) each(reader);
        }
        return { messages, lost };
      },
      close() { log.push('close'); },
    };
  };
  const stop = new AbortController();
  let calls = 0;
  watchNet(() => { calls++; }, stop.signal, open);
  const tick = (...items: typeof queue): number => {
    queue.push(...items);
    calls = 0;
    mock.timers.tick(POLL_MS);
    return calls;
  };
  return { tick, stop, log };
}

describe('watching', () => {
  it('calls once for many changes, and not at all for none', (t) => {
    const { tick } = setup(t);
    assert.equal(tick(), 0);
    assert.equal(tick(address(), address(), address()), 1);
    assert.equal(tick(), 0);
  });

  it('is not disturbed by a router\'s routes, only by local ones', (t) => {
    const { tick } = setup(t);
    assert.equal(tick(route(254, 1), route(254, 1)), 0);
    assert.equal(tick(route(255, 3)), 0);
    assert.equal(tick(route(254, 1), route(255, 2)), 1);
  });

  it('takes lost events for a change', (t) => {
    assert.equal(setup(t).tick('lost'), 1);
  });

  it('opens a new socket when its own fails, and takes that for a change', (t) => {
    const { tick, log } = setup(t);
    assert.equal(tick('broken'), 1);
    assert.equal(tick(), 1);
    assert.equal(tick(), 0);
    assert.deepEqual(log, ['open', 'close', 'open']);
  });

  it('ends with the signal', (t) => {
    const { tick, stop, log } = setup(t);
    stop.abort();
    assert.equal(tick(address()), 0);
    assert.deepEqual(log, ['open', 'close']);
  });
});
