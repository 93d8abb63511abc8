/**
 * A client, a director (this network namespace) and a real server that has no route back to the client, so that only source NAT
 * can make a connection work; and real TCP and UDP through real IPVS. Shared by the tests of both packet-filter backends.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { CLONE_NEWNET, unshare } from '../../../src/kernel/netlink/libc.ts';

export const sh = (command: string): string => execFileSync('sh', ['-c', command], { encoding: 'utf8' });

/** Moves this process into a network namespace of its own, so that test files cannot disturb each other. */
export function enterFreshNamespace(): void {
  unshare(CLONE_NEWNET);
  sh('ip link set lo up');
}

export const DIRECTOR = { v4: '10.2.0.1', v6: 'fd02::1' } as const;
export const FLOATING = { v4: '10.2.0.9', v6: 'fd02::9' } as const;

const SERVER = `
const net = require('net'), dgram = require('dgram');
const [tcp, udp] = process.argv.slice(1).map((list) => list.split(',').map(Number));
const plain = (address) => address.replace(/^::ffff:/, '');
let bound = 0;
const listening = () => { if (++bound === tcp.length + udp.length) console.log('ready'); };
for (const port of tcp) net.createServer((s) => { s.on('error', () => {}); s.end(plain(s.remoteAddress)); }).listen(port, '::', listening);
for (const port of udp) { const s = dgram.createSocket('udp6'); s.on('message', (m, from) => s.send(plain(from.address), from.port, from.address)); s.bind(port, '::', listening); }
`;
const CLIENT = `
const net = require('net'), dgram = require('dgram');
const ask = ([protocol, address, port]) => new Promise((resolve) => {
  const timer = setTimeout(() => resolve('timeout'), 6000);
  const done = (answer) => { clearTimeout(timer); resolve(answer); };
  if (protocol === 'udp') {
    const s = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    s.on('message', (m) => done(m.toString())); s.on('error', (e) => done(e.code)); s.send('?', port, address);
  } else {
    let text = '';
    net.connect(port, address).on('data', (d) => { text += d; }).on('end', () => done(text)).on('error', (e) => done(e.code));
  }
});
Promise.all(JSON.parse(process.argv[1]).map(ask)).then((answers) => { console.log(JSON.stringify(answers)); process.exit(); });
`;

export class Bench {
  #server: ChildProcess | null = null;

  /** Builds links and addresses and starts the real server. */
  async open(tcp: readonly number[], udp: readonly number[]): Promise<void> {
    sh('modprobe -a ip_vs ipv6');
    sh('ip netns del cl 2>/dev/null; ip netns del rs 2>/dev/null; ip netns add cl; ip netns add rs');
    for (const [peer, link, n] of [['cl', 'd1', 1], ['rs', 'd2', 2]] as const) {
      sh(`ip link add ${link} type veth peer name e0 netns ${peer}; ip link set ${link} up; ip -n ${peer} link set e0 up; ip -n ${peer} link set lo up`);
      sh(`ip addr add 10.${n}.0.1/24 dev ${link}; ip -6 addr add fd0${n}::1/64 dev ${link} nodad; ip -n ${peer} addr add 10.${n}.0.2/24 dev e0; ip -n ${peer} -6 addr add fd0${n}::2/64 dev e0 nodad`);
    }
    sh(`ip addr add ${FLOATING.v4}/32 dev d2; ip -6 addr add ${FLOATING.v6}/128 dev d2 nodad preferred_lft 0`);
    sh('echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 1 > /proc/sys/net/ipv4/vs/conntrack');
    this.#server = spawn('ip', ['netns', 'exec', 'rs', process.execPath, '-e', SERVER, tcp.join(','), udp.join(',')], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(this.#server.stdout!, 'data');
  }

  /** Asks each [protocol, address, port] at the same time; the answers are the client address that the real server saw, or what went wrong. */
  ask(...targets: (readonly ['tcp' | 'udp', string, number])[]): string[] {
    return JSON.parse(execFileSync('ip', ['netns', 'exec', 'cl', process.execPath, '-e', CLIENT, JSON.stringify(targets)], { encoding: 'utf8' })) as string[];
  }

  close(): void {
    this.#server?.kill('SIGKILL');
    sh('ip netns del cl; ip netns del rs');
  }
}
