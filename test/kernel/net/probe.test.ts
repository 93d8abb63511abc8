/** Probes on a real link: silence, an answer with its MAC, and two who want the same address at the same time. */
import { after, afterEach, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { openNet } from '../../../src/kernel/net/client.ts';
import { probe } from '../../../src/kernel/net/probe.ts';
import type { Link, NetClient, VipAddress } from '../../../src/kernel/net/types.ts';

const sh = (command: string): string => execFileSync('sh', ['-c', command], { encoding: 'utf8' });
const V4: VipAddress = { link: 'a0', family: 'IPv4', address: '10.8.0.200' };
const V6: VipAddress = { link: 'a0', family: 'IPv6', address: 'fd08::200' };
const PEER = '02:00:00:00:00:bb';

describe('probe', () => {
  let net: NetClient;
  const links = (): readonly Link[] => net.observe().links;
  const outcome = async (vip: VipAddress) => (await probe([vip], links())).get(vip.address)!;

  before(async () => {
    sh('ip netns add peer; ip link add a0 type veth peer name a1 netns peer; ip link set a0 address 02:00:00:00:00:aa; ip link set a0 up');
    sh(`ip -n peer link set a1 address ${PEER}; ip -n peer link set a1 up; ip -n peer link set lo up`);
    sh('ip addr add 10.8.0.1/24 dev a0; ip -n peer addr add 10.8.0.2/24 dev a1; ip addr add fd08::1/64 dev a0 nodad; ip -n peer addr add fd08::2/64 dev a1 nodad');
    net = openNet();
    // Until the link-local address is no longer tentative there is none to ask from.
    for (let i = 0; i < 100 && /tentative/.test(sh('ip -6 addr show dev a0 scope link')); i++) await new Promise((resolve) => { setTimeout(resolve, 100); });
  });
  after(() => {
    net.close();
    sh('ip link del a0; ip netns del peer');
  });

  const running = new Set<() => Promise<void>>();
  /** A command in the other host, until it is stopped. `started` resolves with its first output. */
  const background = (command: string): { readonly started: Promise<unknown>; readonly stop: () => Promise<void> } => {
    const child = spawn('ip', ['netns', 'exec', 'peer', 'sh', '-c', command], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    const closed = once(child, 'close');
    const stop = async (): Promise<void> => {
      running.delete(stop);
      if (child.exitCode === null) process.kill(-child.pid!, 'SIGKILL');
      await closed;
    };
    running.add(stop);
    const ended = closed.then(() => { throw new Error(`ended early: ${command}`); });
    const started = Promise.race([once(child.stdout, 'data'), ended]);
    // Whoever does not wait for it does not want to know.
    started.catch(() => {});
    return { started, stop };
  };
  afterEach(async () => { for (const stop of running) await stop(); });

  /** Resolves when the other host is seen to ask for an address: its cache has an entry that waits. */
  const asks = async (vip: VipAddress): Promise<void> => {
    for (let i = 0; i < 200; i++) {
      if (/INCOMPLETE|FAILED/.test(sh(`ip -n peer neigh show ${vip.address} dev a1`))) return;
      await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
    throw new Error('nobody asks');
  };

  for (const vip of [V4, V6]) {
    it(`finds an ${vip.family} address free when nobody answers, also when this host has it on lo`, async () => {
      assert.deepEqual(await outcome(vip), { state: 'silent' });
      sh(`ip addr add ${vip.address} dev lo`);
      assert.deepEqual(await outcome(vip), { state: 'silent' });
      sh(`ip addr del ${vip.address}/${vip.family === 'IPv4' ? 32 : 128} dev lo`);
    });

    it(`finds who has an ${vip.family} address`, async () => {
      sh(`ip -n peer addr add ${vip.address}/${vip.family === 'IPv4' ? '32' : '128 nodad'} dev a1`);
      assert.deepEqual(await outcome(vip), { state: 'answered', mac: PEER, says: 'holds' });
      sh(`ip -n peer addr del ${vip.address}/${vip.family === 'IPv4' ? 32 : 128} dev a1`);
      assert.deepEqual(await outcome(vip), { state: 'silent' }, 'and that it is gone');
    });

    it(`is not misled by a neighbour that only wants to reach an ${vip.family} address`, async () => {
      // Each try begins with the question who has it: the kernel forgets that nobody answered.
      const asker = background(`while :; do busybox ping${vip.family === 'IPv4' ? '' : '6'} -c 1 -w 1 ${vip.address} > /dev/null 2>&1; ip neigh flush dev a1; done`);
      await asks(vip);
      assert.deepEqual(await outcome(vip), { state: 'silent' });
      await asker.stop();
    });

    it(`hears an answer to its last questions for an ${vip.family} address after it stood still for longer than all of them take`, async () => {
      const asking = outcome(vip);
      // Not while the first is asked. Nothing of this process runs until the other host has the address.
      setTimeout(() => sh(`sleep 1; ip -n peer addr add ${vip.address}/${vip.family === 'IPv4' ? '32' : '128 nodad'} dev a1`), 50);
      const heard = await asking;
      sh(`ip -n peer addr del ${vip.address}/${vip.family === 'IPv4' ? 32 : 128} dev a1`);
      assert.deepEqual(heard, { state: 'answered', mac: PEER, says: 'holds' });
    });

    it(`hears that another host is about to take an ${vip.family} address`, async () => {
      const script = `
        const [{ openNet }, { probe }] = await Promise.all([import("${file('client.ts')}"), import("${file('probe.ts')}")]);
        const net = openNet();
        console.log("started");
        for (;;) await probe([${JSON.stringify({ ...vip, link: 'a1' })}], net.observe().links);`;
      const rival = background(`exec ${process.execPath} --input-type=module -e '${script}'`);
      await rival.started;
      // It may have no CPU for as long as this one listens, and is there all the time.
      let heard = await outcome(vip);
      for (let i = 0; i < 20 && heard.state === 'silent'; i++) heard = await outcome(vip);
      assert.deepEqual(heard, { state: 'answered', mac: PEER, says: 'wants' });
      await rival.stop();
    });
  }

  it('asks for many at once, on more than one link, and tells which cannot be asked for', async () => {
    sh(`ip link add a8 type dummy; ip link add a9 type dummy; ip link set a9 up; ip -n peer addr add ${V4.address}/32 dev a1`);
    const many = Array.from({ length: 200 }, (_, i): VipAddress => ({ link: 'a0', family: 'IPv4', address: `10.8.1.${i}` }));
    const odd: readonly VipAddress[] = [{ link: 'a8', family: 'IPv4', address: '10.8.9.1' }, { link: 'lo', family: 'IPv4', address: '10.8.9.2' }, { link: 'none', family: 'IPv6', address: 'fd09::3' }, { link: 'a9', family: 'IPv4', address: '10.8.9.4' }];
    const started = performance.now();
    const outcomes = await probe([...many, ...odd, V4, V6], links());
    assert.ok(performance.now() - started >= 550, 'it listens long enough');
    assert.equal(outcomes.size, 206);
    assert.ok(many.every((v) => outcomes.get(v.address)!.state === 'silent'));
    assert.deepEqual(outcomes.get(V4.address), { state: 'answered', mac: PEER, says: 'holds' });
    const codes = odd.map(({ address }) => { const o = outcomes.get(address)!; return o.state === 'failed' ? o.error.errnoName || o.error.code : o.state; });
    assert.deepEqual(codes, ['ENETDOWN', 'INVALID', 'ENODEV', 'silent']);
    sh(`ip link del a8; ip link del a9; ip -n peer addr del ${V4.address}/32 dev a1`);
  });

  it('stops when it is told to, and leaves no socket open', async () => {
    const sockets = (): number => Number(sh(`ls -l /proc/${process.pid}/fd | grep -c socket`));
    const open = sockets();
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 100);
    await assert.rejects(probe([V4, V6], links(), { signal: stop.signal }), { name: 'AbortError' });
    assert.equal(sockets(), open);
  });
});

function file(name: string): string { return fileURLToPath(new URL(`../../../src/kernel/net/${name}`, import.meta.url)); }
