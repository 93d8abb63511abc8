/** The nft backend, in a QEMU guest with a distribution's kernel: User-Mode Linux has no nf_tables for ip. */
import { netfilterSuite } from '../net/netfilter-suite.ts';

netfilterSuite('nft', {
  'the table deleted': 'nft delete table inet ipvs_operator',
  'the ruleset flushed': 'nft flush ruleset',
  'a chain flushed': 'nft flush chain inet ipvs_operator source_nat',
  'a rule added': 'nft add rule inet ipvs_operator marking drop',
  'a rule of a VIP added': 'nft add rule inet ipvs_operator snat_1 masquerade',
  'a mark removed': 'nft delete element inet ipvs_operator mark_ipv4 { 10.0.0.1 . tcp . 80 }',
  'a mark added': 'nft add element inet ipvs_operator mark_ipv4 { 10.0.0.1 . tcp . 8080 : 0x5 }',
  'a VIP removed': 'nft delete element inet ipvs_operator snat_ipv6 { fd00::1 }',
  'a source address changed': 'nft delete element inet ipvs_operator to_ipv4 { 10.0.0.1 }; nft add element inet ipvs_operator to_ipv4 { 10.0.0.1 : 10.0.0.77 }',
  'an MSS removed': 'nft delete element inet ipvs_operator mss_ipv4 { 10.0.0.3 }',
  'a chain added': 'nft add chain inet ipvs_operator other',
  'the table made dormant': 'nft add table inet ipvs_operator "{ flags dormant; }"',
});
