/** One of every form of rule, in normal order; fixtures/nft-1.0.6.json is what nft 1.0.6 says after it was given these. */
import type { NetfilterRules } from '../../../../src/kernel/net/types.ts';

export const SAMPLE: NetfilterRules = {
  sourceNat: [
    { family: 'IPv4', protocol: 'TCP', vip: '10.0.0.1', firstPort: 80, lastPort: 80, mark: 0, to: '10.0.0.9' },
    { family: 'IPv4', protocol: 'UDP', vip: '10.0.0.1', firstPort: 53, lastPort: 60, mark: 16, to: '' },
    { family: 'IPv4', protocol: 'UDP', vip: '10.0.0.1', firstPort: 61, lastPort: 70, mark: 16, to: '' },
    { family: 'IPv4', protocol: 'SCTP', vip: '10.0.0.2', firstPort: 0, lastPort: 65535, mark: 17, to: '' },
    { family: 'IPv4', protocol: 'TCP', vip: '10.0.0.3', firstPort: 443, lastPort: 443, mark: 0, to: '10.0.0.7' },
    { family: 'IPv4', protocol: 'TCP', vip: '10.0.0.3', firstPort: 444, lastPort: 444, mark: 0, to: '10.0.0.8' },
    { family: 'IPv6', protocol: 'TCP', vip: 'fd00::1', firstPort: 80, lastPort: 80, mark: 0, to: 'fd00::1' },
  ],
  marks: [
    { family: 'IPv4', protocol: 'TCP', vip: '10.0.0.1', firstPort: 80, lastPort: 80, mark: 16 },
    { family: 'IPv4', protocol: 'TCP', vip: '10.0.0.1', firstPort: 81, lastPort: 90, mark: 16 },
    { family: 'IPv4', protocol: 'UDP', vip: '10.0.0.1', firstPort: 0, lastPort: 65535, mark: 0xffffffff },
    { family: 'IPv6', protocol: 'SCTP', vip: 'fd00::1', firstPort: 7, lastPort: 9, mark: 3 },
  ],
  mss: [
    { family: 'IPv4', vip: '10.0.0.1', mss: 1440 },
    { family: 'IPv4', vip: '10.0.0.3', mss: 1428 },
    { family: 'IPv6', vip: 'fd00::1', mss: 1420 },
  ],
};
