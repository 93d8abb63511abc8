/** The text of ipvsadm-save: read, written, and refused with the line and what to do. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseIpvsadm } from '../../../src/cli/ipvsadm-parse.ts';
import { printIpvsadm } from '../../../src/cli/ipvsadm-text.ts';
import { sortTable } from '../../../src/cli/ipvs-table.ts';
import { anyTable, destination, entry, service, withoutLines } from './tables.ts';

test('what is printed reads back as the same table', () => {
  fc.assert(fc.property(anyTable, (table) => {
    const { entries, problems } = parseIpvsadm(printIpvsadm(table));
    assert.deepEqual(problems, []);
    assert.deepEqual(withoutLines(entries), withoutLines(table));
  }), { numRuns: 250 });
});

test('reading never throws, whatever the text', () => {
  const word = fc.oneof(fc.constantFrom('-A', '-a', '-t', '-u', '-f', '-6', '-s', '-p', '-M', '-r', '-g', '-i', '-m', '-b', '--', '-', '--tun-type=', '-At', '[', '10.0.0.1:80', '[fd00::1]:80', ':::', '\n'), fc.string());
  fc.assert(fc.property(fc.array(word).map((words) => words.join(' ')), (text) => {
    const lines = text.split('\n');
    for (const { line, text: quoted, message } of parseIpvsadm(text).problems) {
      assert.equal(quoted, lines[line - 1]!.trim());
      assert.notEqual(message, '');
    }
  }), { numRuns: 1000 });
});

/** Real output of ipvsadm 1.31 on Linux 6.1, thresholds added by us. */
const GOLDEN = `-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 3 -x 10 -y 5
-a -t 10.0.0.1:80 -r 10.1.0.2:80 -g -w 1
-a -t 10.0.0.1:80 -r 10.1.0.3:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 10.0.0.1:80 -r 10.1.0.4:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -t 10.0.0.1:80 -r 10.1.0.5:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -t 10.0.0.1:80 -r 10.1.0.6:80 -i -w 1 --tun-type gre --tun-csum
-a -t 10.0.0.1:80 -r 10.1.0.7:80 -i -w 1 --tun-type gre --tun-nocsum
-a -t 10.0.0.1:80 -r 10.1.0.8:80 -i -w 1 --tun-type ipip
-a -t 10.0.0.1:80 -r [fd00::9]:80 -i -w 1 --tun-type ipip
-A -t 10.0.0.2:0 -s wlc -p 360
-A -t 10.0.0.3:81 -s sh -p 60 -M 255.255.255.0 -b sh-fallback,sh-port
-A -t 10.0.0.3:83 -s mh -b mh-fallback,mh-port
-A -t 10.0.0.3:84 -s rr -b flag-1,flag-3
-A -u 10.0.0.1:53 -s wlc -o
-A -u 10.0.0.1:5060 -s wlc -p 100 --pe sip -o
-A -u 10.0.0.1:5062 -s rr -p 100 -M 255.255.0.0 -o -b flag-2
-A --sctp-service 10.0.0.3:81 -s fo
-A -t [fd00::1]:80 -s lc -p 5 -M 64
-a -t [fd00::1]:80 -r [fd00::2]:80 -m -w 1
-A -f 5 -s rr
-a -f 5 -r 10.1.0.1:0 -g -w 1
-a -f 5 -r 10.1.0.2:80 -m -w 1
-A -f 5 -6 -s rr -p 10 -M 64
-a -f 5 -6 -r [fd00::2]:0 -m -w 1
`;

test('what ipvsadm saved is read and printed as it was', () => {
  const { entries, problems } = parseIpvsadm(GOLDEN);
  assert.deepEqual(problems, []);
  assert.equal(printIpvsadm(sortTable(entries)), GOLDEN);
});

const FORMS: readonly (readonly [what: string, text: string, expected: ReturnType<typeof entry>])[] = [
  ['long options with = and without', '--add-service --tcp-service 192.0.2.10:80 --scheduler=rr\n--add-server --tcp-service=192.0.2.10:80 --real-server 10.0.0.1:80 --masquerading --weight 7 --u-threshold 9 --l-threshold=3', entry({}, { method: 'masq', weight: 7, upper: 9, lower: 3 })],
  ['attached values and joined options', '-At192.0.2.10:80 -srr -p30\n-at 192.0.2.10:80 -r10.0.0.1:80 -iw5', entry({ flags: 1, timeoutSeconds: 30 }, { method: 'tunnel', weight: 5 })],
  ['the command name in front, comments, empty lines, CR', '# mine\n\n /sbin/ipvsadm -A -t 192.0.2.10:80 -s rr\r\n', entry({})],
  ['-p without a value: 360 seconds', '-A -t 192.0.2.10:80 -s rr -p', entry({ flags: 1, timeoutSeconds: 360 })],
  ['-p without a value before another option', '-A -t 192.0.2.10:80 -p -s rr', entry({ flags: 1, timeoutSeconds: 360 })],
  ['no scheduler: wlc', '-A -t 192.0.2.10:80', entry({ scheduler: 'wlc' })],
  ['no method, no port, no weight: direct, the service’s port, 1', '-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 10.0.0.1', entry({}, {})],
  ['IPv6 without brackets has no port', '-A -t 2001:DB8:0::1 -p 9 -s rr', entry({ family: 'IPv6', address: '2001:db8::1', port: 0, flags: 1, timeoutSeconds: 9, prefixLength: 128 })],
  ['a mark that ipvsadm printed as a negative number', '-A -f -1 -s rr', entry({ fwmark: 0xffff_ffff, address: '', port: 0 })],
  ['-6 before -f', '-A -6 -f 7 -s rr', entry({ family: 'IPv6', fwmark: 7, address: '', port: 0, prefixLength: 128 })],
  ['-C clears what came before', '-A -t 192.0.2.99:80\n-C\n-A -t 192.0.2.10:80 -s rr', entry({})],
];

for (const [what, text, expected] of FORMS) {
  test(`reads ${what}`, () => {
    const { entries, problems } = parseIpvsadm(text);
    assert.deepEqual(problems, []);
    assert.deepEqual(withoutLines(entries), withoutLines([expected]));
  });
}

const A = '-A -t 192.0.2.10:80 -s rr';
const BAD: readonly (readonly [what: string, text: string, message: RegExp, line?: number])[] = [
  ['a host name', '-A -t web.example:80', /names are not looked up; save the table with numbers: ipvsadm-save -n/],
  ['a host name of a real server', `${A}\n-a -t 192.0.2.10:80 -r web1:80`, /names are not looked up/, 2],
  ['a port name', '-A -t 192.0.2.10:http', /"http" is not a port from 0 to 65535; save the table with numbers/],
  ['a port above 65535', '-A -t 192.0.2.10:70000', /not a port from 0 to 65535/],
  ['an octal address', '-A -t 010.0.0.1:80', /without leading zeros/],
  ['a short address', '-A -t 10.1:80', /four numbers/],
  ['IPv4 in brackets', '-A -t [192.0.2.10]:80', /only IPv6 stands in brackets; write 192.0.2.10:80/],
  ['a zone', '-A -t [fe80::1%eth0]:80', /write IPv6 as/],
  ['no command', '-t 192.0.2.10:80', /no command; begin the line with -A/],
  ['two commands', '-A -a -t 192.0.2.10:80', /two commands/],
  ['no service', '-A -s rr', /no service; give one of -t/],
  ['two services', '-A -t 192.0.2.10:80 -u 192.0.2.10:80', /give one of -t/],
  ['an unknown option', '-A -t 192.0.2.10:80 --laddr 1.2.3.4', /no option --laddr/],
  ['an option of another command', '-A -t 192.0.2.10:80 -w 3', /-w does not go with -A/],
  ['an option twice', '-A -t 192.0.2.10:80 -s rr -s wrr', /-s is given twice/],
  ['an option without its value', '-A -t 192.0.2.10:80 -s', /-s has no value/],
  ['a value for an option that takes none', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1 --ipip=yes`, /takes no value/, 2],
  ['a word too many', '-A -t 192.0.2.10:80 rr', /"rr" belongs to no option/],
  ['a comment at the end of a line', '-A -t 192.0.2.10:80 # web', /a comment needs a line of its own/],
  ['-E', '-E -t 192.0.2.10:80 -s rr', /changes a table instead of describing one/],
  ['--set', '--set 900 120 300', /spec.timeouts of a DirectorGroup/],
  ['--start-daemon', '--start-daemon master --mcast-interface eth0', /spec.connectionSync of a DirectorGroup/],
  ['a service twice', `${A}\n${A}`, /there already, on line 1/, 2],
  ['a real server twice', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1\n-a -t 192.0.2.10:80 -r 10.0.0.1:80`, /has the real server 10.0.0.1:80 already/, 3],
  ['a real server of no service', '-a -t 192.0.2.10:80 -r 10.0.0.1', /no line before this one adds the service TCP 192.0.2.10:80/],
  ['no real server', `${A}\n-a -t 192.0.2.10:80 -w 3`, /add -r ADDRESS:PORT/, 2],
  ['two methods', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1 -g -m`, /-g and -m exclude each other/, 2],
  ['another family without a tunnel', `${A}\n-a -t 192.0.2.10:80 -r [fd00::1]:80 -m`, /only tunnels \(-i\) cross families/, 2],
  ['a weight that is no number', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1 -w -1`, /-w -1: give a whole number from 0 to 2147483647/, 2],
  ['a tunnel option without a tunnel', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1 --tun-type gre`, /--tun-type goes with -i only/, 2],
  ['an unknown tunnel', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-type vxlan`, /vxlan is unknown; known: ipip, gue, gre/, 2],
  ['GUE without a port', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-type gue`, /needs --tun-port/, 2],
  ['a port for GRE', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-type gre --tun-port 1`, /goes with gue only/, 2],
  ['a checksum for ipip', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-csum`, /--tun-csum does not go with ipip/, 2],
  ['remote checksum for GRE', `${A}\n-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-type gre --tun-remcsum`, /does not go with gre/, 2],
  ['a netmask with holes', '-A -t 192.0.2.10:80 -p -M 255.0.255.0', /not a netmask/],
  ['a prefix length for IPv4', '-A -t 192.0.2.10:80 -p -M 24', /write it with four numbers/],
  ['a prefix length beyond 128', '-A -t [fd00::1]:80 -p -M 129', /from 1 to 128/],
  ['-M without -p', '-A -t 192.0.2.10:80 -M 255.255.255.0', /no effect without -p/],
  ['port 0 without -p', '-A -t 192.0.2.10', /must be persistent/],
  ['a flag of another scheduler', '-A -t 192.0.2.10:80 -s rr -b sh-port', /not a flag of scheduler rr/],
  ['mark 0', '-A -f 0', /from 1 to 4294967295/],
  ['-6 without -f', '-A -6 -t [fd00::1]:80', /goes with -f only/],
  ['a name too long', '-A -t 192.0.2.10:80 -s abcdefghijklmnop', /not a name that the kernel takes/],
];

for (const [what, text, message, line = 1] of BAD) {
  test(`refuses ${what}, naming the line`, () => {
    const { problems } = parseIpvsadm(text);
    assert.equal(problems.length, 1);
    assert.match(problems[0]!.message, message);
    assert.equal(problems[0]!.line, line);
  });
}

test('a bad line does not hide the others', () => {
  const { entries, problems } = parseIpvsadm(`nonsense\n${A}\n-a -t 192.0.2.10:80 -r x\n-a -t 192.0.2.10:80 -r 10.0.0.1`);
  assert.deepEqual(problems.map((p) => p.line), [1, 3]);
  assert.deepEqual(withoutLines(entries), [{ service: service(), destinations: [destination()] }]);
});

test('services are sorted as ipvsadm sorts them', () => {
  const keys = ['-f 6 -6', '-t [fd00::1]:80', '-u 10.0.0.1:53', '-t 10.0.0.10:80', '-t 9.0.0.1:443', '-t 9.0.0.1:80', '-f 5'];
  const { entries } = parseIpvsadm(keys.map((k) => `-A ${k} -s rr\n`).join(''));
  assert.deepEqual(printIpvsadm(sortTable(entries)).trim().split('\n').map((l) => l.slice(3, -6)),
    ['-t 9.0.0.1:80', '-t 9.0.0.1:443', '-t 10.0.0.10:80', '-u 10.0.0.1:53', '-t [fd00::1]:80', '-f 5', '-f 6 -6']);
});
