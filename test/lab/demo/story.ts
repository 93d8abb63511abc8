// What the demo's guests tell the host, as data: one JSON object a line. The story happens in the guests (see the acts), the
// host only draws it (show.ts), in the order of the chapters, whichever guest is faster.

/** A real server in a picture of bars. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly note?: string;
}

export type Happening =
  /** The chapter begins: its title, and one sentence of what happens. */
  | { readonly kind: 'chapter'; readonly title: string; readonly sentence: string }
  /** What is being waited for, until the next happening. */
  | { readonly kind: 'doing'; readonly text: string }
  | { readonly kind: 'say'; readonly text: string }
  /** Lines that are drawn as they are. */
  | { readonly kind: 'picture'; readonly lines: readonly string[] }
  /** What a person would type on that host. */
  | { readonly kind: 'command'; readonly host: string; readonly command: string }
  /** What a command or the product's log printed, and the words in it to look for. */
  | { readonly kind: 'output'; readonly text: string; readonly mark?: string }
  /** Bars as they stand now; those of a series are drawn over each other, the last ones stay. `scale` is the value of a full bar. */
  | { readonly kind: 'bars'; readonly bars: readonly Bar[]; readonly scale: number; readonly caption: string; readonly last: boolean }
  /** Something that the story says is true, and whether it was found to be. */
  | { readonly kind: 'claim'; readonly holds: boolean; readonly text: string; readonly found: string }
  /** Connections that clients opened, and how many of them failed or broke. */
  | { readonly kind: 'counted'; readonly connections: number; readonly lost: number }
  /** The guest waits until the host has shown everything up to here: makes the file TURNS/NAME. */
  | { readonly kind: 'turn'; readonly name: string }
  | { readonly kind: 'end' }
  /** The chapter could not be told to its end. */
  | { readonly kind: 'failed'; readonly error: string; readonly log: string };

/** One line of a guest's output. */
export interface Told {
  readonly chapter: number;
  readonly what: Happening;
}

/** File in the folder that host and guests share: the chart as Helm rendered it on the host, where that is much faster. */
export const chartName = 'chart.yaml';

/** Folder in the shared one where the host makes a file for each turn. */
export const turnsFolder = 'turns';

/** The chapters that each act of a story tells, in the order in which they are shown. */
export const stories = {
  /** `npm run demo` */
  machine: { dr: [1, 2], nat: [3], tun: [4], life: [5, 6, 7] },
  /** `npm run demo:cluster` */
  cluster: { cluster: [1, 2, 3, 4, 5, 6] },
} as const;

export type StoryName = keyof typeof stories;

/** Every act by name. */
export const acts = { ...stories.machine, ...stories.cluster };

export type ActName = keyof typeof acts;

/** Chapters of a story. */
export function chapterCount(story: StoryName): number {
  return Object.values<readonly number[]>(stories[story]).flat().length;
}
