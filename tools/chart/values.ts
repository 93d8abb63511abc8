/** values.yaml and the table of the chart's README, both made from values.schema.json. Pure. */
import { dump } from 'js-yaml';

/** As much of JSON Schema as the file uses. */
export interface ValueSchema {
  readonly type?: string;
  readonly $ref?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly additionalProperties?: boolean;
  readonly properties?: Readonly<Record<string, ValueSchema>>;
  readonly [other: string]: unknown;
}

const NOTE = '# Values of the ipvs-operator chart. Generated from values.schema.json by tools/generate-chart.ts (npm run generate). Do not edit.\n';

/** Whether it is a group of values rather than a value. */
const isGroup = (schema: ValueSchema): boolean => schema.properties !== undefined;
/** `global` is the parent chart's: it has no default. */
const members = (schema: ValueSchema): [string, ValueSchema][] => Object.entries(schema.properties ?? {}).filter(([, one]) => isGroup(one) || 'default' in one);

export function valuesFile(schema: ValueSchema): string {
  return `${NOTE}\n${members(schema).map(([name, one]) => valueLines(name, one, '').join('\n')).join('\n\n')}\n`;
}

function valueLines(name: string, schema: ValueSchema, indent: string): string[] {
  const comment = `${indent}# ${schema.description ?? ''}`;
  if (isGroup(schema)) return [comment, `${indent}${name}:`, ...members(schema).flatMap(([inner, one]) => valueLines(inner, one, `${indent}  `))];
  const text = dump({ [name]: schema.default }, { lineWidth: -1 }).trimEnd();
  return [comment, ...text.split('\n').map((line) => `${indent}${line}`)];
}

/** Rows of `key`, default, meaning. */
export function valueRows(schema: ValueSchema, path = ''): string[][] {
  return members(schema).flatMap(([name, one]) => (isGroup(one) ? valueRows(one, `${path}${name}.`) : [[`\`${path}${name}\``, `\`${JSON.stringify(one.default)}\``, one.description ?? '']]));
}

const [BEGIN, END] = ['<!-- values: made by npm run generate -->', '<!-- end of values -->'];

/** The README with a fresh table between its two marks. Throws Error when it has lost them. */
export function withValuesTable(readme: string, schema: ValueSchema): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`the README of the chart needs ${BEGIN} and ${END}`);
  const rows = [['value', 'default', 'meaning'], ['---', '---', '---'], ...valueRows(schema)];
  return `${readme.slice(0, begin + BEGIN.length)}\n${rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n')}\n${readme.slice(end)}`;
}
