/** Rules of a DirectorGroup that look at one group alone. Whether the interface exists is the agent's to see. */
import { quote } from './problems.ts';
import type { Rule } from './rules.ts';
import type { DirectorGroup } from './directorgroup.ts';

export const DIRECTOR_GROUP_RULES: readonly Rule<DirectorGroup>[] = [
  {
    code: 'InterfaceMatch',
    cel: [
      { at: 'spec.interface', rule: "(self.match == 'Name') == has(self.name)", message: 'name belongs to match Name' },
      { at: 'spec.interface', rule: "(self.match == 'Regex') == has(self.regex)", message: 'regex belongs to match Regex' },
    ],
    check({ spec: { interface: nic } }, report) {
      for (const [match, field] of [['Name', 'name'], ['Regex', 'regex']] as const) {
        if (nic.match === match && nic[field] === undefined) report(`spec.interface.${field}`, `match is ${match}, but ${field} is absent`, `add ${field}`);
        if (nic.match !== match && nic[field] !== undefined) {
          report(`spec.interface.${field}`, `${field} is given, but match is ${nic.match}`, `set match to ${match}, or remove ${field}`);
        }
      }
      if (nic.match === 'Regex' && nic.regex !== undefined) {
        const error = regexError(nic.regex);
        if (error !== null) report('spec.interface.regex', `${quote(nic.regex)} is not a regular expression: ${error}`, "correct it, as 'eth[0-9]+'");
      }
    },
  },
  {
    code: 'FailoverTimes',
    cel: [{ at: 'spec.failover', rule: 'self.renewSeconds * 2 <= self.leaseDurationSeconds', message: 'renewSeconds must be at most half of leaseDurationSeconds' }],
    check({ spec: { failover: { renewSeconds, leaseDurationSeconds } } }, report) {
      if (renewSeconds * 2 > leaseDurationSeconds) {
        report('spec.failover.renewSeconds',
          `${renewSeconds} is more than half of leaseDurationSeconds, which is ${leaseDurationSeconds}: one lost message would cost the VIPs`,
          `set renewSeconds to ${Math.floor(leaseDurationSeconds / 2)} or less, or leaseDurationSeconds to ${renewSeconds * 2} or more`);
      }
    },
  },
  {
    code: 'SyncInterface',
    cel: [{ at: 'spec.connectionSync', rule: '!self.enabled || has(self.interface)', message: 'interface is needed when enabled' }],
    check({ spec: { connectionSync: sync } }, report) {
      if (sync.enabled && sync.interface === undefined) {
        report('spec.connectionSync.interface',
          'connection synchronisation is enabled, but on no interface',
          'add interface: the one the directors reach each other on');
      }
    },
  },
  {
    code: 'EmptySelector',
    cel: [{ at: 'spec.nodeSelector.matchLabels', rule: 'self.size() > 0', message: 'needs at least one label; to take every node remove nodeSelector' }],
    check({ spec: { nodeSelector } }, report) {
      if (nodeSelector !== undefined && Object.keys(nodeSelector.matchLabels).length === 0) {
        report('spec.nodeSelector.matchLabels', 'no label is given', 'remove nodeSelector to take every node, or add labels');
      }
    },
  },
];

/** What is wrong with a regular expression, or null. */
function regexError(source: string): string | null {
  try {
    new RegExp(source, 'u');
    return null;
  } catch (error) {
    return (error as Error).message.replace(/^Invalid regular expression: /, '');
  }
}
