/** The kernel's table as save shows it. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { CHECK_MARK_BASE } from '../../../src/agent/health/forwarded.ts';
import { tableOf } from '../../../src/cli/ipvs-table.ts';
import { destination, makeKernel, service } from '../agent/setup.ts';

test('services that only checks use are not saved; other fwmark services are', async () => {
  const { ipvs } = makeKernel();
  ipvs.put(service(), [destination('10.0.1.21')]);
  for (const fwmark of [7, CHECK_MARK_BASE + 5]) ipvs.put(service({ fwmark, address: '', port: 0 }), [destination('10.0.1.21', { port: 0, method: 'direct' })]);
  assert.deepEqual(tableOf(await ipvs.readAll()).map((e) => [e.service.address, e.service.fwmark]), [['10.0.1.200', 0], ['', 7]]);
});
