// Every type of check on real packets, against a real server that misbehaves in every way its protocol has: what the director finds, that it
// sends nobody there meanwhile, and that it sends again when it is over. TCP, a lost VIP and a cut cable are in health.ts.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { scenario, type Agent, type FaultyOptions, type Lab, type Mood } from '../lab.ts';
import { file, pool, server } from '../manifests.ts';
import { lan, vip } from '../topologies.ts';

type Fault = Exclude<Mood, 'well' | 'flaps'>;

interface TypeOfCheck {
  readonly name: string;
  readonly protocol: FaultyOptions['protocol'];
  /** Of spec.healthCheck, beside its times. */
  readonly check: Readonly<Record<string, unknown>>;
  /** What status says of the real server, by what it does. A fault that a protocol does not have is not there. */
  readonly faults: Partial<Record<Fault, RegExp>>;
  readonly tags?: readonly string[];
}

const PORT = 9000;
const NAME = 'shop.example';

const types: readonly TypeOfCheck[] = [
  {
    name: 'http', protocol: 'HTTP', check: { type: 'HTTP', http: { path: '/healthz' } }, tags: ['long'],
    faults: { refuses: /Refused/, hangs: /Hangs/, wrong: /WrongAnswer: status 503/, late: /Hangs/, 'half-closes': /Closed/ },
  },
  {
    name: 'https', protocol: 'HTTPS', check: { type: 'HTTPS', http: { path: '/healthz' } },
    faults: { refuses: /Refused/, hangs: /Hangs/, wrong: /WrongAnswer: status 503/, late: /Hangs/, 'half-closes': /Closed/ },
  },
  {
    name: 'grpc', protocol: 'GRPC', check: { type: 'GRPC', grpc: { service: 'shop' } },
    faults: { refuses: /Refused/, hangs: /Hangs/, wrong: /WrongAnswer: NOT_SERVING/, late: /Hangs/, 'half-closes': /Closed/ },
  },
  {
    name: 'grpcs', protocol: 'GRPCS', check: { type: 'GRPC', grpc: { transport: 'TLS' } }, tags: ['long'],
    faults: { refuses: /Refused/, hangs: /Hangs/, wrong: /WrongAnswer: NOT_SERVING/, late: /Hangs/, 'half-closes': /Closed/ },
  },
  // Any answer will do, so none is wrong, and datagrams have no halves.
  { name: 'udp', protocol: 'UDP', check: { type: 'UDP', udp: { expectReply: true } }, faults: { refuses: /Refused/, hangs: /Timeout/, late: /Timeout/ } },
  {
    name: 'dns', protocol: 'DNS', check: { type: 'DNS', dns: { name: NAME } },
    faults: { refuses: /Refused/, hangs: /Timeout/, wrong: /WrongAnswer: NXDOMAIN/, late: /Timeout/, 'half-closes': /BadAnswer/ },
  },
];

const [sick, sound] = ['10.0.1.21', '10.0.1.22'];
/** Two failures in a row: who fails every other time is never down. */
const times = { port: PORT, periodSeconds: 1, timeoutSeconds: 1, riseCount: 1, fallCount: 2 };

async function weights(lab: Lab): Promise<Record<string, number>> {
  const lines = (await lab.host('dir1').ipvsSave()).map((l) => /^-a -t \S+ -r (\S+):\d+ .*-w (\d+)/.exec(l)).filter((m) => m !== null);
  return Object.fromEntries(lines.map((m) => [m[1]!, Number(m[2])]));
}

function unhealthy(agent: Agent): string {
  const [only] = Object.values(agent.status()!['virtualServers'] as Record<string, { unhealthy: string[] }>);
  return only!.unhealthy.join('; ');
}

async function becomes(lab: Lab, agent: Agent, expected: Record<string, number>, what: string): Promise<void> {
  await lab.eventually(async () => {
    const now = await weights(lab);
    assert.ok(isDeepStrictEqual(now, expected), `${JSON.stringify(now)}; ${unhealthy(agent)}`);
  }, { withinMs: 30_000, what });
}

/** On a busy machine a check may find somebody down who is well, for a second or two: asked again. */
async function answers(lab: Lab, expected: Record<string, number>, what: string): Promise<void> {
  await lab.eventually(async () => {
    const { by, errors } = await lab.get('c1', { address: vip, port: 80, count: 4 });
    assert.deepEqual({ by, errors }, { by: expected, errors: {} });
  }, { withinMs: 20_000, what });
}

export const scenarios = types.map(({ name, protocol, check, faults, tags = [] }) => scenario({
  name: `health-type-${name}`,
  about: `${protocol}: a real server that ${Object.keys(faults).join(', ')} is found each time, gets no connections and is back when it is well; one that flaps below fallCount stays`,
  topology: lan,
  tags: ['health', ...tags],
  timeoutSeconds: 240,
  run: async (lab) => {
    for (const rs of ['rs1', 'rs2']) await lab.serve(rs, { tcp: [80] });
    const faulty = await lab.faulty('rs1', { protocol, port: PORT });
    await lab.faulty('rs2', { protocol, port: PORT });
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': file(pool(), server({ mode: 'NAT', endpoints: [sick, sound], more: { scheduler: { name: 'rr' }, healthCheck: { ...check, ...times } } })) } });
    await agent.settled();
    await lab.eventually(async () => await faulty.asked() >= 2, { withinMs: 30_000, what: 'it is asked' });
    const both = { [sick]: 1, [sound]: 1 };
    await becomes(lab, agent, both, 'both serve');

    for (const [fault, found] of Object.entries(faults) as [Fault, RegExp][]) {
      await faulty.mood(fault);
      await becomes(lab, agent, { [sick]: 0, [sound]: 1 }, `it is found that rs1 ${fault}`);
      await lab.eventually(() => {
        assert.match(unhealthy(agent), /^10\.0\.1\.21 80: down: /);
        assert.match(unhealthy(agent), found);
      }, { withinMs: 20_000, what: 'the status says so' });
      await answers(lab, { rs2: 4 }, fault);
      await faulty.mood('well');
      await becomes(lab, agent, both, `rs1 is back after it ${fault}`);
    }

    await faulty.mood('flaps');
    await lab.eventually(async () => {
      assert.deepEqual(await weights(lab), both, 'who flaps below fallCount is not down');
      return await faulty.asked() >= 7;
    }, { withinMs: 60_000, what: 'three times not well' });
    await answers(lab, { rs1: 2, rs2: 2 }, 'both answer');
  },
}));
