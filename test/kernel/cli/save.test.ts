/**
 * `save` and our ipvsadm text against Debian's ipvsadm and the real kernel. Runs in a lab guest, in the guest's own namespace:
 * it begins with an empty table and leaves one.
 */
import { afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { parseIpvsadm } from '../../../src/cli/ipvsadm-parse.ts';
import { printIpvsadm } from '../../../src/cli/ipvsadm-text.ts';
import { sortTable, tableOf, type TableEntry } from '../../../src/cli/ipvs-table.ts';
import { openIpvs } from '../../../src/kernel/ipvs/client.ts';
import { serviceKey, SERVICE_FLAG } from '../../../src/kernel/ipvs/types.ts';
import { objectsOf, tableFrom } from '../../unit/cli/pipeline.ts';
import { anyTable, expressibleTable, withoutLines } from '../../unit/cli/tables.ts';

assert.ok(process.env.LAB_GUEST, 'this test empties the IPVS table: it runs in a lab guest only (test/lab/main.ts --exec)');

const MAIN = resolve(import.meta.dirname, '../../../src/main.ts');

function command(program: string, args: readonly string[], input = ''): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { input, encoding: 'utf8', timeout: 300_000 });
  return { code: status, stdout, stderr };
}
const operator = (args: readonly string[], input = '') => command(process.execPath, [MAIN, ...args], input);

/** Loads a text with the real ipvsadm, into an empty table. It ends with 0 on some errors: stderr must be empty. */
function restore(text: string): void {
  command('ipvsadm', ['-C']);
  const { code, stderr } = command('ipvsadm', ['-R'], text);
  assert.deepEqual([code, stderr], [0, ''], text);
}

const lines = (text: string) => text.split('\n').filter(Boolean).sort();
/** As ipvsadm prints: it forgets thresholds, and knows no third flag of sh and mh. */
const asIpvsadm = (text: string) => text.replaceAll(/ -[xy] \d+/g, '').replaceAll(/( -s (?:sh|mh) .*-b \S+),flag-3\b/g, '$1');

async function kernelTable(): Promise<TableEntry[]> {
  const ipvs = openIpvs();
  try {
    return tableOf(await ipvs.readAll());
  } finally {
    ipvs.close();
  }
}

/** What the tools cannot say to each other, or this kernel not keep: removed from a random table. */
function loadable(table: readonly TableEntry[]): TableEntry[] {
  return table.flatMap((entry): TableEntry[] => {
    const { service, destinations } = entry;
    if (service.scheduler === 'twos') return [];
    // ipvsadm: one-packet for UDP only; marks from 2^31 on are printed as negative numbers, and timeouts end at 31 days.
    if (service.flags & SERVICE_FLAG.onePacket && service.protocol !== 'UDP') return [];
    if (service.fwmark > 0x7fff_ffff || service.timeoutSeconds > 2_678_400) return [];
    // An engine without persistence does nothing, and reading does not report it.
    if (service.engine !== '' && !(service.flags & SERVICE_FLAG.persistent)) return [];
    // Only the third flag: ipvsadm prints an empty -b.
    if ((service.scheduler === 'sh' || service.scheduler === 'mh') && (service.flags & 0x38) === SERVICE_FLAG.sched3) return [];
    return [{
      ...entry,
      destinations: destinations
        // ipvsadm replaces the port of what is not NAT by the service's.
        .map((d) => (service.fwmark === 0 && d.method !== 'masq' ? { ...d, port: service.port } : d))
        .filter((d, i, all) => d.lower <= d.upper && all.findIndex((o) => o.address === d.address && o.port === d.port) === i),
    }];
  });
}

before(() => {
  assert.equal(command('modprobe', ['ip_vs']).code, 0);
});
afterEach(() => {
  command('ipvsadm', ['-C']);
});

test('what we print, ipvsadm -R accepts, and ipvsadm -Sn and the kernel have the same', async () => {
  await fc.assert(fc.asyncProperty(anyTable, async (random) => {
    const table = sortTable(loadable(random));
    restore(printIpvsadm(table));
    assert.deepEqual(lines(command('ipvsadm', ['-Sn']).stdout), lines(asIpvsadm(printIpvsadm(table))));
    assert.deepEqual(withoutLines(await kernelTable()), withoutLines(table));
  }), { numRuns: 15, seed: 20_261_123 });
});

test('what ipvsadm -Sn prints, we read as what the kernel has', async () => {
  await fc.assert(fc.asyncProperty(anyTable, async (random) => {
    const table = sortTable(loadable(random)).map((e) => ({ ...e, destinations: e.destinations.map((d) => ({ ...d, upper: 0, lower: 0 })) }));
    restore(printIpvsadm(table));
    const { entries, problems } = parseIpvsadm(command('ipvsadm', ['-Sn']).stdout);
    assert.deepEqual(problems, []);
    assert.deepEqual(sortTable(entries).map((e) => serviceKey(e.service)), table.map((e) => serviceKey(e.service)));
    const third = (e: TableEntry) => (e.service.scheduler === 'sh' || e.service.scheduler === 'mh' ? { ...e, service: { ...e.service, flags: e.service.flags & ~SERVICE_FLAG.sched3 } } : e);
    assert.deepEqual(withoutLines(sortTable(entries)), withoutLines((await kernelTable()).map(third)));
  }), { numRuns: 10, seed: 20_261_124 });
});

const TABLE = `-A -t 192.0.2.10:80 -s wrr
-a -t 192.0.2.10:80 -r 10.0.0.1:8080 -m -w 3 -x 100 -y 50
-a -t 192.0.2.10:80 -r 10.0.0.2:8080 -m -w 1 -x 100 -y 50
-A -t 192.0.2.11:443 -s mh -p 60 -M 255.255.255.0 -b mh-fallback,mh-port
-a -t 192.0.2.11:443 -r 10.0.0.1:443 -g -w 1
-A -t [2001:db8::10]:80 -s rr
-a -t [2001:db8::10]:80 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
`;

test('save prints the kernel’s table, thresholds included, and ipvsadm -R takes it back', () => {
  restore(TABLE);
  const saved = operator(['save']);
  assert.deepEqual([saved.code, saved.stderr, saved.stdout], [0, '', TABLE]);
  restore(saved.stdout);
  assert.equal(operator(['save']).stdout, TABLE);
});

test('save -o yaml is a folder that gives this table again', () => {
  restore(TABLE);
  const { code, stdout, stderr } = operator(['save', '-o', 'yaml']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.equal(printIpvsadm(sortTable(tableFrom(stdout))), TABLE);
  assert.equal([...objectsOf(stdout).keys()].filter((k) => k.startsWith('VirtualServer/')).length, 3);
});

test('save -o yaml says what it leaves out, and exits with 1', () => {
  restore(`${TABLE}-A -f 5 -s rr\n`);
  const { code, stdout, stderr } = operator(['save', '-o', 'yaml']);
  assert.equal(code, 1);
  assert.match(stderr, /^left out: FWM 5 IPv4: /);
  assert.match(stdout, /^# {3}FWM 5 IPv4: /m);
});

test('an imported table is adopted by standalone: nothing to change in IPVS', async (t) => {
  await fc.assert(fc.asyncProperty(expressibleTable, async (table) => {
    const folder = mkdtempSync(join(tmpdir(), 'adopt-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const usable = loadable(table.filter((e) => e.service.timeoutSeconds <= 2_678_400 && !(e.service.flags & SERVICE_FLAG.sched3)));
    restore(printIpvsadm(usable));
    const imported = operator(['import'], command('ipvsadm', ['-Sn']).stdout);
    writeFileSync(join(folder, 'imported.yaml'), imported.stdout);
    command('ip', ['link', 'add', 'e0', 'type', 'dummy']);
    command('ip', ['link', 'set', 'e0', 'up']);
    command('ip', ['addr', 'add', '198.18.250.250/15', 'dev', 'e0']);
    command('ip', ['addr', 'add', '2001:db8:ffff::1/32', 'dev', 'e0']);
    // A file that was written a moment ago counts as being written.
    await new Promise((done) => setTimeout(done, 400));
    const planned = operator(['plan', '--manifests', folder, '--state', join(folder, 'state'), '-o', 'json']);
    assert.notEqual(planned.stdout, '', planned.stderr);
    const { operations, problems } = JSON.parse(planned.stdout) as { operations: { kind: string }[]; problems: string[] };
    assert.deepEqual(problems, []);
    // Thresholds are what ipvsadm forgot to save.
    assert.deepEqual(operations.filter((o) => /service|destination/i.test(o.kind) && o.kind !== 'setDestination'), []);
  }), { numRuns: 3, seed: 20_261_125 });
});
