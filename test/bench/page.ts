// docs/benchmarks.md is written by several benches: the first part by `npm run bench`, and a section each by the others. Each writes its own
// and leaves the rest as it is. Pure, no file is written here.

/** Headings of the sections that are not of `npm run bench`, in the order in which they stand. Each goes to the next of them, or to the end. */
export const SECTIONS = ['## In a cluster', '## Health checks'] as const;
export type Section = (typeof SECTIONS)[number];

/** The first part, and what there is of the sections. */
function partsOf(page: string): { readonly first: string; readonly sections: Map<Section, string> } {
  const begins = SECTIONS.map((heading) => ({ heading, at: page.indexOf(`\n${heading}\n`) })).filter(({ at }) => at >= 0).sort((a, b) => a.at - b.at);
  const sections = begins.map(({ heading, at }, i): [Section, string] => [heading, page.slice(at + 1, begins[i + 1]?.at).trimEnd()]);
  return { first: page.slice(0, begins[0]?.at).trimEnd(), sections: new Map(sections) };
}

function joined(first: string, sections: ReadonlyMap<Section, string>): string {
  return `${[first.trimEnd(), ...SECTIONS.flatMap((heading) => sections.get(heading) ?? [])].join('\n\n')}\n`;
}

/** The page with this section in its place. `text` begins with its heading. */
export function withSection(page: string, heading: Section, text: string): string {
  const { first, sections } = partsOf(page);
  return joined(first, sections.set(heading, text.trimEnd()));
}

/** The page with another first part, and its sections. */
export function withFirstPart(page: string, first: string): string {
  return joined(first, partsOf(page).sections);
}
