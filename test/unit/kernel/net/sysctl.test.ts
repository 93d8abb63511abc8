import { after, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readSysctl, writeSysctl } from '../../../../src/kernel/net/sysctl.ts';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';

describe('sysctls', () => {
  const root = mkdtempSync(join(tmpdir(), 'sysctl-'));
  mkdirSync(join(root, 'net/ipv4/conf/eth0.100'), { recursive: true });
  writeFileSync(join(root, 'net/ipv4/conf/eth0.100/arp_ignore'), '0\n');
  writeFileSync(join(root, 'net/ipv4/tcp_rmem'), '4096\t131072\t6291456\n');
  after(() => { rmSync(root, { recursive: true }); });

  const thrown = (act: () => unknown): KernelError => {
    try {
      act();
    } catch (error) {
      assert.ok(error instanceof KernelError, String(error));
      return error;
    }
    throw new Error('nothing was thrown');
  };

  it('are read without the tabs and line ends of the kernel', () => {
    assert.equal(readSysctl('net/ipv4/tcp_rmem', root), '4096 131072 6291456');
  });

  it('of links with dots in their names are written and read', () => {
    writeSysctl({ path: 'net/ipv4/conf/eth0.100/arp_ignore', value: '1' }, root);
    assert.equal(readFileSync(join(root, 'net/ipv4/conf/eth0.100/arp_ignore'), 'utf8'), '1\n');
    assert.equal(readSysctl('net/ipv4/conf/eth0.100/arp_ignore', root), '1');
  });

  it('that do not exist read as null and cannot be written', () => {
    assert.equal(readSysctl('net/ipv4/vs/conntrack', root), null);
    assert.equal(readSysctl('net/ipv4/tcp_rmem/inside', root), null);
    const error = thrown(() => writeSysctl({ path: 'net/ipv4/vs/conntrack', value: '1' }, root));
    assert.deepEqual([error.code, error.errnoName], ['MODULE_MISSING', 'ENOENT']);
    assert.equal(readSysctl('net/ipv4/vs/conntrack', root), null, 'no file was made');
  });

  it('that are no files are an error by name', () => {
    const error = thrown(() => readSysctl('net/ipv4', root));
    assert.equal(error.code, 'KERNEL_REFUSED');
    assert.match(error.message, /EISDIR|errno 21/);
  });

  for (const path of ['kernel/panic', 'net/../kernel/panic', 'net//ipv4', 'net/./ipv4', '/etc/passwd', '']) {
    it(`outside /proc/sys/net are refused: ${JSON.stringify(path)}`, () => {
      assert.equal(thrown(() => readSysctl(path, root)).code, 'INVALID');
      assert.equal(thrown(() => writeSysctl({ path, value: '1' }, root)).code, 'INVALID');
    });
  }
});
