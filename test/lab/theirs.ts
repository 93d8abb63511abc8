// What belongs to somebody else on a host, of every kind that we handle ourselves: shell scripts for scenarios that prove it is left alone.

/** Loads what this and the product may need, first: modules bring their fallback devices and default sysctls along, which is nobody's change. */
export const LOAD = `
modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_wlc ipip ip_gre sit ip6_tunnel fou nf_conntrack iptable_nat iptable_mangle ip6table_nat ip6table_mangle
for c in iptables-legacy ip6tables-legacy; do for t in filter nat mangle; do $c -t $t -nL >/dev/null; done; done
`;

/** Services, addresses, links, routes, rules, sysctls, packet filters, tunnels' receivers. */
export const THEIRS = `
${LOAD}
ipvsadm -A -t 10.0.1.240:80 -s rr
ipvsadm -a -t 10.0.1.240:80 -r 10.0.1.22:80 -g -w 5 -x 50 -y 40
ipvsadm -A -u [fd00:1::240]:53 -s wlc
ipvsadm -A -f 77 -s rr -p 60
ipvsadm -a -f 77 -r 10.0.1.23 -m
ip addr add 10.0.1.240/32 dev e0
ip addr add fd00:1::240/128 dev e0 nodad
ip addr add 10.0.1.241/32 dev lo
ip link add mine type dummy
ip link set mine up
ip addr add 10.77.0.1/24 dev mine
ip route add 10.78.0.0/16 via 10.0.1.1
ip rule add fwmark 77 lookup 77
echo 1 > /proc/sys/net/ipv4/conf/mine/arp_ignore
echo 2 > /proc/sys/net/ipv4/conf/e0/rp_filter
iptables-legacy -t nat -A POSTROUTING -s 10.77.0.0/24 -j MASQUERADE
iptables-legacy -t mangle -A PREROUTING -p tcp --dport 7777 -j MARK --set-mark 77
iptables-legacy -A INPUT -p tcp --dport 9999 -j DROP
ip6tables-legacy -A INPUT -p tcp --dport 9999 -j DROP
ip fou add port 9999 gue
`;
