/** What a director reports of real servers that are down, kept or on their way out. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { backendReports } from '../../../../src/agent/cluster/backends.ts';
import type { Unhealthy } from '../../../../src/agent/health/watch.ts';
import { joinServices } from '../../../../src/agent/state.ts';
import { fragments, makeKernel, program } from '../setup.ts';

const kernel = makeKernel();
const list = fragments(kernel, [program(), program({ owner: 'default/other', vips: ['10.0.1.201'] })]);
const { services } = joinServices(list);
const sick = (address: string, state: Unhealthy['state'] = 'Down'): Unhealthy => ({ address, port: 80, state, reason: 'Refused', message: 'connection refused' });
const id = (address: string, vip = '10.0.1.200') => `TCP ${vip}:80 -> ${address}:80`;

test('of VirtualServers without trouble nothing is said', () => {
  assert.deepEqual(backendReports({ services, drains: {}, remaining: new Map() }, { owners: ['default/shop'], unhealthy: () => [] }), []);
});

test('those that are down, and those that are kept, are counted by address and named', () => {
  const [report, ...more] = backendReports({ services, drains: {}, remaining: new Map() }, {
    owners: ['default/other', 'default/shop'], unhealthy: (owner) => (owner === 'default/shop' ? [sick('10.0.1.21'), { ...sick('10.0.1.21'), port: 81 }, sick('10.0.1.22', 'Held'), sick('fd00::1', 'Panic')] : []),
  });
  assert.deepEqual([more, report!.unhealthy, report!.ignored, report!.draining], [[], 1, 2, 0]);
  assert.match(report!.message, /^10\.0\.1\.21:80 is down: Refused: connection refused; 10\.0\.1\.21:81 is down/);
  assert.match(report!.message, /and 1 more$/);
});

test('those that drain: how many, until when, and how many connections at most', () => {
  const drains = { [id('10.0.1.23')]: { since: 0, deadline: 60_000 }, [id('10.0.1.24')]: { since: 0, deadline: 90_000 }, [id('10.0.1.23', '10.9.9.9')]: { since: 0, deadline: 1e9 } };
  const said = (first: number, second: number) => backendReports({ services, drains, remaining: new Map([[id('10.0.1.23'), first], [id('10.0.1.24'), second]]) }, null);
  assert.deepEqual(said(700, 37), [{
    virtualServer: 'default/shop', unhealthy: 0, ignored: 0, draining: 2, connections: 1000, drainedBy: '1970-01-01T00:01:30.000Z', message: '10.0.1.23:80 drains; 10.0.1.24:80 drains',
  }]);
  assert.deepEqual([said(0, 0), said(1, 0), said(2, 1), said(0, 6), said(0, 11)].map(([r]) => r!.connections), [0, 1, 5, 10, 20]);
});
