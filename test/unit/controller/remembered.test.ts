/** Memory out of objects: what compile decided, written down and read again, is what it was. */
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { sliceProgram, type ServerObjects, type VirtualIP, type VirtualServerProgram } from '../../../src/api/v1alpha1/index.ts';
import type { Program } from '../../../src/api/v1alpha1/program.ts';
import { desiredVirtualIPs } from '../../../src/controller/reconcile/virtualips.ts';
import { claimsOf, lostOf, marksOf, programsOf, withServed } from '../../../src/controller/remembered.ts';
import { compile, endpoints, key, pin, ports, server } from './compile/setup.ts';

const ALL_PORTS = { persistence: { timeoutSeconds: 60, scope: 'AllPorts' } };
const anySpec = fc.record({
  vip: fc.constantFrom({}, pin('203.0.113.1'), pin('203.0.113.2', '203.0.113.3')),
  ports: fc.constantFrom(ports(80), ports(81, 82), ports([3000, 3010]), ports([4000, 4010], [5000, 5001], 90), { ...ports(83), ...ALL_PORTS }, { ...ports(84, 85, [6000, 6010]), ...ALL_PORTS }, { ...ports([7000, 7010]), ...ALL_PORTS }),
});

const withUid = (s: ReturnType<typeof server>, uid = `uid-${key(s)}`): ServerObjects['VirtualServer'] => ({ ...s, metadata: { ...s.metadata, uid, resourceVersion: '1', generation: 1 } });
const nobody = (): undefined => undefined;
const vip = (address: string, ...claims: VirtualIP['spec']['claims']): VirtualIP =>
  ({ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualIP', metadata: { name: address }, spec: { address, family: 'IPv4', poolRef: { name: 'public' }, directorGroup: '', claims } });
const claim = (owner: string, uid = `uid-${owner}`, ...list: string[]): VirtualIP['spec']['claims'][number] => ({ namespace: owner.split('/')[0]!, name: owner.split('/')[1]!, uid, ports: list });

/** VirtualIPs and programs as the controller would write them. */
function written(servers: readonly ReturnType<typeof server>[], uid?: string): { vips: VirtualIP[]; programs: VirtualServerProgram[]; result: ReturnType<typeof compile> } {
  const result = compile({ servers });
  const byKey = new Map(servers.map((s) => [key(s), withUid(s, uid)]));
  const vips = [...desiredVirtualIPs({ memory: result.memory, servers: byKey, verdicts: new Map(Object.entries(result.verdicts)), present: new Map(), poolOf: () => '', unread: () => false }).values()];
  const programs = Object.values(result.verdicts).flatMap((v) => (v.program ? sliceProgram(v.program, { uid: byKey.get(v.program.owner)!.metadata.uid!, generation: 1 }) : []));
  return { vips, programs, result };
}

describe('memory', () => {
  it('survives being written to objects and read again: claims, ports, marks, programs', () => {
    fc.assert(fc.property(fc.array(anySpec, { maxLength: 6 }), fc.boolean(), (specs, reversed) => {
      const servers = specs.map((s, i) => server(`s${i}`, { ...s.vip, ...s.ports }));
      const { vips, programs, result } = written(servers);
      const read = programsOf(reversed ? programs.toReversed() : programs);
      const memory = { ...claimsOf(reversed ? vips.toReversed() : vips, nobody), marks: marksOf(read.values()) };
      const sorted = (r: Readonly<Record<string, readonly string[]>>) => Object.fromEntries(Object.entries(r).map(([k, v]) => [k, [...v].sort()]).sort());
      assert.deepEqual(sorted(memory.claims), sorted(result.memory.claims));
      assert.deepEqual(sorted(memory.ports), sorted(result.memory.ports));
      // Of those who have a program: nobody serves by the others.
      for (const [name, mark] of Object.entries(result.memory.marks)) if (read.has(name.slice(0, name.indexOf('#')))) assert.equal(memory.marks[name], mark, name);
      assert.deepEqual(Object.fromEntries(read), Object.fromEntries(Object.values(result.verdicts).flatMap((v) => (v.program ? [[v.program.owner, v.program]] : []))));
      // And compiling with it is compiling with the other.
      assert.deepEqual(compile({ servers, memory }).verdicts, compile({ servers, memory: result.memory }).verdicts);
    }), { numRuns: 100 });
  });

  it('keeps a mark that is not the hash of its name, of a range and of AllPorts', () => {
    const collided = (spec: Record<string, unknown>, name: string) => {
      const { verdicts, memory } = compile({ servers: [server('shop', spec)], memory: { claims: {}, ports: {}, marks: { [name]: 0x4900_0007 } } });
      assert.equal(memory.marks[name], 0x4900_0007);
      return marksOf([verdicts['default/shop']!.program!]);
    };
    assert.equal(collided(ports([3000, 3010]), 'default/shop#TCP/3000-3010')['default/shop#TCP/3000-3010'], 0x4900_0007);
    assert.equal(collided({ ...ports(80, 81), ...ALL_PORTS }, 'default/shop#all')['default/shop#all'], 0x4900_0007);
    assert.equal(collided({ ...ports(80), ...ALL_PORTS }, 'default/shop#all')['default/shop#all'], 0x4900_0007);
    assert.deepEqual(marksOf([compile({ servers: [server('shop')] }).verdicts['default/shop']!.program!]), {}, 'an ordinary port has none');
  });

  it('of two addresses that two controllers gave to one VirtualServer has both, the lower first', () => {
    const { claims } = claimsOf([vip('203.0.113.2', claim('ns/a')), vip('203.0.113.1', claim('ns/a'))], nobody);
    assert.deepEqual(claims, { 'ns/a': ['203.0.113.1', '203.0.113.2'] });
  });

  it('lets one that was made anew inherit what it asks for', () => {
    const now = (spec: Record<string, unknown>) => () => withUid(server('ns/a', spec), 'new');
    const vips = [vip('203.0.113.1', claim('ns/a', 'old', 'TCP/80-80'))];
    assert.deepEqual([{}, pin('203.0.113.1'), pin('203.0.113.2')].map((spec) => claimsOf(vips, now(spec)).claims), [{ 'ns/a': ['203.0.113.1'] }, { 'ns/a': ['203.0.113.1'] }, {}]);
    assert.deepEqual(claimsOf(vips, () => withUid(server('ns/a', pin('203.0.113.2')), 'old')).claims, { 'ns/a': ['203.0.113.1'] }, 'the same one is served there until it has moved');
  });

  it('has whole programs only', () => {
    const many = endpoints(...Array.from({ length: 1_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`));
    const { programs } = written([server('shop', { ...many, ...ports(80, 81) })]);
    assert.equal(programs.length, 2);
    assert.deepEqual([programsOf(programs).size, programsOf(programs.slice(0, 1)).size, programsOf(programs.slice(1)).size], [1, 0, 0]);
  });
});

describe('what is served without a claim', () => {
  const program = (name: string, address: string): Program => compile({ servers: [server(name, { ...pin(address), ...ports(80, [90, 91]) })] }).verdicts[`default/${name}`]!.program!;

  it('is claimed again by who is served there', () => {
    assert.deepEqual(withServed({ claims: {}, ports: {} }, [program('a', '203.0.113.1')]), { claims: { 'default/a': ['203.0.113.1'] }, ports: { 'default/a': ['TCP/80-80', 'TCP/90-91'] } });
    const other = { claims: { 'default/a': ['203.0.113.2'] }, ports: { 'default/a': ['TCP/7-7'] } };
    assert.deepEqual(withServed(other, [program('a', '203.0.113.1')]), { claims: { 'default/a': ['203.0.113.2', '203.0.113.1'] }, ports: { 'default/a': ['TCP/7-7'] } });
  });

  it('is not, where somebody claims it', () => {
    const claimed = { claims: { 'default/b': ['203.0.113.1'] }, ports: {} };
    assert.deepEqual(withServed(claimed, [program('a', '203.0.113.1')]), claimed);
  });

  it('is lost where others claim it, or when it was another one\'s', () => {
    const programs = [program('a', '203.0.113.1')];
    const lost = (vips: VirtualIP[], uid: string | null = null, written: string | null = null) => [...lostOf(vips, programs, () => (uid === null ? undefined : withUid(server('a'), uid)), () => (written === null ? [] : sliceProgram(programs[0]!, { uid: written, generation: 1 })))];
    assert.deepEqual([lost([]), lost([vip('203.0.113.1')]), lost([vip('203.0.113.1', claim('default/a'))]), lost([vip('203.0.113.1', claim('default/b'), claim('default/a'))])], [[], [], [], []]);
    assert.deepEqual(lost([vip('203.0.113.1', claim('default/b'))]), ['default/a']);
    assert.deepEqual([lost([], 'new', 'old'), lost([], 'same', 'same'), lost([], null, 'old')], [['default/a'], [], []]);
  });
});
