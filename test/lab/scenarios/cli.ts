// The command line against a real kernel: what plan says is what standalone does, and exit codes tell a script the truth.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scenario } from '../lab.ts';
import { difference } from '../difference.ts';
import { file, pool, server } from '../manifests.ts';
import { lan } from '../topologies.ts';

export const once = scenario({
  name: 'cli-once',
  about: 'plan prints what standalone --once then does, and changes nothing; once is idempotent; bad input and cleanup have their exit codes',
  topology: lan,
  tags: ['cli'],
  timeoutSeconds: 120,
  run: async (lab) => {
    const folder = lab.host('dir1').path('manifests');
    const state = lab.host('dir1').path('state');
    mkdirSync(folder, { recursive: true });
    const write = (text: string) => writeFileSync(join(folder, 'lab.yaml'), text);
    const common = ['--manifests', folder, '--state', state, '--node', 'dir1'];
    const run = (...args: string[]) => lab.cli('dir1', [...args, ...common]);
    await lab.host('dir1').sh('modprobe -a ip_vs ip_vs_rr; for c in iptables-legacy ip6tables-legacy; do for t in filter nat mangle; do $c -t $t -nL > /dev/null; done; done');
    const before = await lab.snapshot('dir1');

    write(file(pool(), server({ mode: 'NAT', endpoints: ['10.0.1.21', '10.0.1.22'], more: { scheduler: { name: 'rr' } } })));
    const planned = await run('plan');
    assert.equal(planned.code, 2, planned.stderr);
    assert.match(planned.stdout, /^add service TCP 10\.0\.1\.200:80 rr$/m);
    assert.deepEqual(difference(before, await lab.snapshot('dir1')), [], 'plan changes nothing');

    const applied = await run('standalone', '--once');
    assert.equal(applied.code, 0, applied.stderr);
    const done = applied.stdout.split('\n').flatMap((line) => (line.includes('"msg":"kernel"') ? [(JSON.parse(line) as { operation: string }).operation] : []));
    assert.deepEqual(done, planned.stdout.trimEnd().split('\n'), 'what was printed is what was done, in the same order');
    assert.equal((await run('plan')).code, 0);
    const again = await run('standalone', '--once');
    assert.equal(again.code, 0);
    assert.doesNotMatch(again.stdout, /"msg":"kernel"/, 'nothing is left to do');
    assert.equal((await lab.cli('dir1', ['status', '--state', state])).code, 0);

    write(file(pool(), server({ mode: 'NAT', endpoints: ['10.0.1.21'], more: { scheduler: { name: 'rr' }, drain: { timeoutSeconds: 0 } } }), server({ name: 'bad', mode: 'NAT', vips: ['10.9.9.9'], endpoints: ['10.0.1.21'] })));
    const bad = await run('standalone', '--once');
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /VirtualServer lab\/bad: Accepted: AddressOutsidePools: 10\.9\.9\.9/);
    assert.deepEqual(await lab.host('dir1').ipvsSave(), ['-A -t 10.0.1.200:80 -s rr', '-a -t 10.0.1.200:80 -r 10.0.1.21:80 -m -w 1'], 'the good one was applied all the same');
    assert.equal((await run('plan')).code, 1);

    assert.equal((await lab.cli('dir1', ['standalone', '--cleanup', ...common])).code, 0);
    assert.deepEqual(difference(before, await lab.snapshot('dir1')), [], 'cleanup leaves the host as it was');
    const usage = await lab.cli('dir1', ['standalone', '--manifest', folder]);
    assert.equal(usage.code, 64);
    assert.match(usage.stderr, /--manifest/);
  },
});
