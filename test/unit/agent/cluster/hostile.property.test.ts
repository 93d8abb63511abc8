/**
 * Programs as anybody could write them who may: whatever keeps to the schema and makes no sense. Beside it another VirtualServer is served to the
 * byte as without it, nothing throws, every operation is one that the real client would send, and when it is gone nothing of it is left.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { programOf } from '../../../../src/agent/cluster/programs.ts';
import type { Program } from '../../../../src/api/v1alpha1/program.ts';
import { RESOURCES, type VirtualServerProgram } from '../../../../src/api/v1alpha1/index.ts';
import { isIpvs } from '../../../../src/agent/operation.ts';
import { OperationValidator } from '../../../../src/kernel/ipvs/validate.ts';
import { only, program, TestNode } from '../setup.ts';

const some = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const odd = some('', ' ', '../../x', 'rr;reboot', 'a\nb', '__proto__', 'constructor', '%s', 'ä', '0');
const address = fc.oneof(
  { weight: 20, arbitrary: some('10.0.1.200', '10.0.1.201', '10.0.1.202', '10.0.2.201', 'fd00:1::201', '192.0.2.7') },
  { weight: 2, arbitrary: some('10.0.1.11', 'fd00:1::11', '127.0.0.1', '0.0.0.0', '255.255.255.255', '169.254.169.254', '224.0.0.1', '::', '::1', 'fe80::1', '::ffff:10.0.1.201', '10.0.1.201%e0', 'FD00:1::201', '010.0.1.201', '10.0.1') },
  { weight: 1, arbitrary: odd.filter((t) => t.length >= 2) },
);
const realServer = fc.oneof(
  { weight: 20, arbitrary: fc.tuple(address, some(0, 1, 80, 65_535), some(0, 1, 65_535), some('', 'n1', 'n2', '__proto__')).map((parts) => parts.join('|')) },
  { weight: 1, arbitrary: some('', '|||', '10.0.1.21|80|1', '10.0.1.21|80|1|n|x', '10.0.1.21|-1|1|', '10.0.1.21|80|1e9|', '10.0.1.21|0x50|1|', '10.0.1.21| 80|1|', '10.0.1.21|NaN|1|') },
);
const anyPort = fc.record({ name: odd, protocol: some('TCP', 'UDP', 'SCTP'), port: some(1, 80, 81, 30_000, 65_535), endPort: some(1, 80, 81, 30_100, 65_535) });
/** As the one beside it has: for this the two contend. */
const itsPort = fc.constant({ name: '', protocol: 'TCP' as const, port: 80, endPort: 80 });
const service = fc.oneof(
  fc.record({ ports: fc.array(fc.oneof(anyPort, itsPort), { minLength: 1, maxLength: 3 }), mark: some(0, 1, 77, 0x4900_0000, 2_147_483_647), realServers: fc.array(realServer, { maxLength: 4 }) }),
  fc.record({ ports: fc.tuple(itsPort), mark: fc.constant(0), realServers: fc.array(realServer, { maxLength: 4 }) }),
);
const whole = (most: number): fc.Arbitrary<number> => some(0, 1, 2, Math.floor(most / 2), most);

const spec = fc.record({
  directorGroup: some('edge', 'other', ''), contentHash: odd, mode: some('NAT', 'DR', 'TUN'), sourceAddress: some('Preserve', 'Masquerade', 'VirtualIP'),
  addresses: fc.array(fc.record({ address, family: some('IPv4', 'IPv4', 'IPv6') }), { maxLength: 2 }),
  tunnel: fc.option(fc.record({ encapsulation: some('IPIP', 'GUE', 'GRE'), port: whole(65_535), checksum: some('None', 'Checksum', 'RemoteChecksum') }), { nil: undefined }),
  scheduler: fc.record({ name: fc.oneof({ weight: 4, arbitrary: some('rr', 'wlc', 'sh', 'mh', 'none', 'nosuch') }, { weight: 1, arbitrary: odd }), fallback: fc.boolean(), portAware: fc.boolean(), onePacket: fc.boolean() }),
  persistence: fc.option(fc.record({ timeoutSeconds: some(1, 300, 2_147_483), ipv4PrefixLength: some(1, 32), ipv6PrefixLength: some(1, 128), engine: some('', 'sip', 'nosuch') }), { nil: undefined }),
  services: fc.array(service, { maxLength: 4 }),
  connectionLimits: fc.record({ upper: whole(2_147_483_647), lower: whole(2_147_483_647) }),
  drainTimeoutSeconds: some(0, 1, 86_400), localOnly: some(undefined, true as const), slowStartSeconds: some(undefined, 1, 3600),
  slice: fc.constant({ index: 0, count: 1 }), generation: fc.nat(), virtualServer: fc.constant({ name: 'forged', uid: 'u' }),
});

/** As it comes from the server; null: its schema refuses it. */
function read(fields: object): VirtualServerProgram | null {
  const object = JSON.parse(JSON.stringify({ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualServerProgram', metadata: { name: 'forged', namespace: 'aaa' }, spec: fields })) as object;
  try {
    return RESOURCES.VirtualServerProgram.parse(object);
  } catch {
    return null; // Refused where it is read: then it is nobody's.
  }
}

const good: Program = program({ owner: 'default/shop', directorGroup: 'edge', sourceAddress: 'Masquerade' });
const duties = (owned: readonly string[]) => ({ directs: new Set(['edge', 'other', '']), owned: new Set(owned), receives: new Map(), reserved: new Set(['10.0.1.12']) });

test('whatever a program says, who is not meant is served as without it, and nothing of it stays', async (t) => {
  let taken = 0;
  await fc.assert(fc.asyncProperty(spec, async (fields) => {
    const object = read(fields);
    if (object === null) return;
    const result = programOf([object]);
    if ('problem' in result) return;
    taken += 1;
    const ends: (() => void)[] = [];
    const node = new TestNode({ after: (end) => ends.push(end) }, { role: 'auto' });
    try {
      const validator = new OperationValidator();
      node.kernel.refuse((operation) => (isIpvs(operation) ? validator.check(operation) : null));
      const agent = node.start([good]);
      agent.update(new Map(), undefined, duties(['10.0.1.200']));
      await agent.reconcile('full');
      const before = JSON.stringify(node.kernel.snapshot());
      const shop = () => JSON.stringify([...node.kernel.ipvs.services.get('TCP 10.0.1.200:80')?.destinations.values() ?? []]);
      const served = shop();
      agent.update(only(result.program), undefined, duties(['10.0.1.200', ...result.program.spec.addresses.map((a) => a.address)]));
      for (const extent of ['changes', 'node', 'full'] as const) await agent.reconcile(extent);
      assert.equal(shop(), served, 'another is served as before');
      assert.ok(node.kernel.net.addresses.some((a) => a.address === '10.0.1.200'));
      // With these settled, a look at everything finds nothing to do: it does not flap.
      if (agent.view.failures.length === 0) assert.equal((await agent.reconcile('full')).operations, 0, 'it comes to rest');
      agent.update(new Map([[result.program.owner, null]]), undefined, duties(['10.0.1.200']));
      node.now += 200_000_000;
      for (let i = 0; i < 3; i++) await agent.reconcile('full');
      assert.equal(JSON.stringify(node.kernel.snapshot()), before, 'nothing of it is left');
    } finally {
      for (const end of ends.reverse()) end();
    }
  }), { numRuns: Number(process.env['RUNS'] ?? 200) });
  t.diagnostic(`${taken} programs were taken`);
  assert.ok(taken > 10, `only ${taken} programs came as far as the agent`);
});
