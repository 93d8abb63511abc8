/** The way of a manifest folder through our own pipeline, up to the table that a director would program. Not a test. */
import assert from 'node:assert/strict';
import { loadAll } from 'js-yaml';
import { desired } from '../../../src/agent/desired.ts';
import { indexFacts, type NodeFacts } from '../../../src/agent/facts.ts';
import type { TableEntry } from '../../../src/cli/ipvs-table.ts';
import { formatProblem, objectKey, parseObject, SCHEDULERS } from '../../../src/api/v1alpha1/index.ts';
import { NO_MEMORY } from '../../../src/controller/compile/memory.ts';
import { Compiler, type Objects } from '../../../src/controller/compiler.ts';

/** A director that can do everything, with a NIC whose subnet holds every address. */
const FACTS: NodeFacts = {
  name: 'director', role: 'director', labels: {}, ours: new Set(), netfilter: 'nft',
  links: [{ name: 'e0', index: 2, kind: '', up: true, carrier: true, loopback: false, mtu: 1500, mac: '', tunnelLocal: '', tunnelRemote: '' }],
  addresses: [
    { link: 'e0', family: 'IPv4', address: '203.0.113.1', prefixLength: 0, deprecated: false, dadFailed: false, protocol: 0 },
    { link: 'e0', family: 'IPv6', address: '2001:db8:ffff::1', prefixLength: 0, deprecated: false, dadFailed: false, protocol: 0 },
  ],
  capabilities: {
    kernel: 'test', version: '1.2.1', connectionTableSize: 4096, schedulers: new Set<string>(SCHEDULERS), engines: new Set(['sip']),
    tunnelTypes: new Set(['ipip', 'gue', 'gre']), ipv6: true, stats64: true,
  },
};

/** Every object of the text, valid. */
export function objectsOf(yaml: string): Objects {
  return new Map((loadAll(yaml) as unknown[]).map((value) => {
    const parsed = parseObject(value);
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.problems.map(formatProblem).join('\n'));
    return [objectKey(parsed.object), { object: parsed.object }];
  }));
}

/** The IPVS table that these manifests make of a director. Fails when anything is refused or left out on the way. */
export function tableFrom(yaml: string): TableEntry[] {
  const objects = objectsOf(yaml);
  const compiler = new Compiler(NO_MEMORY);
  const { programs } = compiler.update(objects, new Set(objects.keys()), false);
  for (const [name, verdict] of compiler.verdicts) assert.ok(verdict.accepted && verdict.excludedCount === 0, `${name}: ${verdict.message} ${verdict.excluded.map((e) => e.message).join()}`);
  const index = indexFacts(FACTS);
  return [...programs.values()].flatMap((program) => {
    const fragment = desired(program!, null, index);
    assert.deepEqual(fragment.refusals, []);
    return fragment.services.map(({ service, destinations }) => ({ service, destinations: destinations.toArray(), line: 0 }));
  });
}
