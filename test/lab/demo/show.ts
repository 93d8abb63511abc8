// Shows the story to a person: chapter after chapter, with time to read, a moving line while something is being waited for,
// and the table at the end. Takes the story from a Telling; boots nothing.

import { barLines } from './bars.ts';
import { drawHappening, drawSummary, readingTime, type Tally } from './draw.ts';
import type { Screen } from './screen.ts';
import type { Telling } from './telling.ts';
import type { Paint } from './text.ts';

export interface ShowOptions {
  readonly telling: Telling;
  /** How many there are. */
  readonly chapters: number;
  readonly screen: Screen;
  readonly paint: Paint;
  /** Multiplies reading time; 0 shows everything as soon as it is there. */
  readonly pace: number;
  /** Makes the guest that waits for this turn go on. */
  readonly grant: (turn: string) => void;
  readonly signal: AbortSignal;
  /** What is being done before the first chapter. */
  readonly opening: string;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** After this long nobody is given time to read any more: a busy machine has been slow enough. */
const patienceMs = 60_000;
const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const frameMs = 100;
/** A wait shorter than this is not worth a moving line. */
const noticeMs = 300;

/** Shows every chapter; resolves to what each came to. */
export async function show(options: ShowOptions): Promise<Tally[]> {
  const { screen, paint, telling, now, signal } = options;
  const began = now();
  const tallies: Tally[] = [];
  let doing = options.opening;
  let since = began;
  let waiting = true;
  let lastError = '';
  const timer = setInterval(() => {
    const ms = now() - since;
    if (waiting && ms >= noticeMs) screen.moving([`  ${paint.cyan(frames[Math.floor(ms / frameMs) % frames.length]!)} ${paint.dim(`${doing}  ${Math.floor(ms / 1000)} s`)}`]);
  }, frameMs);
  try {
    for (let chapter = 1; chapter <= options.chapters; chapter++) {
      const started = now();
      let tally: Tally = { chapter, title: '', connections: 0, lost: 0, claims: 0, held: 0, seconds: 0 };
      for await (const what of telling.chapter(chapter)) {
        signal.throwIfAborted();
        waiting = false;
        switch (what.kind) {
          case 'chapter': tally = { ...tally, title: what.title }; doing = 'building the network'; break;
          case 'command': doing = what.command.split(' ').slice(0, 2).join(' '); break;
          case 'doing': doing = what.text; break;
          case 'counted': tally = { ...tally, connections: tally.connections + what.connections, lost: tally.lost + what.lost }; break;
          case 'claim': tally = { ...tally, claims: tally.claims + 1, held: tally.held + (what.holds ? 1 : 0) }; break;
          case 'failed': tally = { ...tally, claims: tally.claims + 1, title: tally.title || 'not told' }; break;
          case 'turn': options.grant(what.name); break;
          case 'say': case 'picture': case 'output': case 'bars': case 'end': break;
        }
        if (what.kind === 'bars' && !what.last) {
          screen.moving(['', ...barLines(what.bars, what.scale, what.caption, paint).map((line) => `  ${line}`)]);
          continue;
        }
        const again = what.kind === 'failed' && what.error === lastError;
        for (const line of drawHappening(again ? { ...what, error: `chapter ${chapter} cannot be told for the same reason` } : what, chapter, options.chapters, paint)) screen.line(line);
        if (what.kind === 'failed') lastError = what.error;
        const pause = now() - began > patienceMs ? 0 : readingTime(what) * options.pace;
        if (pause > 0) await read(pause, signal);
        since = now();
        waiting = true;
      }
      waiting = false;
      tallies.push({ ...tally, seconds: (now() - started) / 1000 });
      doing = 'the next chapter is being prepared';
    }
    for (const line of drawSummary(tallies, paint)) screen.line(line);
    return tallies;
  } finally {
    clearInterval(timer);
    screen.close();
  }
}

function read(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((done, failed) => {
    const stop = (): void => { clearTimeout(timer); failed(signal.reason as Error); };
    const timer = setTimeout(() => { signal.removeEventListener('abort', stop); done(); }, milliseconds);
    signal.addEventListener('abort', stop, { once: true });
  });
}
