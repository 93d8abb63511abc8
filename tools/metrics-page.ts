/** docs/metrics.md, as text made from the tables in src/observe/catalogue.ts. Pure; generate-docs.ts writes it. */
import { CONTROLLER_LISTEN } from '../src/controller/options.ts';
import { CATALOGUES } from '../src/observe/catalogue.ts';
import type { Definition } from '../src/observe/definition.ts';
import { MAX_SERIES } from '../src/observe/instruments.ts';
import { DEFAULT_LISTEN } from '../src/observe/server.ts';

/** `table` is docs.ts' own, `note` its first line. */
export function metricsPage(note: string, table: (head: readonly string[], rows: readonly (readonly string[])[]) => string): string {
  const labelsOf = ({ labels }: Definition) => Object.entries(labels).map(([name, values]) => (values === null ? `\`${name}\`` : `\`${name}\` (${values.join(', ')})`)).join('; ');
  return [
    note, '# Metrics and health',
    `Agent and controller answer plain HTTP on the address of \`--listen\` (default of the agent \`${DEFAULT_LISTEN}\`, of the controller \`${CONTROLLER_LISTEN}\`; the chart lets the controller listen on its pod's address):`,
    table(['path', 'answer'], [
      ['`/metrics`', 'the metrics below, in Prometheus’ text format'],
      ['`/livez`', '200, or 503 and why the process should be restarted. An API server that is away is no reason.'],
      ['`/readyz`', '200, or 503 and why the process cannot do its work yet'],
    ]),
    'A port that another program has stops nothing: it is logged (`LISTEN_TAKEN`), traffic is served, probes fail, and it is tried again every five seconds.',
    `Counters start at 0 with every label value that is known beforehand, so that a rate sees the first event. A metric has at most ${MAX_SERIES.toLocaleString('en')} series; what is beyond is left out and counted.`
    + ' Measured in a process that does nothing else: the port costs 5 MB of resident memory, the first scrape 4 MB more, 1,000 series about 1 MB.',
    ...CATALOGUES.flatMap(({ title, about, metrics }) => [
      `## ${title}`, about,
      table(['metric', 'type', 'labels', 'meaning'], Object.values(metrics as Readonly<Record<string, Definition>>).map((one) => [`\`${one.name}\``, one.type, labelsOf(one), one.help])),
    ]),
  ].join('\n\n') + '\n';
}
