// A director's mode edited under held connections, without a cluster and with either packet filter. Why that is not done in place is
// edit-in-place.ts; every other edit is in cluster-edits.ts.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { realServersByHand } from '../by-hand.ts';
import { scenario } from '../lab.ts';
import { file, pool, server } from '../manifests.ts';
import { lan, vip } from '../topologies.ts';

const held = 4;
const even = { rs1: 4, rs2: 4, rs3: 4 };

const edited = (name: string, filter: string, tags: readonly string[]) => scenario({
  name,
  about: `NAT to DR and back under held connections, with ${filter}: those of either mode go on beside the other's, and new ones are balanced`,
  topology: lan,
  tags: ['dr', 'nat', 'modes', ...tags],
  timeoutSeconds: 120,
  run: async (lab) => {
    const form = (mode: 'NAT' | 'DR'): string => file(pool(), server({ mode, endpoints: ['10.0.1.21', '10.0.1.22', '10.0.1.23'], more: { scheduler: { name: 'rr' }, drain: { timeoutSeconds: 3600 } } }));
    // Real servers receive for the VIP all the time: in a cluster they begin before directors send, and go on for a while.
    for (const rs of ['rs1', 'rs2', 'rs3']) {
      await lab.serve(rs, { tcp: [80] });
      await (await lab.agent(rs, { manifests: { 'lab.yaml': form('DR') }, role: 'real-server' })).settled();
    }
    const director = await lab.agent('dir1', { manifests: { 'lab.yaml': form('NAT') }, role: 'director', args: ['--resync', '1'] });
    await director.settled();
    const hold = () => lab.hold('c1', { address: vip, port: 80, count: held });
    const serves = async (source: string): Promise<void> => {
      const { by, errors, sources } = await lab.get('c1', { address: vip, port: 80, count: 12 });
      assert.deepEqual([by, errors, sources], [even, {}, [source]]);
    };
    await serves('10.0.1.11');
    const sets = [await hold()];
    for (const [mode, source] of [['DR', '10.0.9.100'], ['NAT', '10.0.1.11'], ['DR', '10.0.9.100']] as const) {
      director.write('lab.yaml', form(mode));
      await director.settled();
      await serves(source);
      sets.push(await hold());
      // Long enough for a look at everything, which must not take away what connections of before need.
      await lab.sleep(3_000);
      for (const [i, set] of sets.entries()) assert.equal((await set.check()).alive, held, `connections of step ${i} in ${mode}`);
    }
  },
});
/** `--once` makes its passes right behind one another; what a pass waits for is edit-in-place.ts's `edit-remade`. */
export const editCut = scenario({
  name: 'edit-cut',
  about: 'DR that was there first, to NAT under held connections, with passes that follow one another at once: every one of them is reset, and new ones are balanced',
  topology: lan,
  tags: ['dr', 'nat', 'modes'],
  timeoutSeconds: 120,
  run: async (lab) => {
    const [folder, state] = ['manifests', 'state'].map((name) => lab.host('dir1').path(name)) as [string, string];
    mkdirSync(folder, { recursive: true });
    const once = async (mode: 'NAT' | 'DR'): Promise<void> => {
      writeFileSync(join(folder, 'lab.yaml'), file(pool(), server({ mode, endpoints: ['10.0.1.21', '10.0.1.22', '10.0.1.23'], more: { scheduler: { name: 'rr' } } })));
      const { code, stderr } = await lab.cli('dir1', ['standalone', '--once', '--role', 'director', '--manifests', folder, '--state', state, '--node', 'dir1']);
      assert.equal(code, 0, stderr);
    };
    await realServersByHand(lab, ['rs1', 'rs2', 'rs3'], vip);
    await once('DR');
    const connections = await lab.hold('c1', { address: vip, port: 80, count: 6 });
    assert.equal((await connections.check()).alive, 6);
    await once('NAT');
    const { by, errors } = await lab.get('c1', { address: vip, port: 80, count: 12 });
    assert.deepEqual([by, errors], [even, {}]);
    const { alive, reasons } = await connections.check();
    assert.deepEqual([alive, reasons], [0, { ECONNRESET: 6 }]);
  },
});

export const editMode = edited('edit-mode', 'iptables', []);
export const editModeNft = edited('edit-mode-nft', 'nftables', ['nft']);
