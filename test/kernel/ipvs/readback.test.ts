/** Reading: the fast path, the reference and the truth agree, for random tables, for long ones, and while others write. */
import { afterEach, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fc from 'fast-check';
import type { IpvsOperation } from '../../../src/kernel/ipvs/contract.ts';
import { servicesIn } from '../../../src/kernel/ipvs/fingerprint.ts';
import { destinationKey, serviceKey, type Destination, type Service } from '../../../src/kernel/ipvs/types.ts';
import { anyDestination, anyService, destination, fwmark, service } from '../../unit/kernel/ipvs/values.ts';
import { adding, applied, client, closeClients, freshNamespace, plain, saved, wanted } from './guest.ts';

beforeEach(() => freshNamespace());
afterEach(closeClients);

const v4 = (n: number): Destination => destination({ address: `10.1.${n >> 8}.${n & 255}`, weight: n % 3 });
const v6 = (n: number): Destination => destination({ family: 'IPv6', address: `2001:db8::${(n + 1).toString(16)}` });
const S6 = service({ family: 'IPv6', address: '2001:db8::1' });
const many = <T>(count: number, make: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => make(n));

test('both ways of reading report what was applied, for any table', async () => {
  const fast = client();
  const reference = client({ netlinkOnly: true });
  const table = fc.uniqueArray(anyService, { selector: serviceKey, maxLength: 8 }).chain((services) =>
    fc.tuple(...services.map((s) => fc.uniqueArray(anyDestination(s), { selector: destinationKey, maxLength: 6 }).map((d): [Service, Destination[]] => [s, d]))));
  await fc.assert(fc.asyncProperty(table, async (rows) => {
    const expected = wanted(...rows);
    try {
      await applied(fast, rows.flatMap(([s, d]) => adding(s, d)));
      assert.deepEqual(plain(await fast.readAll()), expected);
      assert.deepEqual(plain(await reference.readAll()), expected);
      const keys = rows.map(([s]) => s);
      assert.deepEqual(plain(fast.read(keys)), expected);
      assert.deepEqual(plain(reference.read(keys)), expected);
    } finally {
      await applied(fast, rows.map(([s]) => ({ kind: 'delService', service: s })));
    }
  }), { numRuns: 100 });
  assert.deepEqual(saved(), []);
});

describe('long lists', () => {
  test('of destinations come whole, in both families, by both ways', async () => {
    const rows: [Service, Destination[]][] = [[service(), many(3000, v4)], [S6, many(1000, v6)], [fwmark(9), [...many(200, v4), ...many(200, (n) => ({ ...v6(n), method: 'tunnel' as const }))]]];
    const fast = client();
    await applied(fast, rows.flatMap(([s, d]) => adding(s, d)));
    assert.equal(saved().length, 3 + 4400);
    const expected = wanted(...rows);
    for (const ipvs of [fast, client({ netlinkOnly: true })]) {
      assert.deepEqual(plain(await ipvs.readAll()), expected);
      assert.deepEqual(plain(ipvs.read(rows.map(([s]) => s))), expected);
    }
  });

  test('of services come whole, in both families, by both ways', async () => {
    const services = many(600, (n) => [service({ port: n + 1 }), { ...S6, port: n + 1 }]).flat();
    const fast = client();
    await applied(fast, services.flatMap((s) => adding(s)));
    for (const ipvs of [fast, client({ netlinkOnly: true })]) assert.deepEqual(Object.keys(plain(await ipvs.readAll())).sort(), services.map(serviceKey).sort());
  });
});

describe('the fingerprint', () => {
  const base = [...adding(service(), [destination()]), ...adding(S6, [v6(0)]), ...adding(fwmark(5), [])];
  const mutations: [what: string, operation: IpvsOperation][] = [
    ['a service more', { kind: 'addService', service: service({ port: 81 }) }],
    ['a service less', { kind: 'delService', service: fwmark(5) }],
    ['another scheduler', { kind: 'setService', service: service({ scheduler: 'rr' }), changed: ['scheduler'] }],
    ['another flag', { kind: 'setService', service: service({ scheduler: 'sh', flags: 8 }), changed: [] }],
    ['persistence', { kind: 'setService', service: service({ flags: 1, timeoutSeconds: 7 }), changed: [] }],
    ['a destination more', { kind: 'addDestination', service: service(), destination: v4(9) }],
    ['a destination less', { kind: 'delDestination', service: service(), destination: destination() }],
    ['an IPv6 destination less', { kind: 'delDestination', service: S6, destination: v6(0) }],
    ['an IPv6 service less', { kind: 'delService', service: S6 }],
    ['another scheduler of an IPv6 service', { kind: 'setService', service: { ...S6, scheduler: 'rr' }, changed: ['scheduler'] }],
  ];
  for (const netlinkOnly of [false, true]) {
    for (const [what, operation] of mutations) {
      test(`differs with ${what}${netlinkOnly ? ', by netlink alone' : ''}`, async () => {
        const ipvs = client({ netlinkOnly });
        await applied(ipvs, base);
        const before = ipvs.fingerprint();
        assert.deepEqual([ipvs.fingerprint(), servicesIn(before)], [before, 3]);
        await applied(client(), [operation]);
        assert.notEqual(ipvs.fingerprint(), before);
        assert.equal(servicesIn(ipvs.fingerprint()), 3 + (operation.kind === 'addService' ? 1 : operation.kind === 'delService' ? -1 : 0));
      });
    }
  }

  test('does not look for IPv6 where none was seen, and does after some was', async () => {
    const ipvs = client();
    await applied(ipvs, adding(service()));
    await ipvs.readAll();
    const before = ipvs.fingerprint();
    await applied(client(), adding(S6));
    assert.equal(ipvs.fingerprint(), before);
    await ipvs.readAll();
    assert.notEqual(ipvs.fingerprint(), before);
  });
});

for (const netlinkOnly of [false, true]) {
  test(`while somebody adds and deletes others, what is called complete misses nothing (${netlinkOnly ? 'netlink alone' : 'fast path'})`, async () => {
    const stable = many(400, (n) => n % 2 ? { ...S6, port: n + 1 } : service({ port: n + 1 }));
    const ipvs = client({ netlinkOnly });
    await applied(ipvs, stable.flatMap((s) => adding(s, [s.family === 'IPv6' ? v6(1) : v4(1)])));
    const script = `import { openIpvs } from '${import.meta.dirname}/../../../src/kernel/ipvs/client.ts';
      const ipvs = openIpvs();
      const others = Array.from({ length: 300 }, (_, n) => (n % 2 ? ${JSON.stringify(S6)} : ${JSON.stringify(service())})).map((s, n) => ({ ...s, port: 1000 + n }));
      console.log('ready');
      for (;;) {
        await ipvs.apply(others.map((service) => ({ kind: 'addService', service })));
        for (const service of others) await ipvs.apply([{ kind: 'delService', service }]);
      }`;
    const other = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(other, 'exit');
    await once(other.stdout, 'data');
    const counts = { complete: 0, incomplete: 0, disturbed: 0 };
    // For a while, and until enough was seen: the two share a CPU, and who gets how much of it is nobody's promise.
    const enough = (milliseconds: number): boolean => milliseconds > 60_000 || (milliseconds > 6_000 && counts.disturbed > 0 && counts.complete > 0);
    for (const began = performance.now(); !enough(performance.now() - began); await new Promise(setImmediate)) {
      const all = await ipvs.readAll();
      counts[all.complete ? 'complete' : 'incomplete']++;
      if (all.services.size > stable.length) counts.disturbed++;
      const missing = stable.filter((s) => !all.services.has(serviceKey(s)));
      if (all.complete) assert.deepEqual(missing.map(serviceKey), []);
      for (const s of stable) if (all.services.get(serviceKey(s))?.complete) assert.equal(all.services.get(serviceKey(s))!.destinations.length, 1);
    }
    other.kill('SIGKILL');
    await exited;
    assert.ok(counts.disturbed > 0, `the other process was seen at work: ${JSON.stringify(counts)}`);
    assert.ok(counts.complete > 0, JSON.stringify(counts));
  });
}
