/** What the controller counts, read as Prometheus reads it. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { controllerMetrics } from '../../../src/controller/metrics.ts';
import { createMetrics } from '../../../src/observe/metrics.ts';
import { Bench, lease, node } from './bench.ts';
import { group, pool, server } from './compile/setup.ts';

async function text(metrics: ReturnType<typeof createMetrics>): Promise<string[]> {
  let all = '';
  for await (const piece of metrics.scrape()) all += piece;
  return all.split('\n').filter((l) => l.startsWith('ipvs_operator_'));
}

test('writes, passes, leading, and what caches and controller know, as they are at the scrape', async () => {
  const metrics = createMetrics({ process: false });
  const counters = controllerMetrics(metrics, '1.2.3');
  const b = new Bench(1, 5);
  b.put(pool(), pool('second', { default: false, blocks: [{ cidr: '2001:db8::/120' }] }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), server('a'), server('b', { vip: { poolRef: { name: 'none' } } }));
  const { controller, world } = b.start('one', { count: counters.count, onPass: counters.pass });
  counters.watch(world, controller, b.time.now);
  const has = async (...lines: string[]): Promise<void> => {
    const all = await text(metrics);
    for (const line of lines) assert.ok(all.includes(line), `${line}\nis not among\n${all.filter((l) => l.startsWith(line.slice(0, line.search(/[{ ]/)))).join('\n')}`);
  };
  await has('ipvs_operator_controller_leader 0', 'ipvs_operator_controller_programs 0', 'ipvs_operator_reflector_synced{resource="nodes"} 0');
  counters.leads(true);
  await b.settle();
  b.report('e1');
  await b.settle();
  await has(
    'ipvs_operator_controller_leader 1', 'ipvs_operator_controller_programs 1', 'ipvs_operator_reflector_synced{resource="nodes"} 1', 'ipvs_operator_reflector_objects{resource="virtualservers.ipvs-operator.dev"} 2',
    'ipvs_operator_controller_writes_total{kind="VirtualIP",verb="create",result="success"} 1',
    'ipvs_operator_controller_virtualservers{condition="Ready",status="True"} 1', 'ipvs_operator_controller_virtualservers{condition="Accepted",status="False"} 1', 'ipvs_operator_controller_virtualservers{condition="Programmed",status="Unknown"} 0',
    'ipvs_operator_controller_pool_addresses{pool="public",family="IPv4",state="capacity"} 6', 'ipvs_operator_controller_pool_addresses{pool="public",family="IPv4",state="allocated"} 1', 'ipvs_operator_controller_pool_addresses{pool="second",family="IPv6",state="capacity"} 254',
  );
  b.drop('VIPPool', 'second');
  await b.settle();
  const all = await text(metrics);
  assert.deepEqual(all.filter((l) => l.includes('pool="second"')), [], 'a pool that is gone');
  assert.ok(all.some((l) => /^ipvs_operator_controller_reconciles_total\{kind="all",result="success"\} [1-9]/.test(l)));
  counters.leads(false);
  await has('ipvs_operator_controller_leader 0');
  await b.stopAll();
});
