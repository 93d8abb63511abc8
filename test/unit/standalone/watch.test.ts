/** Watching a folder: it calls back soon after every kind of change, goes on when the folder was away, and ends when told. */
import { describe, test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { watchFolder } from '../../../src/standalone/watch.ts';

/** A poll that never comes in a test: what calls back then is the kernel's event. */
const NO_POLL_MS = 600_000;
/** A poll that comes soon. */
const POLL_MS = 100;
/** Longer than anything here takes on a busy machine. */
const SOON_MS = 20_000;

function watched(t: TestContext, pollMs: number, folders: readonly string[] = ['']): { dir: string; next: (withinMs: number) => Promise<number>; stop: () => void; calls: () => number } {
  const base = mkdtempSync(join(tmpdir(), 'watch-'));
  const dir = join(base, 'manifests');
  for (const folder of folders) mkdirSync(join(dir, folder), { recursive: true });
  const controller = new AbortController();
  let calls = 0;
  let wake: () => void = () => {};
  watchFolder(dir, () => { calls++; wake(); }, controller.signal, pollMs);
  t.after(() => {
    controller.abort();
    rmSync(base, { recursive: true, force: true });
  });
  return {
    dir,
    calls: () => calls,
    stop: () => controller.abort(),
    /** Milliseconds until the next call. */
    next: async (withinMs) => {
      const start = performance.now();
      await Promise.race([new Promise<void>((done) => { wake = done; }), sleep(withinMs + 50, undefined, { signal: AbortSignal.any([controller.signal]) }).catch(() => {})]);
      const took = performance.now() - start;
      assert.ok(took <= withinMs, `no call within ${withinMs} ms`);
      return took;
    },
  };
}

// Each has a folder of its own, and waits.
describe('a folder is watched', { concurrency: true }, () => {
  test('a new file, a rename, a change in a sub-folder and a link call back by the event alone', async (t) => {
    const w = watched(t, NO_POLL_MS, ['sub/deep']);
    const changes = [
      () => writeFileSync(join(w.dir, 'a.yaml'), 'x'),
      () => renameSync(join(w.dir, 'a.yaml'), join(w.dir, 'b.yaml')),
      () => writeFileSync(join(w.dir, 'sub/deep/c.yaml'), 'x'),
      () => symlinkSync('sub', join(w.dir, '..data')),
      () => rmSync(join(w.dir, 'b.yaml')),
    ];
    for (const change of changes) {
      change();
      await w.next(SOON_MS);
      await sleep(100); // events of one change may be two calls
    }
  });

  test('many events of one save are few calls', async (t) => {
    const w = watched(t, NO_POLL_MS);
    for (let i = 0; i < 200; i++) writeFileSync(join(w.dir, `${i}.yaml`), 'x');
    await w.next(SOON_MS);
    await sleep(400);
    assert.ok(w.calls() >= 1 && w.calls() <= 5, `${w.calls()} calls`);
  });

  test('without any event the poll calls back, also while there is no folder', async (t) => {
    const w = watched(t, POLL_MS, []);
    for (let i = 0; i < 3; i++) await w.next(SOON_MS);
  });

  test('a folder that comes late, or goes and comes back as another, is watched again', async (t) => {
    const poll = 800;
    const w = watched(t, poll, []);
    for (let round = 0; round < 2; round++) {
      mkdirSync(w.dir);
      await w.next(SOON_MS);
      await w.next(SOON_MS);
      // Polls alone call back each 800 ms, but for the first call; events after a sixteenth of that, when the machine is not too busy.
      const took: number[] = [];
      for (let i = 0; i < 10; i++) {
        writeFileSync(join(w.dir, 'a.yaml'), `${i}`);
        took.push(await w.next(SOON_MS));
      }
      assert.ok(took.slice(1).sort((a, b) => a - b)[2]! < poll / 2, `events of the new folder call back, and not the poll alone: ${took.join()} ms`);
      rmSync(w.dir, { recursive: true });
      await w.next(SOON_MS);
      await w.next(SOON_MS);
    }
  });

  test('after abort there is no call', async (t) => {
    const w = watched(t, POLL_MS);
    writeFileSync(join(w.dir, 'a.yaml'), 'x');
    w.stop();
    const before = w.calls();
    await sleep(3 * POLL_MS);
    assert.equal(w.calls(), before);
  });

  test('a signal that is aborted already watches nothing', () => {
    watchFolder('/nonexistent', () => assert.fail('called'), AbortSignal.abort());
  });
});
