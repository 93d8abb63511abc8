/**
 * Rules of the kinds that only machines write. Few: their writer is our controller, and what an agent must distrust it checks itself.
 * They keep the one promise each that others build on: a VirtualIP is named after its address, a slice is small and has its place. A name
 * never changes, so neither does what it is made of.
 */
import { quote } from './problems.ts';
import { celCanonical, checkAddress, type Rule } from './rules.ts';
import { sliceName } from './slices.ts';
import type { VirtualIP } from './virtualip.ts';
import { virtualIPName } from './virtualip.name.ts';
import type { VirtualServerProgram } from './virtualserverprogram.ts';
import { MAX_SLICE_REAL_SERVERS } from './vocabulary.ts';

export const VIRTUAL_IP_RULES: readonly Rule<VirtualIP>[] = [
  {
    code: 'InvalidAddress',
    cel: [celCanonical('spec.address')],
    check({ spec }, report) { checkAddress(spec.address, 'spec.address', report); },
  },
  {
    code: 'FamilyMismatch',
    cel: [{ at: 'spec', rule: "self.address.contains(':') == (self.family == 'IPv6')", message: 'family must be that of the address' }],
    check({ spec: { address, family } }, report) {
      if (address.includes(':') !== (family === 'IPv6')) report('spec.family', `${address} is not ${family}`, 'write the family of the address');
    },
  },
  {
    code: 'NameMismatch',
    cel: [{
      at: '',
      // The form only, for IPv6: Kubernetes 1.31 prices replace() as if it never ended, and without it no name becomes an address.
      rule: "self.spec.address.contains(':') ? self.metadata.name.matches('^[0-9a-f]{4}(-[0-9a-f]{4}){7}$') : self.metadata.name == self.spec.address",
      message: "the name must be the address, IPv6 with all 32 digits and '-' for ':'",
    }],
    check({ metadata, spec: { address } }, report) {
      // Texts that are no address are the first rule's.
      if (!checkAddress(address, '', () => {})) return;
      const name = virtualIPName(address);
      if (metadata.name !== name) report('metadata.name', `${quote(metadata.name)} is not the name of ${address}`, `name it ${name}`);
    },
  },
];

export const PROGRAM_RULES: readonly Rule<VirtualServerProgram>[] = [
  {
    code: 'OutOfRange',
    cel: [
      { at: 'spec.slice', rule: 'self.index < self.count', message: 'index must be below count' },
      {
        at: 'spec',
        rule: `self.services.map(s, s.realServers.size()).sum() <= ${MAX_SLICE_REAL_SERVERS}`,
        message: `a slice has at most ${MAX_SLICE_REAL_SERVERS} real servers`,
      },
    ],
    check({ spec: { slice, services } }, report) {
      if (slice.index >= slice.count) report('spec.slice.index', `there is no slice ${slice.index} of ${slice.count}`, 'count from 0');
      const size = services.reduce((n, s) => n + s.realServers.length, 0);
      if (size > MAX_SLICE_REAL_SERVERS) report('spec.services', `${size} real servers; a slice has at most ${MAX_SLICE_REAL_SERVERS}`, 'cut it into slices');
    },
  },
  {
    code: 'NameMismatch',
    cel: [{
      at: '',
      // Not string(index): the server prices a text of unknown length as if it were endless.
      rule: 'self.spec.slice.index == 0 ? self.metadata.name == self.spec.virtualServer.name'
        + " : (self.metadata.name.startsWith(self.spec.virtualServer.name + '.') && self.metadata.name.matches('[.][1-9][0-9]{0,3}$')"
        + " && int(self.metadata.name.substring(self.metadata.name.lastIndexOf('.') + 1)) == self.spec.slice.index)",
      message: 'the name must be that of the VirtualServer, followed by a dot and the index from slice 1 on',
    }],
    check({ metadata, spec: { slice, virtualServer } }, report) {
      const name = sliceName(virtualServer.name, slice.index);
      if (metadata.name !== name) {
        report('metadata.name', `${quote(metadata.name)} is not the name of slice ${slice.index} of ${virtualServer.name}`, `name it ${name}`);
      }
    },
  },
];
