// The nft backend, on Debian's kernel under QEMU, since User-Mode Linux has no nf_tables: the same product, the same manifests.

import assert from 'node:assert/strict';
import { scenario } from '../lab.ts';
import { file, pool, server } from '../manifests.ts';
import { lan, vip, vip6 } from '../topologies.ts';

export const nft = scenario({
  name: 'nft-backend',
  about: 'source NAT and port ranges by nft, both families; an edited, a deleted and a flushed rule are repaired; cleanup leaves no table and touches no other',
  topology: lan,
  tags: ['nft'],
  timeoutSeconds: 120,
  run: async (lab) => {
    const dir1 = lab.host('dir1');
    await dir1.sh('nft add table inet mine; nft "add chain inet mine post { type nat hook postrouting priority srcnat ; }"; nft add rule inet mine post ip saddr 10.77.0.0/24 masquerade');
    const theirs = await dir1.sh('nft list table inet mine');
    const text = file(pool(),
      server({ name: 'masquerade', mode: 'NAT', vips: [vip, vip6], ports: [{ port: 80, targetPort: 8080 }], endpoints: ['10.0.1.21', '10.0.1.22', 'fd00:1::21', 'fd00:1::22'], more: { scheduler: { name: 'rr' } } }),
      server({ name: 'vip', mode: 'NAT', vips: ['10.0.1.201'], endpoints: ['10.0.1.21'], ports: [{ port: 81, targetPort: 8080 }], more: { nat: { sourceAddress: 'VirtualIP' } } }),
      server({ name: 'range', mode: 'NAT', vips: ['10.0.1.202'], ports: [{ port: 3000, endPort: 3010, protocol: 'UDP' }], endpoints: ['10.0.1.21', '10.0.1.22'], more: { scheduler: { name: 'rr' } } }));
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': text }, args: ['--resync', '1'] });
    const status = await agent.settled();
    assert.equal(status['ok'], true, JSON.stringify(status));
    assert.equal((status['kernel'] as { netfilter: string }).netfilter, 'nft');
    for (const rs of ['rs1', 'rs2']) await lab.serve(rs, { tcp: [8080], udp: [3005] });
    for (const client of ['c1', 'lc']) {
      for (const address of [vip, vip6]) {
        const answers = await lab.get(client, { address, port: 80, count: 6 });
        assert.deepEqual(answers.by, { rs1: 3, rs2: 3 }, `${client} ${address}: ${JSON.stringify(answers)}`);
        assert.deepEqual(answers.sources, [address === vip ? '10.0.1.11' : 'fd00:1::11']);
      }
      assert.deepEqual((await lab.get(client, { address: '10.0.1.201', port: 81, count: 2 })).sources, ['10.0.1.201']);
      assert.deepEqual((await lab.get(client, { address: '10.0.1.202', port: 3005, protocol: 'udp', count: 4 })).by, { rs1: 2, rs2: 2 });
    }

    const list = () => dir1.sh('nft list ruleset | grep -v "^table inet mine" ');
    const stands = await list();
    const [family, table] = /^table (\S+) (ipvs\S*) /m.exec(stands)!.slice(1) as [string, string];
    const chain = /chain (\S+) \{/.exec(stands.slice(stands.indexOf(table)))![1]!;
    for (const mutation of [`nft flush chain ${family} ${table} ${chain}`, `nft delete table ${family} ${table}`, `nft add rule ${family} ${table} ${chain} tcp dport 9 drop`]) {
      process.kill(agent.pid!, 'SIGSTOP');
      await dir1.sh(mutation);
      assert.notEqual(await list(), stands, mutation);
      process.kill(agent.pid!, 'SIGCONT');
      await lab.eventually(async () => assert.equal(await list(), stands), { withinMs: 45_000, what: mutation });
    }
    assert.deepEqual((await lab.get('c1', { address: vip, port: 80, count: 4 })).by, { rs1: 2, rs2: 2 });
    await agent.stop();
    assert.equal((await agent.cleanup()).code, 0);
    assert.equal(await dir1.sh('nft list table inet mine'), theirs);
    assert.doesNotMatch(await dir1.sh('nft list ruleset'), /ipvs/);
  },
});
