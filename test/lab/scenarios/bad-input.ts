// Bad input of every kind: a clear error that says which object, which field and what to do, and no effect on anything else.
// What concerns one object alone is tested case by case in test/unit/api; here are the whole product, its folder and its host.

import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scenario, type Agent, type Lab } from '../lab.ts';
import { file, group, pool, server } from '../manifests.ts';
import { lan, vip } from '../topologies.ts';

const good = server({ name: 'good', mode: 'NAT', endpoints: ['10.0.1.21'], more: { scheduler: { name: 'rr' } } });
const goodTable = [`-A -t ${vip}:80 -s rr`, `-a -t ${vip}:80 -r 10.0.1.21:80 -m -w 1`];

interface Case {
  readonly what: string;
  /** The file bad.yaml. */
  readonly text: string;
  /** All must occur in status.json. */
  readonly says: readonly RegExp[];
  /** A service all the same, for it is only a real server that may not be one. */
  readonly serves?: boolean;
}

const other = (fields: Parameters<typeof server>[0]) => server({ name: 'bad', vips: ['10.0.1.201'], ...fields });
const nat = (more: Record<string, unknown>, fields: Partial<Parameters<typeof server>[0]> = {}) => other({ mode: 'NAT', endpoints: ['10.0.1.22'], ...fields, more });

const cases: readonly Case[] = [
  { what: 'invalid YAML', text: 'kind: [unclosed\n', says: [/InvalidYaml/, /bad\.yaml/] },
  { what: 'unknown field', text: nat({ schedular: { name: 'rr' } }), says: [/UnknownField/, /spec\.schedular/, /scheduler/] },
  { what: 'wrong type', text: nat({ drain: { timeoutSeconds: 'long' } }), says: [/WrongType/, /spec\.drain\.timeoutSeconds/] },
  { what: 'the same object twice', text: server({ name: 'good', mode: 'NAT', endpoints: ['10.0.1.22'] }), says: [/DuplicateObject/, /good\.yaml/, /bad\.yaml/] },
  { what: 'the same VIP, protocol and port', text: other({ mode: 'NAT', vips: [vip], endpoints: ['10.0.1.22'] }), says: [/PortConflict/, /lab\/good/] },
  { what: 'targetPort in DR', text: other({ mode: 'DR', ports: [{ port: 80, targetPort: 8080 }], endpoints: ['10.0.1.22'] }), says: [/TargetPortFixed/, /targetPort/, /set targetPort to 80/] },
  { what: 'targetPort in TUN', text: other({ mode: 'TUN', ports: [{ port: 80, targetPort: 8080 }], endpoints: ['10.0.1.22'] }), says: [/TargetPortFixed/] },
  { what: 'VIP outside every pool', text: nat({}, { vips: ['10.9.9.9'] }), says: [/AddressOutsidePools/, /10\.9\.9\.9/] },
  { what: 'loopback VIP', text: nat({}, { vips: ['127.0.0.5'] }), says: [/ForbiddenAddress/, /127\.0\.0\.5/] },
  { what: 'link-local VIP', text: nat({}, { vips: ['169.254.1.1'] }), says: [/ForbiddenAddress/] },
  { what: 'multicast VIP', text: nat({}, { vips: ['224.0.0.81'] }), says: [/ForbiddenAddress/] },
  { what: 'the node\'s own address as VIP', text: file(pool().replace('"lab"', '"own"').replace('10.0.1.192/26', '10.0.1.8/29').replace('fd00:1::200/120', 'fd00:1::300/120').replace('"default": true', '"default": false'), nat({}, { vips: ['10.0.1.11'] })), says: [/this node's own address/, /10\.0\.1\.11/] },
  { what: 'real server = VIP', text: nat({}, { endpoints: ['10.0.1.201'] }), says: [/RealServerIsVIP/] },
  { what: 'real server = VIP of another', text: nat({}, { endpoints: [vip] }), says: [/EndpointNotPermitted/, /is the VIP of lab\/good/], serves: true },
  { what: 'leading zeros', text: nat({}, { endpoints: ['010.0.0.1'] }), says: [/InvalidAddress/, /010\.0\.0\.1/] },
  { what: 'IPv4 in an IPv6 family', text: nat({ vip: { addresses: ['10.0.1.201'], families: ['IPv6'] } }), says: [/FamilyMismatch/] },
  { what: 'weight -1', text: nat({}, { endpoints: [{ address: '10.0.1.22', weight: -1 }] }), says: [/OutOfRange/, /weight/] },
  { what: 'weight 65536', text: nat({}, { endpoints: [{ address: '10.0.1.22', weight: 65_536 }] }), says: [/OutOfRange/, /65535/] },
  { what: 'lower above upper', text: nat({ connectionLimits: { upper: 5, lower: 9 } }), says: [/ThresholdsInverted/] },
  { what: 'unknown scheduler', text: nat({ scheduler: { name: 'fastest' } }), says: [/UnknownValue/, /spec\.scheduler\.name/] },
  { what: 'a pool that does not permit the real server', text: nat({}, { endpoints: ['203.0.113.9'] }), says: [/EndpointNotPermitted/, /allowStaticBackendCIDRs/], serves: true },
];

async function start(lab: Lab, environment: Record<string, string> = {}): Promise<Agent> {
  const agent = await lab.agent('dir1', { manifests: { 'pool.yaml': pool(), 'good.yaml': good }, environment });
  assert.equal((await agent.settled())['ok'], true);
  return agent;
}

export const objects = scenario({
  name: 'bad-objects',
  about: 'each bad object is named with field and remedy, while what worked goes on unchanged; removing it leaves no trace',
  topology: lan,
  tags: ['bad-input'],
  timeoutSeconds: 180,
  run: async (lab) => {
    const agent = await start(lab);
    await lab.serve('rs1', { tcp: [80] });
    const held = await lab.hold('c1', { address: vip, port: 80, count: 5 });
    const clean = await lab.host('dir1').addresses();
    for (const { what, text, says, serves = false } of cases) {
      agent.write('bad.yaml', text);
      const status = await agent.settled();
      const words = JSON.stringify([status['problems'], status['virtualServers']]);
      for (const pattern of says) assert.match(words, pattern, what);
      assert.equal(status['ok'], false, what);
      assert.deepEqual(await lab.host('dir1').ipvsSave(), serves ? [...goodTable, '-A -t 10.0.1.201:80 -s wrr'].sort() : goodTable, what);
      if (!serves) assert.deepEqual(await lab.host('dir1').addresses(), clean, what);
      agent.remove('bad.yaml');
      assert.equal((await agent.settled())['ok'], true, `after ${what}`);
    }
    assert.deepEqual(await lab.host('dir1').ipvsSave(), goodTable);
    assert.deepEqual(await lab.host('dir1').addresses(), clean);
    assert.equal((await held.check()).broken, 0);
    assert.equal(agent.running, true);
    await held.close();
  },
});

export const broken = scenario({
  name: 'bad-edits',
  about: 'a VirtualServer that worked and is broken by an edit goes on in its last good form, over a restart too',
  topology: lan,
  tags: ['bad-input'],
  timeoutSeconds: 240,
  run: async (lab) => {
    const agent = await start(lab);
    await lab.serve('rs1', { tcp: [80] });
    const held = await lab.hold('c1', { address: vip, port: 80, count: 5 });
    const edits: readonly [string, string][] = [
      ['not YAML any more', good.replace('"spec": {', '"spec": [{')],
      ['a file that lost all of its bytes', ''],
      ['a half-written file', good.slice(0, good.length / 2)],
      ['an unknown field', good.replace('"mode"', '"mood"')],
      ['a VIP outside every pool', good.replace('10.0.1.200', '10.9.9.9')],
      ['an impossible port', good.replace('"port": 80', '"port": 80000')],
    ];
    for (const [what, text] of edits) {
      agent.write('good.yaml', text);
      assert.equal((await agent.settled())['ok'], false, what);
      assert.deepEqual(await lab.host('dir1').ipvsSave(), goodTable, what);
      const planned = await lab.cli('dir1', ['plan', '--manifests', agent.manifests, '--state', agent.state, '--node', 'dir1']);
      assert.deepEqual([planned.code, planned.stdout], [1, ''], `${what}: plan says what is wrong, and that nothing would change`);
      await agent.kill();
      await agent.start();
      assert.equal((await agent.settled())['ok'], false, `${what}, after a restart`);
      assert.deepEqual(await lab.host('dir1').ipvsSave(), goodTable, `${what}, after a restart`);
    }
    agent.write('good.yaml', good);
    assert.equal((await agent.settled())['ok'], true);
    assert.equal((await held.check()).broken, 0);
    await held.close();
  },
});

export const files = scenario({
  name: 'bad-files',
  about: 'a file of 10 MB, an unreadable file, one that is being written for seconds, and one that is not text: each by name, others are served',
  topology: lan,
  tags: ['bad-input'],
  run: async (lab) => {
    const agent = await start(lab);
    const path = (name: string) => join(agent.manifests, name);
    agent.write('huge.yaml', `# ${'x'.repeat(10 * 1024 * 1024)}\n`);
    agent.write('binary.yaml', '\u0000\u0001\u0002');
    writeFileSync(path('growing.yaml'), pool({ disabled: true }).replace('"lab"', '"second"'));
    const growing = setInterval(() => appendFileSync(path('growing.yaml'), '# more\n'), 60);
    try {
      await lab.sleep(1500);
      agent.write('new.yaml', server({ name: 'new', mode: 'NAT', vips: ['10.0.1.202'], endpoints: ['10.0.1.22'] }));
      await lab.eventually(async () => assert.ok((await lab.host('dir1').ipvsSave()).some((l) => l.includes('10.0.1.202'))), { withinMs: 10_000, what: 'a good file is applied beside them' });
    } finally {
      clearInterval(growing);
    }
    const status = await agent.settled();
    const words = JSON.stringify(status['problems']);
    assert.match(words, /FileTooLarge.*huge\.yaml|huge\.yaml.*FileTooLarge/);
    assert.match(words, /binary\.yaml/);
    chmodSync(path('growing.yaml'), 0o600);
    assert.ok((await lab.host('dir1').ipvsSave()).includes(goodTable[1]!));
  },
});

export const host = scenario({
  name: 'bad-host',
  about: 'no permission, lo down, a scheduler that the kernel lacks, an interface that does not exist: each said in words, none fatal to others',
  topology: lan,
  tags: ['bad-input'],
  timeoutSeconds: 240,
  run: async (lab) => {
    const agent = await start(lab);
    const before = await lab.host('dir1').ipvsSave();
    // A process without CAP_NET_ADMIN, on a copy of the folders: it must say what is missing and change nothing.
    const unprivileged = await lab.host('dir1').run(`cp -r ${agent.manifests} ${agent.state}.copy-m && setpriv --bounding-set=-net_admin --inh-caps=-net_admin node dist/main.js standalone --once --manifests ${agent.state}.copy-m --state ${agent.state}.copy-s --node dir1`);
    assert.notEqual(unprivileged.code, 0);
    assert.match(unprivileged.stdout + unprivileged.stderr, /PERMISSION_DENIED[^]*CAP_NET_ADMIN|CAP_NET_ADMIN/);
    assert.deepEqual(await lab.host('dir1').ipvsSave(), before);

    // A kernel without ip_vs_ovf: its module cannot be loaded here.
    await lab.host('dir1').sh('mkdir -p /etc/modprobe.d; echo "install ip_vs_ovf /bin/false" > /etc/modprobe.d/lab-bad-host.conf');
    try {
      // Namespaces of earlier scenarios are torn down in the background and hold it until then.
      await lab.eventually(async () => (await lab.host('dir1').run('[ ! -e /sys/module/ip_vs_ovf ] || rmmod ip_vs_ovf')).code === 0, { withinMs: 30_000, what: 'ip_vs_ovf is unloaded' });
      agent.write('bad.yaml', other({ mode: 'NAT', endpoints: ['10.0.1.22'], more: { scheduler: { name: 'ovf' } } }));
      const lacking = await agent.settled();
      assert.match(JSON.stringify(lacking['virtualServers']), /KernelFeatureMissing[^}]*ovf[^}]*modprobe ip_vs_ovf/);
      assert.deepEqual(await lab.host('dir1').ipvsSave(), before);
    } finally {
      await lab.host('dir1').sh('rm -f /etc/modprobe.d/lab-bad-host.conf');
    }
    await lab.host('dir1').sh('modprobe ip_vs_ovf');
    await lab.eventually(async () => assert.ok((await lab.host('dir1').ipvsSave()).includes('-A -t 10.0.1.201:80 -s ovf')), { withinMs: 60_000, what: 'the module that the message asked for is there, and used' });
    agent.remove('bad.yaml');
    await agent.settled();
    assert.deepEqual(await lab.host('dir1').ipvsSave(), before);

    agent.write('bad.yaml', file(group({ interface: { match: 'Name', name: 'eth9' } }), server({ name: 'bad', mode: 'NAT', vips: ['10.0.1.201'], endpoints: ['10.0.1.22'] })));
    await lab.eventually(() => assert.match(JSON.stringify(agent.status()!['virtualServers']), /eth9/), { withinMs: 10_000, what: 'the missing interface is named' });
    agent.remove('bad.yaml');
    await agent.settled();

    // lo that was never up: the kernel refuses every IPv4 destination with a bare EINVAL; the reason must be said.
    const copy = `${agent.state}.lo`;
    await lab.host('dir1').sh(`mkdir -p ${copy}`);
    writeFileSync(join(copy, 'all.yaml'), file(pool(), group({ interface: { match: 'Name', name: 'lo' } }), good));
    const never = await lab.host('dir1').run(`unshare -n node dist/main.js standalone --once --manifests ${copy} --state ${copy}.state --node dir1`);
    assert.match(never.stdout, /EINVAL[^]*lo was never up[^]*ip link set lo up/);
    assert.match(never.stderr, /lo is down[^]*ip link set lo up/);

    // lo that went down later is said too, and what works goes on.
    await lab.host('dir1').sh('ip link set lo down');
    await lab.eventually(() => assert.match(JSON.stringify(agent.status()!['notes']), /lo is down/), { withinMs: 45_000, what: 'lo is named' });
    assert.deepEqual(await lab.host('dir1').ipvsSave(), before);
    await lab.host('dir1').sh('ip link set lo up');
    await lab.eventually(() => assert.deepEqual(agent.status()!['notes'], []), { withinMs: 45_000, what: 'and forgotten when it is up' });
  },
});

/** Runs `work` while a module is not there and nobody can load it, until `load` is called. `users`: modules that hold it, as a basic regular expression. */
async function withoutModule(lab: Lab, name: string, { module, users }: { module: string; users: string }, work: (load: () => Promise<void>) => Promise<void>): Promise<void> {
  const host = lab.host(name);
  const conf = `/etc/modprobe.d/lab-no-${module}.conf`;
  await host.sh(`mkdir -p /etc/modprobe.d; echo "install ${module} /bin/false" > ${conf}`);
  try {
    // Namespaces of earlier scenarios are torn down in the background and hold the modules until then.
    const unload = `[ ! -e /sys/module/${module} ] || modprobe -r $(lsmod | sed -n "s/^\\(${users}\\) .*/\\1/p") ${module}`;
    await lab.eventually(async () => (await host.run(unload)).code === 0, { withinMs: 30_000, what: `${module} is unloaded` });
    await work(async () => { await host.sh(`rm ${conf}; modprobe ${module}`); });
  } finally {
    await host.sh(`rm -f ${conf}`);
  }
}

export const noModule = scenario({
  name: 'bad-no-module',
  about: 'without an ip_vs module the director\'s part is refused with the way out, the real server\'s part and cleanup work, and once the module is there all of it does',
  topology: lan,
  tags: ['bad-input'],
  timeoutSeconds: 180,
  run: async (lab) => {
    const dir1 = lab.host('dir1');
    const clean = await dir1.addresses();
    const edge = group({ nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'dir1' } }, timeouts: { tcpSeconds: 800, tcpFinSeconds: 100, udpSeconds: 200 }, connectionSync: { enabled: true, interface: 'e0', syncId: 7 } });
    const away = group({ nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'dir2' } } }).replace('"edge"', '"away"');
    const others = pool({ directorGroupRef: { name: 'away' }, default: false, blocks: [{ cidr: '10.0.1.128/26' }] }).replace('"lab"', '"others"');
    const text = file(pool({ directorGroupRef: { name: 'edge' } }), others, edge, away, good,
      server({ name: 'direct', mode: 'DR', vips: ['10.0.1.130'], endpoints: ['10.0.1.11'] }));
    await withoutModule(lab, 'dir1', { module: 'ip_vs', users: 'xt_ipvs\\|ip_vs_[a-z_]*' }, async (load) => {
      const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': text }, args: ['--resync', '1'] });
      const status = await lab.eventually(() => {
        const now = agent.status();
        assert.match(JSON.stringify(now?.['virtualServers']), /KernelFeatureMissing[^}]*no ip_vs module[^}]*modprobe ip_vs/);
        return now!;
      }, { withinMs: 30_000, what: 'the missing module is named' });
      assert.deepEqual([status['error'], status['ok'], status['failures']], ['', false, []]);
      const servers = status['virtualServers'] as Record<string, { role: string; conditions: readonly { type: string; status: string }[] }>;
      assert.deepEqual(servers['lab/direct']!.conditions.filter((c) => c.status !== 'True'), [], 'the other VirtualServer');
      assert.equal(servers['lab/direct']!.role, 'realServer');
      assert.deepEqual((await dir1.addresses()).sort(), [...clean, 'lo 10.0.1.130/32'].sort());
      assert.equal(await dir1.sysctl('net.ipv4.conf.all.arp_ignore'), '1');
      await agent.stop();
      const once = await lab.cli('dir1', ['standalone', '--once', '--manifests', agent.manifests, '--state', agent.state, '--node', 'dir1']);
      assert.equal(once.code, 1);
      assert.match(once.stderr, /lab\/good: Programmed: KernelFeatureMissing: .*modprobe ip_vs/);
      assert.equal((await agent.cleanup()).code, 0);
      assert.deepEqual(await dir1.addresses(), clean);
      await agent.start();
      await lab.eventually(() => assert.match(JSON.stringify(agent.status()?.['virtualServers']), /KernelFeatureMissing/), { withinMs: 30_000, what: 'once more without' });
      await load();
      await lab.eventually(async () => assert.deepEqual(await dir1.ipvsSave(), goodTable), { withinMs: 30_000, what: 'the module is there and used' });
      await lab.eventually(() => agent.status()!['ok'] === true, { withinMs: 30_000, what: 'all of it is done' });
    });
  },
});

export const noFou = scenario({
  name: 'bad-no-fou',
  about: 'a real server of GUE that may not load the module fou, which no kernel loads by itself, says what to type, and receives as soon as it is there',
  topology: lan,
  tags: ['bad-input'],
  timeoutSeconds: 120,
  run: async (lab) => {
    const rs1 = lab.host('rs1');
    await withoutModule(lab, 'rs1', { module: 'fou', users: 'fou6' }, async (load) => {
      const gue = server({ name: 'gue', mode: 'TUN', endpoints: ['10.0.1.21'], more: { tun: { encapsulation: 'GUE' } } });
      const agent = await lab.agent('rs1', { manifests: { 'lab.yaml': file(pool(), gue) }, role: 'real-server', args: ['--resync', '1'] });
      await lab.eventually(() => {
        assert.match(JSON.stringify(agent.status()?.['failures']), /the module fou is not loaded, and no kernel loads it by itself: on the host, `modprobe fou`/);
      }, { withinMs: 30_000, what: 'the missing module is named' });
      assert.equal((await rs1.run('ip fou show')).stdout.trim(), '');
      await load();
      await lab.eventually(() => agent.status()!['ok'] === true, { withinMs: 30_000, what: 'all of it is done' });
      assert.match((await rs1.run('ip fou show')).stdout, /port 6080 gue/);
    });
  },
});
