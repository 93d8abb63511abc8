/**
 * `ipvs-operator save`: the kernel's IPVS table as text, for `ipvsadm -R` or as manifests. Reads only; does not even load ip_vs.
 */
import { existsSync } from 'node:fs';
import { openIpvs } from '../kernel/ipvs/client.ts';
import type { IpvsClient } from '../kernel/ipvs/contract.ts';
import { readArguments } from '../usage.ts';
import { printIpvsadm } from './ipvsadm-text.ts';
import { tableOf, type TableEntry } from './ipvs-table.ts';
import { count, printManifests, readManifestOptions } from './manifest-output.ts';
import { print, readFormat } from './output.ts';

/** There when ip_vs is loaded, for everybody to read. */
const PROC_IP_VS = '/proc/net/ip_vs';

export async function saveCommand(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { values } = readArguments({
    args: [...args], strict: true, allowPositionals: false,
    options: { output: { type: 'string', short: 'o' }, namespace: { type: 'string' }, pool: { type: 'string' } },
  });
  const format = readFormat(values.output, ['ipvsadm', 'yaml']);
  const options = readManifestOptions(values);
  let table: TableEntry[] = [];
  if (existsSync(PROC_IP_VS)) {
    const ipvs = openIpvs();
    try {
      table = await readTable(ipvs, signal);
    } finally {
      ipvs.close();
    }
  } else {
    process.stderr.write('ip_vs is not loaded: there is no IPVS table on this host\n');
  }
  if (format === 'yaml') return printManifests(table, options, `${count(table.length, 'service')} of the kernel`);
  await print(printIpvsadm(table));
  return 0;
}

/** The whole table or an error: half a table looks like a whole one. */
async function readTable(ipvs: IpvsClient, signal: AbortSignal): Promise<TableEntry[]> {
  const observation = await ipvs.readAll(signal);
  const broken = [...observation.services.values()].filter((s) => !s.complete).length;
  if (!observation.complete || broken > 0) {
    const how = broken > 0 ? ` (${broken} services are incomplete)` : '';
    throw Object.assign(new Error(`the table changed while it was read${how}; try again`), { code: 'DUMP_INTERRUPTED' });
  }
  return tableOf(observation);
}
