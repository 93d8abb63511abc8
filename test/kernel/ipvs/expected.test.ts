/** Reading with an expectation: what is as expected is the expected object itself, and whatever differs is told all the same. */
import { afterEach, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import type { IpvsOptions } from '../../../src/kernel/ipvs/client.ts';
import type { IpvsClient, IpvsObservation, ObservedService } from '../../../src/kernel/ipvs/contract.ts';
import { DestinationTable } from '../../../src/kernel/ipvs/destinations.ts';
import { serviceKey, type Destination, type Service } from '../../../src/kernel/ipvs/types.ts';
import { destination, service } from '../../unit/kernel/ipvs/values.ts';
import { adding, applied, client, closeClients, freshNamespace, plain, run } from './guest.ts';

/** How the destinations of known services are read: one getsockopt each, or by dumps in bundles; and as this kernel is. */
const ways: Record<string, IpvsOptions> = { 'one by one': { callMicroseconds: 0 }, 'in bundles': { callMicroseconds: 1000 }, 'as it pays': {} };

beforeEach(() => freshNamespace());
afterEach(closeClients);

const vip = (n: number): Service => service({ address: `10.96.0.${n + 1}`, port: 80, scheduler: 'rr' });
const real = (n: number, weight = 1 + (n % 3)): Destination => destination({ address: `172.16.0.${n + 1}`, port: 8080, weight });
const reals = [0, 1, 2, 3].map((n) => real(n));
const services = [0, 1, 2, 3, 4, 5].map(vip);
const expected = new Map(services.map((s) => [serviceKey(s), { service: s, destinations: DestinationTable.from(reals) }]));
const last = vip(5);

/** A client that has read everything before, so that it knows of nothing but IPv4. */
async function loaded(way: IpvsOptions): Promise<IpvsClient> {
  const ipvs = client(way);
  await applied(ipvs, services.flatMap((s) => adding(s, reals)));
  assert.deepEqual(plain(await ipvs.readAll()), plain(await ipvs.readAll(undefined, expected)));
  return ipvs;
}

for (const [name, way] of Object.entries(ways)) {
  test(`an untouched table is read as the expected objects, again and again: ${name}`, async () => {
    const ipvs = await loaded(way);
    for (let i = 0; i < 8; i++) {
      const observed = await ipvs.readAll(undefined, expected);
      assert.ok(observed.complete);
      assert.deepEqual([...observed.services.keys()].sort(), [...expected.keys()].sort());
      for (const [key, { service: s, destinations }] of observed.services) {
        assert.equal(destinations, expected.get(key)!.destinations);
        assert.equal(s, expected.get(key)!.service);
      }
    }
  });
}

const t = `${last.address}:80`;
const changes: [what: string, command: string][] = [
  ['a weight', `-e -t ${t} -r 172.16.0.2:8080 -m -w 9`],
  ['a destination of another method', `-a -t ${t} -r 172.16.0.9 -g`],
  ['a threshold', `-e -t ${t} -r 172.16.0.2:8080 -m -w 2 -x 10 -y 5`],
  ['a destination through a tunnel', `-a -t ${t} -r 172.16.0.9 -i`],
  ['a destination less', `-d -t ${t} -r 172.16.0.2:8080`],
  ['a destination more', `-a -t ${t} -r 172.16.0.9:8080 -m`],
  ['another scheduler', `-E -t ${t} -s wlc`],
  ['persistence', `-E -t ${t} -s rr -p 60`],
  ['a service less', `-D -t ${t}`],
  ['a service more', '-A -t 10.96.0.99:80 -s rr'],
  ['a service with a mark', '-A -f 7 -s rr'],
];

for (const [name, way] of Object.entries(ways)) {
  for (const [what, command] of changes) {
    test(`${what} by somebody else is told, as without an expectation: ${name}`, async () => {
      const ipvs = await loaded(way);
      await ipvs.readAll(undefined, expected);
      run('ipvsadm', ...command.split(' '));
      const [same, withExpectation] = [plain(await client({ netlinkOnly: true }).readAll()), plain(await ipvs.readAll(undefined, expected))];
      assert.deepEqual(withExpectation, same);
      assert.notDeepEqual(withExpectation, plain({ services: new Map([...expected].map(([key, e]) => [key, { ...e, complete: true }])), complete: true }));
      assert.deepEqual(plain(await ipvs.readAll(undefined, expected)), same);
    });
  }

  test(`destinations in another order than ours are the same destinations: ${name}`, async () => {
    const ipvs = client(way);
    await applied(ipvs, services.flatMap((s) => adding(s, [reals[2]!, reals[0]!, reals[3]!, reals[1]!])));
    await ipvs.readAll();
    const observed = await ipvs.readAll(undefined, expected);
    assert.deepEqual(plain(observed), plain(await client().readAll()));
    for (const [key, { destinations }] of observed.services) assert.equal(destinations, expected.get(key)!.destinations);
  });

  test(`everything that getsockopt cannot tell, and tables of all sizes, are read as without an expectation: ${name}`, async () => {
    const six = (n: number): Service => service({ family: 'IPv6', address: `2001:db8::${n + 1}`, port: 80, prefixLength: 128, scheduler: 'rr' });
    const of = (count: number, family: 'IPv4' | 'IPv6', method: Destination['method'] = 'masq'): Destination[] => Array.from({ length: count }, (_, n) => destination({
      family, address: family === 'IPv4' ? `172.16.1.${n + 1}` : `2001:db8:1::${(n + 1).toString(16)}`, port: method === 'masq' ? 8080 : 80, method, weight: n % 4,
    }));
    const wanted = [
      ...[0, 1, 2, 3, 10, 63, 64, 65, 100].map((count, n) => ({ service: vip(n), destinations: of(count, 'IPv4') })),
      ...[0, 1, 9, 10, 11, 64, 65, 100].map((count, n) => ({ service: six(n), destinations: of(count, 'IPv6') })),
      { service: vip(20), destinations: of(5, 'IPv4', 'tunnel') },
      { service: six(20), destinations: [...of(5, 'IPv6', 'tunnel'), ...of(3, 'IPv4', 'tunnel')] },
    ];
    const all = new Map(wanted.map((w) => [serviceKey(w.service), { service: w.service, destinations: DestinationTable.from(w.destinations) }]));
    const ipvs = client(way);
    await applied(ipvs, wanted.flatMap((w) => adding(w.service, w.destinations)));
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(plain(await ipvs.readAll(undefined, all)), plain(await client({ netlinkOnly: true }).readAll()));
      // More than was there a moment ago, so more than there is room for, in the middle of a bundle.
      await applied(client(), of(20 + 12 * i, 'IPv6').map((d) => ({ kind: 'addDestination', service: six(2), destination: d })));
      run('ipvsadm', '-e', '-t', '[2001:db8::4]:80', '-r', '[2001:db8:1::5]:8080', '-m', '-w', String(100 + i));
      const told = plain(await ipvs.readAll(undefined, all));
      assert.deepEqual(told, plain(await client({ netlinkOnly: true }).readAll()));
      assert.deepEqual(plain(await ipvs.readAll(undefined, all)), told);
    }
  });
}

for (const [name, way] of Object.entries(ways)) test(`connections of a service that is to become another are told as they are, although its table was known without them: ${name}`, async () => {
  const ipvs = await loaded(way);
  await ipvs.readAll(undefined, expected);
  run('ip', 'link', 'set', 'lo', 'up');
  run('ip', 'addr', 'add', `${last.address}/32`, 'dev', 'lo');
  run('ip', 'route', 'add', 'local', '172.16.0.0/24', 'dev', 'lo');
  // Refused by every real server, and counted.
  for (let i = 0; i < 4; i++) assert.throws(() => run('bash', '-c', `exec 3<>/dev/tcp/${last.address}/80`));
  const counts = ({ services: all }: IpvsObservation, key = serviceKey(last)): number[] => {
    const { destinations: table } = all.get(key)!;
    return reals.map((_, i) => table.active(i) + table.inactive(i));
  };
  const now = counts(await client().readAll());
  assert.ok(now.some((n) => n > 0), now.join());
  assert.deepEqual(counts(await ipvs.readAll(undefined, expected)), [0, 0, 0, 0], 'nobody asks');
  const lighter = DestinationTable.from(reals.map((d) => ({ ...d, weight: 0 })));
  assert.deepEqual(counts(await ipvs.readAll(undefined, new Map([...expected, [serviceKey(last), { service: last, destinations: lighter }]]))), now);
});

test('an IPv6 service of ours is told at once, one of somebody else within a few reads', async () => {
  const ipvs = await loaded({});
  run('ipvsadm', '-A', '-t', '[2001:db8::9]:80', '-s', 'rr');
  const seen: boolean[] = [];
  for (let i = 0; i < 8; i++) seen.push((await ipvs.readAll(undefined, expected)).services.has('TCP [2001:db8::9]:80'));
  assert.ok(seen.at(-1), seen.join());
  const six = service({ family: 'IPv6', address: '2001:db8::1', port: 80, prefixLength: 128 });
  const other = await loaded2();
  await applied(other, adding(six));
  assert.ok((await other.readAll(undefined, expected)).services.has(serviceKey(six)));
});

async function loaded2(): Promise<IpvsClient> {
  freshNamespace();
  return loaded({});
}

/** What a walk sees, as an observation. `between` is called after each piece. */
function walked(ipvs: IpvsClient, between: () => void = () => {}): ReturnType<typeof plain> {
  const walk = ipvs.walk(expected);
  const seen = new Map<string, ObservedService>();
  for (let piece = walk.next(); piece !== null; piece = walk.next()) {
    for (const [key, observed] of piece) seen.set(key, observed);
    between();
  }
  return plain({ services: seen, complete: walk.complete });
}

for (const [what, command] of [['nothing', ''], ...changes] as const) for (const [name, way] of Object.entries(ways).slice(0, 2)) {
  test(`piece by piece the same is read as at once, after a change of ${what}: ${name}`, async () => {
    const ipvs = await loaded(way);
    if (command !== '') run('ipvsadm', ...command.split(' '));
    const reference = plain(await client().readAll());
    assert.deepEqual(walked(ipvs), reference);
    assert.deepEqual(plain(await ipvs.readAll(undefined, expected)), reference, 'and what is read at once is right after it');
    assert.deepEqual(walked(ipvs), reference);
  });
}

for (const [name, way] of Object.entries(ways).slice(0, 2)) test(`a walk that is left, or overtaken by another reading, spoils neither that one nor itself: ${name}`, async () => {
  const many = Array.from({ length: 200 }, (_, n): Service => service({ address: `10.97.${n >> 7}.${n & 127}`, port: 80, scheduler: 'rr' }));
  const ipvs = await loaded(way);
  await applied(ipvs, many.flatMap((s) => adding(s, reals)));
  await ipvs.readAll(undefined, expected);
  ipvs.walk(expected).next();
  run('ipvsadm', ...`-e -t ${t} -r 172.16.0.2:8080 -m -w 9`.split(' '));
  const reference = plain(await client().readAll());
  assert.deepEqual(plain(await ipvs.readAll(undefined, expected)), reference, 'after one that was left');
  let times = 0;
  // A service less in front: every place in the list is another one's.
  assert.deepEqual(walked(ipvs, () => {
    if (times++ > 0) return;
    run('ipvsadm', '-D', '-t', `${many[0]!.address}:80`);
    walked(ipvs);
  })[serviceKey(last)], reference[serviceKey(last)], 'one that was overtaken');
  assert.deepEqual(plain(await ipvs.readAll(undefined, expected)), plain(await client().readAll()), 'and after that');
});
