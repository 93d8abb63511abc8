// Things that go away: a real server with drain, a VirtualServer, everything, and the folder itself.

import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { scenario } from '../lab.ts';
import { file, pool, server } from '../manifests.ts';
import { lan, vip, vip6 } from '../topologies.ts';

export const drain = scenario({
  name: 'removal-drain',
  about: 'a removed real server gets no new connection, keeps the old ones, and is deleted when the last one ends or the time is up',
  topology: lan,
  tags: ['removal', 'drain'],
  timeoutSeconds: 180,
  run: async (lab) => {
    const text = (endpoints: readonly string[], seconds: number) => file(pool(), server({ mode: 'NAT', endpoints, more: { scheduler: { name: 'rr' }, drain: { timeoutSeconds: seconds } } }));
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': text(['10.0.1.21', '10.0.1.22', '10.0.1.23'], 300) } });
    await agent.settled();
    for (const rs of ['rs1', 'rs2', 'rs3']) await lab.serve(rs, { tcp: [80] });
    const held = await lab.hold('c1', { address: vip, port: 80, count: 9 });
    agent.write('lab.yaml', text(['10.0.1.21', '10.0.1.22'], 300));
    await agent.settled();
    assert.ok((await lab.host('dir1').ipvsSave()).includes(`-a -t ${vip}:80 -r 10.0.1.23:80 -m -w 0`));
    assert.deepEqual((await lab.get('lc', { address: vip, port: 80, count: 8 })).by, { rs1: 4, rs2: 4 });
    await lab.sleep(2500);
    const still = await held.check();
    assert.deepEqual({ broken: still.broken, rs3: still.by['rs3'] }, { broken: 0, rs3: 3 });
    // A restart in mid-drain neither ends nor prolongs it.
    await agent.kill();
    await agent.start();
    await agent.settled();
    assert.equal((await held.check()).broken, 0);
    await held.close();
    await lab.eventually(async () => assert.ok(!(await lab.host('dir1').ipvsSave()).some((l) => l.includes('10.0.1.23'))), { withinMs: 20_000, what: 'deleted when idle' });

    // The deadline: connections that never end are cut with a reset, not left in a black hole.
    const again = await lab.hold('c1', { address: vip, port: 80, count: 4, everyMs: 300 });
    agent.write('lab.yaml', text(['10.0.1.21'], 3));
    await lab.eventually(async () => assert.ok(!(await lab.host('dir1').ipvsSave()).some((l) => l.includes('10.0.1.22'))), { withinMs: 20_000, what: 'deleted at the deadline' });
    await lab.eventually(async () => {
      const { alive, broken } = await again.check();
      assert.deepEqual({ alive, broken }, { alive: 2, broken: 2 });
    }, { withinMs: 10_000, what: 'the two connections of rs2 are reset' });
    await again.close();
  },
});

export const drainMany = scenario({
  name: 'removal-drain-thousand',
  about: 'of 1,000 held connections not one is broken while their real server drains; at the deadline those that are left are reset, and no other',
  topology: lan,
  tags: ['removal', 'drain'],
  timeoutSeconds: 240,
  run: async (lab) => {
    const text = (endpoints: readonly string[]) => file(pool(), server({ mode: 'NAT', endpoints, more: { scheduler: { name: 'rr' }, drain: { timeoutSeconds: 45 } } }));
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': text(['10.0.1.21', '10.0.1.22']) } });
    await agent.settled();
    for (const rs of ['rs1', 'rs2']) await lab.serve(rs, { tcp: [80] });
    const held = await lab.hold('c1', { address: vip, port: 80, count: 1000 });
    agent.write('lab.yaml', text(['10.0.1.21']));
    await agent.settled();
    const drains = Object.values(agent.status()!['drains'] as Record<string, { deadline: number }>);
    assert.equal(drains.length, 1);
    let looks = 0;
    for (; Date.now() < drains[0]!.deadline - 8_000 || looks === 0; looks++) {
      const { alive, broken, by } = await held.check();
      // What was asked before the deadline may be answered after it on a slow machine: that look proves nothing.
      if (Date.now() >= drains[0]!.deadline) break;
      assert.deepEqual({ alive, broken, by }, { alive: 1000, broken: 0, by: { rs1: 500, rs2: 500 } }, `look ${looks}`);
      await lab.sleep(3_000);
    }
    assert.ok(looks > 0, 'looked while it drained');
    await lab.eventually(async () => {
      const { alive, broken } = await held.check();
      assert.deepEqual({ alive, broken }, { alive: 500, broken: 500 });
    }, { withinMs: 90_000, what: 'at the deadline those of rs2 are reset' });
    await held.close();
  },
});

export const drainUdp = scenario({
  name: 'removal-drain-udp',
  about: 'a UDP flow that never pauses ends at the deadline and moves to another real server',
  topology: lan,
  tags: ['removal', 'drain', 'udp'],
  timeoutSeconds: 120,
  run: async (lab) => {
    const text = (endpoints: readonly string[]) => file(pool(), server({ mode: 'NAT', ports: [{ port: 53, protocol: 'UDP' }], endpoints, more: { scheduler: { name: 'rr' }, drain: { timeoutSeconds: 20 } } }));
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': text(['10.0.1.21', '10.0.1.22']) } });
    await agent.settled();
    for (const rs of ['rs1', 'rs2']) await lab.serve(rs, { udp: [53] });
    const probe = async () => Object.keys((await lab.get('c1', { address: vip, port: 53, protocol: 'udp', count: 1, localPort: 45_000 })).by)[0];
    const first = await probe();
    const other = first === 'rs1' ? 'rs2' : 'rs1';
    agent.write('lab.yaml', text([first === 'rs1' ? '10.0.1.22' : '10.0.1.21']));
    await agent.settled();
    const [drain] = Object.values(agent.status()!['drains'] as Record<string, { deadline: number }>);
    const now = await probe();
    // An answer of after the deadline proves nothing.
    assert.ok(now === first || Date.now() >= drain!.deadline, 'weight 0 does not move a flow');
    await lab.eventually(async () => assert.equal(await probe(), other), { withinMs: 60_000, what: 'the flow moves at the deadline' });
    assert.ok(Date.now() >= drain!.deadline, 'and not before');
  },
});

export const drainRestart = scenario({
  name: 'removal-drain-restart',
  about: 'a client that persistence binds to a draining real server opens its next connections elsewhere; kill -9 in the middle of the drain moves neither its weight nor its deadline',
  topology: lan,
  tags: ['removal', 'drain', 'persistence', 'restart'],
  timeoutSeconds: 180,
  run: async (lab) => {
    const text = (endpoints: readonly string[]) => file(pool(), server({ mode: 'NAT', endpoints, more: { scheduler: { name: 'rr' }, persistence: { timeoutSeconds: 300 }, drain: { timeoutSeconds: 50 } } }));
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': text(['10.0.1.21', '10.0.1.22']) } });
    await agent.settled();
    for (const rs of ['rs1', 'rs2']) await lab.serve(rs, { tcp: [80] });
    const held = await lab.hold('c1', { address: vip, port: 80, count: 4 });
    const [bound] = Object.keys((await held.check()).by);
    const [leaving, stays] = bound === 'rs1' ? ['10.0.1.21', '10.0.1.22'] as const : ['10.0.1.22', '10.0.1.21'] as const;
    assert.deepEqual((await lab.get('c1', { address: vip, port: 80, count: 4 })).by, { [bound!]: 4 }, 'persistence binds the client');

    agent.write('lab.yaml', text([stays]));
    await agent.settled();
    const deadlines = (): number[] => Object.values((agent.status()?.['drains'] ?? {}) as Record<string, { deadline: number }>).map((d) => d.deadline);
    const [deadline] = deadlines();
    assert.ok(deadline !== undefined);
    const other = bound === 'rs1' ? 'rs2' : 'rs1';
    const next = await lab.get('c1', { address: vip, port: 80, count: 4 });
    assert.deepEqual({ by: next.by, errors: next.errors }, { by: { [other]: 4 }, errors: {} }, 'the template does not pin them');

    await agent.kill();
    const weight = async (): Promise<string | undefined> => (await lab.host('dir1').ipvsSave()).map((l) => new RegExp(`-r ${leaving}:80 .*-w (\\d+)`).exec(l)?.[1]).find((w) => w !== undefined);
    await agent.start();
    // What was asked before the deadline may be answered after it on a slow machine: that look proves nothing.
    let looks = 0;
    for (; looks < 20; looks++) {
      const now = await weight();
      if (Date.now() >= deadline) break;
      assert.equal(now, '0');
      await lab.sleep(100);
    }
    assert.ok(looks > 0, 'looked while it drained');
    await agent.settled();
    const draining = deadlines();
    assert.ok(Date.now() >= deadline || draining.length === 1 && draining[0] === deadline, `it drains on, until the same moment: ${draining.join()}`);
    for (;;) {
      const { alive, broken } = await held.check();
      if (Date.now() >= deadline) break;
      assert.deepEqual({ alive, broken }, { alive: 4, broken: 0 });
      await lab.sleep(2_000);
    }
    await lab.eventually(async () => { assert.deepEqual(await held.check().then(({ alive, broken }) => ({ alive, broken })), { alive: 0, broken: 4 }); }, { withinMs: 40_000, what: 'at the deadline they are reset' });
    await lab.eventually(async () => await weight() === undefined, { withinMs: 20_000, what: 'and the real server is deleted' });
    await held.close();
  },
});

function hashing(name: 'sh' | 'mh') {
  return scenario({
    name: `removal-drain-${name}`,
    about: `while a real server drains under ${name}, clients that hash to it are sent elsewhere instead of refused`,
    topology: lan,
    tags: ['removal', 'drain'],
    run: async (lab) => {
      const text = (endpoints: readonly string[]) => file(pool(), server({ mode: 'NAT', endpoints, more: { scheduler: { name } } }));
      const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': text(['10.0.1.21', '10.0.1.22', '10.0.1.23']) } });
      await agent.settled();
      for (const rs of ['rs1', 'rs2', 'rs3']) await lab.serve(rs, { tcp: [80] });
      const sources = Array.from({ length: 12 }, (_, i) => `10.0.9.${110 + i}`);
      await lab.host('c1').sh(sources.map((a) => `ip addr add ${a}/24 dev e0`).join('\n'));
      const held = [];
      for (const sourceAddress of sources) held.push(await lab.hold('c1', { address: vip, port: 80, count: 1, sourceAddress }));
      agent.write('lab.yaml', text(['10.0.1.21', '10.0.1.22']));
      await agent.settled();
      for (const sourceAddress of sources) {
        const answer = await lab.get('c1', { address: vip, port: 80, count: 1, sourceAddress });
        assert.deepEqual(answer.errors, {}, `${sourceAddress}: ${JSON.stringify(answer)}`);
      }
      for (const h of held) assert.equal((await h.check()).broken, 0);
      assert.match((await lab.host('dir1').ipvsSave())[0]!, new RegExp(`-s ${name} -b (${name}-fallback|flag-1)`));
      for (const h of held) await h.close();
      await lab.eventually(async () => assert.doesNotMatch((await lab.host('dir1').ipvsSave())[0]!, / -b /), { withinMs: 20_000, what: 'the flag goes with the drained real server' });
    },
  });
}
export const drainSh = hashing('sh');
export const drainMh = hashing('mh');

export const everything = scenario({
  name: 'removal-everything',
  about: 'a removed VirtualServer leaves nothing of its own and disturbs no other; an emptied folder removes all; a folder that disappears changes nothing',
  topology: lan,
  tags: ['removal', 'bad-input'],
  timeoutSeconds: 180,
  run: async (lab) => {
    const one = server({ name: 'one', mode: 'NAT', vips: [vip, vip6], endpoints: ['10.0.1.21', '10.0.1.22', 'fd00:1::21'] });
    const two = server({ name: 'two', mode: 'DR', vips: ['10.0.1.201'], endpoints: ['10.0.1.21', '10.0.1.22'] });
    const files = { 'pool.yaml': pool(), 'one.yaml': one, 'two.yaml': two };
    const hosts = ['dir1', 'rs1'];
    const clean = Object.fromEntries(await Promise.all(hosts.map(async (host) => [host, await lab.host(host).addresses()])));
    const agents = await Promise.all(hosts.map((host) => lab.agent(host, { manifests: files })));
    for (const agent of agents) await agent.settled();
    for (const rs of ['rs1', 'rs2']) await lab.serve(rs, { tcp: [80] });
    const held = await lab.hold('c1', { address: vip, port: 80, count: 20 });

    for (const agent of agents) agent.remove('two.yaml');
    for (const agent of agents) await agent.settled();
    assert.ok(!(await lab.host('dir1').ipvsSave()).some((l) => l.includes('10.0.1.201')));
    assert.deepEqual(await lab.host('rs1').addresses(), clean['rs1'], 'the real server is as before');
    assert.equal(await lab.host('rs1').sysctl('net.ipv4.conf.all.arp_ignore'), '0');
    assert.deepEqual(await lab.arp('lc', '10.0.1.201'), []);
    assert.equal((await held.check()).broken, 0, 'the other VirtualServer did not notice');

    const before = await lab.host('dir1').ipvsSave();
    const [director] = agents;
    renameSync(director!.manifests, `${director!.manifests}.away`);
    await lab.eventually(() => assert.match(JSON.stringify(director!.status()!['problems']), /FolderGone/), { withinMs: 10_000, what: 'the missing folder is reported' });
    await lab.sleep(3000);
    assert.deepEqual(await lab.host('dir1').ipvsSave(), before, 'a folder that disappears takes nothing with it');
    await director!.kill();
    await director!.start();
    await lab.sleep(3000);
    assert.deepEqual(await lab.host('dir1').ipvsSave(), before, 'not even over a restart');
    assert.equal((await held.check()).broken, 0);
    renameSync(`${director!.manifests}.away`, director!.manifests);
    await lab.eventually(() => assert.doesNotMatch(JSON.stringify(director!.status()!['problems']), /FolderGone/), { withinMs: 10_000, what: 'the folder is back' });
    assert.equal((await held.check()).broken, 0);
    await held.close();

    for (const agent of agents) {
      agent.remove('one.yaml');
      agent.remove('pool.yaml');
    }
    for (const agent of agents) await agent.settled();
    assert.deepEqual(await lab.host('dir1').ipvsSave(), []);
    for (const host of hosts) assert.deepEqual(await lab.host(host).addresses(), clean[host], host);
    assert.equal(await lab.host('dir1').sysctl('net.ipv4.ip_forward'), '0', 'the last user\'s departure restores it');
    assert.equal((await lab.host('dir1').sh('iptables-legacy-save; ip6tables-legacy-save')).includes('IPVS-OPERATOR'), false);
  },
});
