import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { openNet } from '../../../../src/kernel/net/client.ts';
import { RTM } from '../../../../src/kernel/net/rtnetlink-constants.ts';
import { NetlinkConnection } from '../../../../src/kernel/netlink/connection.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import type { NetOperation } from '../../../../src/kernel/net/types.ts';
import { doneReply, errorReply, joined, scriptedSocket, taken, type ScriptedSocket, type Sent } from '../netlink/scripted-socket.ts';

const NAME = new Map<number, string>(Object.entries(RTM).map(([name, number]) => [number, name]));

function link(sequence: number, index: number, name: string, kind = ''): Uint8Array {
  const writer = new MessageWriter(512).message(RTM.NEWLINK, 2, sequence).word(0).word(index).word(name === 'lo' ? 0x10009 : 0x10001).word(0).string(3, name);
  if (kind !== '') writer.begin(18).string(1, kind).end();
  return taken(writer);
}

/** A kernel with lo (1), e0 (2) and links made meanwhile; `refuse` says with which errno a message is refused. */
function client(refuse: (message: Sent) => number = () => 0) {
  const made: [string, string][] = [];
  let dadFailed = false;
  const route: ScriptedSocket = scriptedSocket((messages) => {
    const [first] = messages;
    if (first!.type === RTM.GETLINK) {
      return [joined(link(first!.sequence, 1, 'lo'), link(first!.sequence, 2, 'e0'), ...made.map(([name, kind], i) => link(first!.sequence, 10 + i, name, kind))), doneReply(first!.sequence)];
    }
    if (first!.type === RTM.GETADDR) {
      const failed = new MessageWriter(128).message(RTM.NEWADDR, 2, first!.sequence).word(10 | (128 << 8)).word(2).data(1, new Uint8Array([0xfd, ...new Array<number>(14).fill(0), 1])).u32(8, 0x88);
      return [...(dadFailed ? [taken(failed)] : []), doneReply(first!.sequence)];
    }
    return messages.flatMap((message): (Uint8Array | number)[] => {
      const errno = refuse(message);
      if (errno === -1) return [-105];
      if (errno === 0 && message.type === RTM.NEWLINK) made.push(['t0', 'ipip']);
      return errno !== 0 || message.flags & 4 ? [errorReply(message.sequence, errno, errno === 95 ? 'Unknown device type' : undefined)] : [];
    });
  });
  const generic = scriptedSocket((messages) => [doneReply(messages[0]!.sequence)]);
  const net = openNet({ connections: { route: new NetlinkConnection(0, { socket: route }), generic: new NetlinkConnection(16, { socket: generic }) }, procSys: '/nonexistent' });
  const sends = (): string[] => route.sent.map((messages) => messages.map((m) => NAME.get(m.type)).join(' '));
  return { net, sends, loseDad: () => { dadFailed = true; } };
}

const add = (address: string, name = 'e0'): NetOperation => ({ kind: 'addAddress', vip: { link: name, family: address.includes(':') ? 'IPv6' : 'IPv4', address } });
const failuresOf = async (net: ReturnType<typeof client>['net'], operations: NetOperation[]): Promise<string[]> =>
  (await net.apply(operations)).map((f) => `${f.index} ${f.error.code} ${f.error.message}`);

describe('applying node operations', () => {
  it('puts what stands in a row into one send', async () => {
    const { net, sends } = client();
    assert.deepEqual(await net.apply([add('10.0.0.1'), add('10.0.0.2'), { kind: 'delAddress', vip: { link: 'lo', family: 'IPv4', address: '10.0.0.3' } }]), []);
    assert.deepEqual(sends(), ['GETLINK', 'NEWADDR NEWADDR DELADDR']);
  });

  it('cuts a long row so that the answers fit, and yields between the parts', async () => {
    const { net, sends } = client();
    const operations = Array.from({ length: 1000 }, (_, i) => add(`10.1.${i >> 8}.${i & 255}`));
    const pending = net.apply(operations);
    let immediates = 0;
    const count = (): void => { immediates++; if (immediates < 100) setImmediate(count); };
    setImmediate(count);
    assert.deepEqual(await pending, []);
    assert.ok(immediates > 5, `${immediates} turns of the event loop`);
    const sizes = sends().slice(1).map((send) => send.split(' ').length);
    assert.equal(sizes.reduce((a, b) => a + b), 1000);
    assert.ok(Math.max(...sizes) <= 100, 'the scripted socket has room for 100 answers');
  });

  it('sends a tunnel before it asks for its number', async () => {
    const { net, sends } = client();
    const tunnel = { name: 't0', kind: 'ipip', local: '10.0.0.1', checksum: false } as const;
    assert.deepEqual(await net.apply([{ kind: 'addTunnel', tunnel }, { kind: 'linkUp', name: 't0' }, add('10.0.0.9', 't0')]), []);
    assert.deepEqual(sends(), ['NEWLINK SETLINK', 'GETLINK', 'NEWADDR']);
  });

  it('sends what is collected before an operation of another kind', async () => {
    const { net, sends } = client();
    const found = await failuresOf(net, [add('10.0.0.1'), { kind: 'setSysctl', sysctl: { path: 'net/ipv4/ip_forward', value: '1' }, from: '0' }, add('10.0.0.2')]);
    assert.deepEqual(sends(), ['GETLINK', 'NEWADDR', 'NEWADDR']);
    assert.deepEqual(found.map((text) => text.slice(0, 17)), ['1 MODULE_MISSING ']);
  });

  it('blames the operation whose message was refused', async () => {
    let seen = 0;
    const { net } = client((message) => (message.type === RTM.NEWADDR && ++seen === 2 ? 13 : 0));
    assert.deepEqual(await failuresOf(net, [add('10.0.0.1'), add('10.0.0.2'), add('10.0.0.3')]),
      ['1 PERMISSION_DENIED RTM_NEWADDR 10.0.0.2/32 dev e0: EACCES (13): CAP_NET_ADMIN is needed']);
  });

  it('blames every operation of a send whose answers were lost', async () => {
    const { net } = client((message) => (message.type === RTM.NEWADDR ? -1 : 0));
    assert.deepEqual((await net.apply([add('10.0.0.1'), add('10.0.0.2')])).map((f) => [f.index, f.error.code]), [[0, 'REPLIES_LOST'], [1, 'REPLIES_LOST']]);
  });

  const idempotent: [string, NetOperation, number][] = [
    ['adding an address that is there', add('10.0.0.1'), 17],
    ['deleting an address that is gone', { kind: 'delAddress', vip: { link: 'e0', family: 'IPv4', address: '10.0.0.1' } }, 99],
    ['adding a local route that is there', { kind: 'addLocalRoute', route: { link: 'e0', family: 'IPv4', address: '10.0.0.1' } }, 17],
  ];
  for (const [what, operation, errno] of idempotent) {
    it(`takes ${what} for success`, async () => { assert.deepEqual(await client(() => errno).net.apply([operation]), []); });
  }

  it('says which module a kind of tunnel needs', async () => {
    const { net } = client((message) => (message.type === RTM.NEWLINK ? 95 : 0));
    const [text] = await failuresOf(net, [{ kind: 'addTunnel', tunnel: { name: 't9', kind: 'ip6gre', local: 'fd00::1', checksum: false } }]);
    assert.equal(text, '0 MODULE_MISSING RTM_NEWLINK t9 ip6gre local fd00::1: EOPNOTSUPP (95): Unknown device type; this kernel has no ip6gre devices: `modprobe ip6_gre`');
  });

  for (const [errno, text] of [[95, /MODULE_MISSING .*this host has no IPv6/], [13, /KERNEL_REFUSED .*net\.ipv6\.conf\.e0\.disable_ipv6/]] as const) {
    it(`says why an IPv6 VIP cannot be bound (errno ${errno})`, async () => {
      assert.match((await failuresOf(client((m) => (m.type === RTM.NEWADDR ? errno : 0)).net, [add('fd00::1')]))[0] ?? '', text);
    });
  }

  it('unbinds first an IPv6 address that lost duplicate address detection', async () => {
    const { net, sends, loseDad } = client();
    loseDad();
    assert.deepEqual(await net.apply([add('fd00::1'), add('fd00::2')]), []);
    assert.deepEqual(sends().at(-1), 'DELADDR NEWADDR NEWADDR');
  });

  it('repairs the local route of an IPv6 VIP by binding it anew', async () => {
    const { net, sends } = client();
    assert.deepEqual(await net.apply([{ kind: 'addLocalRoute', route: { link: 'e0', family: 'IPv6', address: 'fd00::1' } }]), []);
    assert.equal(sends().at(-1), 'DELADDR NEWADDR');
  });

  it('does not take a link for gone that an interrupted list does not show: its VIP would stay, and nobody know of it', async () => {
    const route = scriptedSocket((messages) => messages.flatMap(({ type, sequence, flags }) =>
      (type === RTM.GETLINK ? [link(sequence, 1, 'lo'), doneReply(sequence, 0, 0x12)] : flags & 4 ? [errorReply(sequence, 0)] : [])));
    const net = openNet({ connections: { route: new NetlinkConnection(0, { socket: route }), generic: new NetlinkConnection(16, { socket: scriptedSocket((m) => [doneReply(m[0]!.sequence)]) }) } });
    const gone: NetOperation[] = [{ kind: 'delAddress', vip: { link: 'e0', family: 'IPv4', address: '10.0.0.1' } }, { kind: 'delTunnel', name: 't0' }];
    assert.deepEqual((await net.apply(gone)).map((f) => [f.index, f.error.code]), [[0, 'DUMP_INTERRUPTED'], [1, 'DUMP_INTERRUPTED']]);
    assert.deepEqual(await net.apply([{ kind: 'delAddress', vip: { link: 'lo', family: 'IPv4', address: '10.0.0.1' } }]), [], 'one that it shows is there');
  });

  it('never deletes a link that is no tunnel', async () => {
    const { net, sends } = client();
    assert.match((await failuresOf(net, [{ kind: 'delTunnel', name: 'e0' }]))[0] ?? '', /^0 INVALID RTM_DELLINK e0: it is no tunnel/);
    assert.deepEqual(sends(), ['GETLINK']);
  });
});
