/** The node half of FakeKernel: links, addresses, local routes, FOU ports, sysctls, packet-filter rules. No packets. */
import { ADDRESS_BITS, familyOf } from '../../src/ip/ip.ts';
import { ERRNO, type KernelError } from '../../src/kernel/netlink/errors.ts';
import { sortRules } from '../../src/kernel/net/rules.ts';
import {
  ADDRESS_PROTOCOL, type Address, type FouPort, type Link, type LocalRoute, type NetClient, type NetFailure, type NetObservation, type NetOperation, type NetfilterRules,
} from '../../src/kernel/net/types.ts';
import { refusal, type Trap } from './fake-kernel.ts';

/** Per device, with the kernel's value for `all` and `default`. */
const CONF4: Readonly<Record<string, string>> = { arp_ignore: '0', arp_announce: '0', rp_filter: '0', accept_local: '0', send_redirects: '1', accept_redirects: '1', forwarding: '0' };
const CONF6: Readonly<Record<string, string>> = { forwarding: '0', accept_ra: '1' };
const IPVS_SYSCTLS: Readonly<Record<string, string>> = { conntrack: '0', expire_nodest_conn: '0', expire_quiescent_template: '0', sloppy_tcp: '0' };

export class FakeNet implements NetClient {
  links: Link[] = [];
  addresses: Address[] = [];
  localRoutes: LocalRoute[] = [];
  fou: FouPort[] = [];
  rules: NetfilterRules | null = null;
  backend: 'nft' | 'iptables' | null = 'nft';
  #found: 'nft' | 'iptables' | null | undefined;
  readonly sysctls = new Map<string, string>([['net/ipv4/ip_forward', '0']]);
  readonly announced: string[] = [];
  readonly reads = { observe: 0, rules: 0, sysctl: 0 };
  /** Things that an interrupted dump misses: `address`, `link name`. Present: observe() is not complete. */
  hide: ((what: Address | Link) => boolean) | null = null;
  onChange: () => void = () => {};
  readonly #trap: Trap;

  constructor(trap: Trap) {
    this.#trap = trap;
    for (const scope of ['all', 'default']) this.#seed(scope, true);
    this.addLink({ name: 'lo', loopback: true });
    this.address('lo', '127.0.0.1', 8);
    this.address('lo', '::1', 128);
  }

  /** Adds a link as somebody else would. */
  addLink(fields: Partial<Link> & { name: string }): void {
    this.links.push({ index: this.links.length + 1, kind: '', up: true, carrier: true, loopback: false, mtu: 1500, mac: '', tunnelLocal: '', tunnelRemote: '', ...fields });
    this.#seed(fields.name, false);
  }

  /** Adds an address as somebody else would: not deprecated, no mark of ours. */
  address(link: string, address: string, prefixLength: number, fields: Partial<Address> = {}): void {
    const family = familyOf(address)!;
    this.addresses.push({ link, family, address, prefixLength, deprecated: false, dadFailed: false, protocol: 0, ...fields });
    this.#localRoute(link, address);
  }

  loadIpvs(): void {
    for (const [name, value] of Object.entries(IPVS_SYSCTLS)) if (!this.sysctls.has(`net/ipv4/vs/${name}`)) this.sysctls.set(`net/ipv4/vs/${name}`, value);
  }

  observe(): NetObservation {
    this.reads.observe++;
    const seen = <T extends Address | Link>(list: readonly T[]) => list.filter((x) => !this.hide?.(x));
    return { links: seen(this.links), addresses: seen(this.addresses), localRoutes: [...this.localRoutes], fou: [...this.fou], complete: this.hide === null };
  }

  readSysctl(path: string): string | null {
    this.reads.sysctl++;
    return this.sysctls.get(path) ?? null;
  }

  async observeSlowly(signal: AbortSignal): Promise<NetObservation> {
    signal.throwIfAborted();
    return this.observe();
  }

  async readRulesSlowly(): Promise<NetfilterRules | null> { return this.readRules(); }

  readRules(): NetfilterRules | null {
    this.reads.rules++;
    // As the real readers: the one order of rules, and members in an order of their own.
    return this.backend && this.rules ? JSON.parse(JSON.stringify(this.rules), (_, v) => (v && typeof v === 'object' && 'vip' in v ? Object.fromEntries(Object.entries(v).reverse()) : v)) : null;
  }

  /** As the real one: where none worked it is looked for again only if it is missed. */
  netfilterBackend(missed = true): 'nft' | 'iptables' | null { return this.#found = this.#found === null && !missed ? null : this.backend; }

  async apply(operations: readonly NetOperation[]): Promise<NetFailure[]> {
    const failures: NetFailure[] = [];
    for (const [index, operation] of operations.entries()) {
      const error = this.#trap.before(operation) ?? this.#execute(operation);
      if (error) failures.push({ index, operation, error });
      else this.#trap.after(operation);
    }
    return failures;
  }

  #execute(o: NetOperation): KernelError | null {
    const link = (name: string) => this.links.find((l) => l.name === name);
    switch (o.kind) {
      case 'addTunnel':
        if (!link(o.tunnel.name)) this.addLink({ name: o.tunnel.name, kind: o.tunnel.kind, tunnelLocal: o.tunnel.local, up: false });
        return null;
      case 'delTunnel':
        this.removeLink(o.name);
        return null;
      case 'linkUp':
        if (!link(o.name)) return refusal('RTM_NEWLINK', ERRNO.ENODEV);
        this.links = this.links.map((l) => (l.name === o.name ? { ...l, up: true } : l));
        return null;
      case 'addAddress': {
        if (!link(o.vip.link)) return refusal('RTM_NEWADDR', ERRNO.ENODEV);
        this.addresses = this.addresses.filter((a) => !isVip(a, o.vip));
        this.address(o.vip.link, o.vip.address, ADDRESS_BITS[o.vip.family], { deprecated: true, protocol: ADDRESS_PROTOCOL });
        return null;
      }
      case 'delAddress':
        this.addresses = this.addresses.filter((a) => !isVip(a, o.vip));
        if (!this.addresses.some((a) => a.link === o.vip.link && a.address === o.vip.address)) {
          this.localRoutes = this.localRoutes.filter((r) => r.link !== o.vip.link || r.address !== o.vip.address);
        }
        return null;
      case 'addLocalRoute':
        if (!link(o.route.link)) return refusal('RTM_NEWROUTE', ERRNO.ENODEV);
        this.#localRoute(o.route.link, o.route.address);
        return null;
      case 'addFou':
        if (!this.fou.some((f) => f.family === o.fou.family && f.port === o.fou.port)) this.fou.push(o.fou);
        return null;
      case 'delFou':
        this.fou = this.fou.filter((f) => f.family !== o.fou.family || f.port !== o.fou.port);
        return null;
      case 'setSysctl':
        if (!this.sysctls.has(o.sysctl.path)) return refusal(`write ${o.sysctl.path}`, ERRNO.ENOENT);
        this.write(o.sysctl.path, o.sysctl.value);
        return null;
      case 'setRules': {
        const rules = sortRules(o.rules);
        const empty = rules.sourceNat.length + rules.marks.length + rules.mss.length === 0;
        if (!this.backend && !empty) return refusal('setRules', 0, 'BACKEND_MISSING');
        this.rules = empty ? null : rules;
        return null;
      }
      case 'announce':
        this.announced.push(`${o.vip.address} on ${o.vip.link}`);
        return null;
    }
  }

  /** net/ipv4/devinet.c inet_forward_change, net/ipv6/addrconf.c addrconf_fixup_forwarding: a change, and only a change, reaches every device. */
  write(path: string, value: string): void {
    const changed = this.sysctls.get(path) !== value;
    this.sysctls.set(path, value);
    if (!changed) return;
    if (path === 'net/ipv4/ip_forward' || path === 'net/ipv4/conf/all/forwarding') {
      for (const other of ['net/ipv4/ip_forward', 'net/ipv4/conf/all/forwarding']) this.sysctls.set(other, value);
      this.sysctls.set('net/ipv4/conf/all/accept_redirects', value === '0' ? '1' : '0');
      this.#everyDevice('net/ipv4/conf', value);
    }
    if (path === 'net/ipv6/conf/all/forwarding') this.#everyDevice('net/ipv6/conf', value);
  }

  /** With the link go its addresses, its routes and its sysctls. */
  removeLink(name: string): void {
    this.links = this.links.filter((l) => l.name !== name);
    this.addresses = this.addresses.filter((a) => a.link !== name);
    this.localRoutes = this.localRoutes.filter((r) => r.link !== name);
    for (const path of [...this.sysctls.keys()]) if (path.split('/')[3] === name) this.sysctls.delete(path);
  }

  removeAddress(link: string, address: string): void {
    this.addresses = this.addresses.filter((a) => a.link !== link || a.address !== address);
    this.localRoutes = this.localRoutes.filter((r) => r.link !== link || r.address !== address);
  }

  watch(onChange: () => void): void { this.onChange = onChange; }
  close(): void {}

  snapshot(): unknown {
    const text = (list: readonly unknown[]) => list.map((x) => JSON.stringify(x)).sort();
    return {
      links: text(this.links.map(({ index: _, ...l }) => l)), addresses: text(this.addresses), localRoutes: text(this.localRoutes), fou: text(this.fou), rules: this.rules,
      sysctls: Object.fromEntries([...this.sysctls].sort(([a], [b]) => (a < b ? -1 : 1))),
    };
  }

  #everyDevice(conf: string, value: string): void {
    for (const scope of ['default', ...this.links.map((l) => l.name)]) this.sysctls.set(`${conf}/${scope}/forwarding`, value);
  }

  #localRoute(link: string, address: string): void {
    if (!this.localRoutes.some((r) => r.link === link && r.address === address)) this.localRoutes.push({ link, family: familyOf(address)!, address });
  }

  #seed(scope: string, fresh: boolean): void {
    for (const [family, conf] of [['ipv4', CONF4], ['ipv6', CONF6]] as const) {
      for (const [name, value] of Object.entries(conf)) {
        this.sysctls.set(`net/${family}/conf/${scope}/${name}`, fresh ? value : this.sysctls.get(`net/${family}/conf/default/${name}`)!);
      }
    }
  }
}

function isVip(a: Address, vip: { readonly link: string; readonly address: string; readonly family: 'IPv4' | 'IPv6' }): boolean {
  return a.link === vip.link && a.address === vip.address && a.prefixLength === ADDRESS_BITS[vip.family];
}
