// The CPU figure beside a scenario's time: of a whole process group, children that have ended included.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { cpuSecondsOf } from '../../lab/cpu-time.ts';

test('a group is what its leader used and what its children used that are gone', { timeout: 240_000 }, async () => {
  // To ask for the time is work of the kernel, so not each turn.
  const burn = 'const from = process.cpuUsage(); const used = () => { const { user, system } = process.cpuUsage(from); return user + system; }; while (used() < 150_000) for (let i = 0; i < 1e6; i++);';
  const group = spawn('sh', ['-c', `"${process.execPath}" -e '${burn}'; echo burnt; read -r _`], { detached: true, stdio: ['pipe', 'pipe', 'inherit'] });
  const other = spawn('sh', ['-c', 'read -r _'], { detached: true, stdio: ['pipe', 'ignore', 'inherit'] });
  await once(group.stdout!, 'data');
  const [used, idle] = [cpuSecondsOf(group.pid!), cpuSecondsOf(other.pid!)];
  assert.ok(used >= 0.12 && used < 5, `${used} s of a group that used 0.15 s, and what Node needs`);
  assert.ok(idle < 0.1, `${idle} s of a group that waits`);
  for (const child of [group, other]) {
    child.stdin!.end();
    await once(child, 'close');
  }
  assert.equal(cpuSecondsOf(group.pid!), 0, 'and nothing when nobody is left');
});
