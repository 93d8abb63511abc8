/** The iptables backend, in a User-Mode Linux guest: its kernel has no nf_tables for ip, so nft must be found not to work. */
import { netfilterSuite } from './netfilter-suite.ts';

netfilterSuite('iptables', {
  'a rule deleted': 'iptables-legacy -t nat -D IPVS-OPERATOR-SNAT 1',
  'a rule added': 'iptables-legacy -t mangle -A IPVS-OPERATOR-MARK -j ACCEPT',
  'a rule replaced': 'iptables-legacy -t nat -R IPVS-OPERATOR-SNAT 1 -m ipvs --vaddr 10.0.0.1 --vproto 6 --vport 80 -j MASQUERADE',
  'a chain flushed': 'iptables-legacy -t mangle -F IPVS-OPERATOR-MSS',
  'a jump deleted': 'iptables-legacy -t mangle -D PREROUTING -j IPVS-OPERATOR-MARK',
  'an IPv6 jump deleted': 'ip6tables-legacy -t nat -D POSTROUTING -j IPVS-OPERATOR-SNAT',
  'a jump narrowed': 'iptables-legacy -t mangle -R OUTPUT 1 -o d1 -j IPVS-OPERATOR-MSS',
  'everything flushed': 'iptables-legacy -t nat -F; iptables-legacy -t nat -X; iptables-legacy -t mangle -F; iptables-legacy -t mangle -X',
});
