// Brings what the guests tell into the order of the chapters: a queue for each, which is read while it is still being filled.

import type { Happening, Told } from './story.ts';

export interface Telling {
  /** One line of a guest's output; false when it is not part of the story. */
  take(line: string): boolean;
  /** A guest ended: of these chapters nothing more will come. */
  over(chapters: readonly number[], error: string, log: string): void;
  /** The happenings of a chapter, to its end. */
  chapter(number: number): AsyncGenerator<Happening>;
}

/** For a story of so many chapters. */
export function createTelling(chapters: number): Telling {
  const queues = Array.from({ length: chapters + 1 }, () => ({ waiting: [] as Happening[], wake: () => {}, closed: false }));
  const put = (chapter: number, what: Happening): void => {
    const queue = queues[chapter];
    if (queue === undefined || queue.closed) return;
    queue.waiting.push(what);
    queue.closed = what.kind === 'end' || what.kind === 'failed';
    queue.wake();
  };
  return {
    take: (line) => {
      let told: Partial<Told> | null;
      try {
        told = JSON.parse(line) as Partial<Told> | null;
      } catch (error) {
        if (error instanceof SyntaxError) return false;
        throw error;
      }
      if (typeof told?.chapter !== 'number' || told.what === undefined) return false;
      put(told.chapter, told.what);
      return true;
    },
    over: (chapters, error, log) => {
      for (const chapter of chapters) put(chapter, { kind: 'failed', error, log });
    },
    chapter: async function* (number) {
      const queue = queues[number]!;
      for (;;) {
        const next = queue.waiting.shift();
        if (next !== undefined) {
          yield next;
          if (next.kind === 'end' || next.kind === 'failed') return;
        } else await new Promise<void>((done) => { queue.wake = done; });
      }
    },
  };
}
