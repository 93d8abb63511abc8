/**
 * Who else on a host works on IPVS, its addresses or its routes, and whether we get along: facts in, findings out. Pure.
 * We never touch what is theirs; some of them touch what is ours.
 */
import { names } from '../api/v1alpha1/problems.ts';
import { contains, parsePrefix } from '../ip/ip.ts';
import { flagOf, type HostFacts, type Neighbour } from './preflight-facts.ts';
import { fail, ok, warn, type Finding } from './preflight-finding.ts';

/** Longer lists help nobody. */
const NAMES_SHOWN = 8;

export function conflictFindings(facts: HostFacts): Finding[] {
  const findings = [...kubeProxy(facts), ...kubeRouter(facts), ...keepalived(facts), ...others(facts), ...networkd(facts)];
  if (findings.length === 0) {
    findings.push(ok('neighbours', 'none of kube-proxy, kube-router, keepalived, ldirectord, kube-vip, docker swarm, systemd-networkd to be seen'));
  }
  return [...findings, ...foreignServices(facts)];
}

function running({ neighbours }: HostFacts, name: Neighbour) { return neighbours.find((n) => n.name === name); }

function kubeProxy(facts: HostFacts): Finding[] {
  const { kubeProxy: proxy, links, wants } = facts;
  const device = links.includes('kube-ipvs0');
  const mode = proxy?.mode || (device ? 'ipvs' : '');
  if (!proxy && !device) return [];
  if (mode === 'ipvs') {
    const who = proxy ? 'kube-proxy in ipvs mode' : 'the device kube-ipvs0 of a kube-proxy in ipvs mode';
    const excluded = (proxy?.excludeCIDRs ?? []).flatMap((text) => parsePrefix(text) ?? []);
    const open = wants?.vips.filter((vip) => !excluded.some((c) => contains(c.address, c.length, vip)));
    const how = 'add their networks to ipvs.excludeCIDRs of kube-proxy and restart it, or run kube-proxy in iptables mode; if it is gone for good: ip link del kube-ipvs0';
    if (open && open.length === 0 && wants!.vips.length > 0) return [ok('kube-proxy', 'ipvs mode; its excludeCIDRs hold every VIP of the manifests')];
    if (open) {
      const outside = open.length > 0 ? `; not in its excludeCIDRs: ${some(open)}` : '';
      return [fail('kube-proxy', `${who} deletes every service that it does not know${outside}`, how)];
    }
    return excluded.length > 0
      ? [warn('kube-proxy', `${who} deletes every service outside ${proxy!.excludeCIDRs.join(', ')}`, 'choose VIPs from these; --manifests checks them')]
      : [fail('kube-proxy', `${who} deletes every service that it does not know`, how)];
  }
  if (mode === 'nftables') {
    return [warn('kube-proxy',
      'nftables mode: each start of kube-proxy flushes the whole IPVS table; it is put back within about a second, but connections break',
      'restart kube-proxy only when no traffic runs here, or run it in iptables mode')];
  }
  if (mode === '') {
    return [warn('kube-proxy',
      'runs here, and its mode cannot be told',
      'look at http://127.0.0.1:10249/proxyMode: ipvs mode needs excludeCIDRs, nftables mode flushes IPVS when it starts')];
  }
  return [ok('kube-proxy', `${mode} mode does not touch IPVS`)];
}

function kubeRouter(facts: HostFacts): Finding[] {
  const router = running(facts, 'kube-router');
  if (!router) return [];
  if (flagOf(router.args, 'run-service-proxy') === 'false') return [ok('kube-router', 'its service proxy is off')];
  return [fail('kube-router', 'its service proxy deletes every IPVS service that it does not know', 'start it with --run-service-proxy=false')];
}

function keepalived(facts: HostFacts): Finding[] {
  if (!running(facts, 'keepalived')) return [];
  if (!facts.keepalivedServes) return [ok('keepalived', 'runs without virtual_server blocks: VRRP only, which does not touch IPVS')];
  return [warn('keepalived',
    'runs with virtual_server blocks: its services stay its own, and are never touched here',
    'give no VIP, protocol and port to both; to move a service: ipvsadm-save -n | ipvs-operator import, then remove its virtual_server')];
}

function others(facts: HostFacts): Finding[] {
  const findings: Finding[] = [];
  if (running(facts, 'ldirectord')) {
    findings.push(warn('ldirectord',
      'runs here: its services stay its own, and are never touched here',
      'give no VIP, protocol and port to both; to move a service: ipvsadm-save -n | ipvs-operator import, then remove it from ldirectord.cf'));
  }
  if (running(facts, 'kube-vip')) {
    findings.push(warn('kube-vip',
      'runs here: it binds VIPs, and with its control-plane load balancer makes an IPVS service',
      'give no VIP to both; leave addresses of kube-vip out of every VIPPool'));
  }
  if (facts.swarmIngress) {
    findings.push(warn('docker swarm',
      'its ingress network redirects published ports on every address of this host, VIPs too, before IPVS sees them',
      'publish no port that a VirtualServer serves, or publish it with mode=host'));
  }
  return findings;
}

function networkd(facts: HostFacts): Finding[] {
  if (!running(facts, 'systemd-networkd')) return [];
  if (!facts.networkdManagesForeign) return [ok('systemd-networkd', 'leaves the routes of others alone')];
  return [warn('systemd-networkd',
    'removes routes and addresses of others when it (re)configures a link; VIPs come back within about a second',
    'set ManageForeignRoutes=no under [Network] in /etc/systemd/networkd.conf.d/ipvs-operator.conf, and KeepConfiguration=static in the .network file of the VIP’s link')];
}

/** /proc does not tell the family of a mark. */
const anyFamily = (key: string) => key.replace(/^(FWM \d+) IPv[46]$/, '$1');

function foreignServices({ ipvs, ledger, wants }: HostFacts): Finding[] {
  if (!ipvs) return [];
  const ours = new Set([...ledger ?? []].map(anyFamily));
  const foreign = ipvs.services.filter((s) => !ours.has(s));
  if (foreign.length === 0) return [ok('IPVS table', ipvs.services.length === 0 ? 'empty' : `${ipvs.services.length} services, all ours`)];
  const wanted = new Set((wants?.services ?? []).map(anyFamily));
  const [taken, rest] = [foreign.filter((s) => wanted.has(s)), foreign.filter((s) => !wanted.has(s))];
  const findings: Finding[] = [];
  if (taken.length > 0) {
    findings.push(ledger === null
      ? ok('IPVS table', `${some(taken)}: there already and in the manifests; a first start adopts them, real servers that no manifest names included`)
      : fail('IPVS table',
        `${some(taken)}: in the manifests, but made by somebody else`,
        'make whoever made them let go of them; if nobody does any more: ipvsadm -D'));
  }
  if (rest.length > 0) {
    findings.push(warn('IPVS table',
      `services of others: ${some(rest)}; they are never touched`,
      'nothing, if that is meant; to take them over: ipvs-operator save -o yaml'));
  }
  return findings;
}

function some(list: readonly string[]): string { return names(list, NAMES_SHOWN); }
