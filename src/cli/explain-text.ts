/** An explanation for people: a line a step, what to do below those that are wrong, and the end of it in one sentence. Pure. */
import type { Explanation } from './explain-judge.ts';
import type { Step } from './explain-step.ts';
import { oneLine } from './table.ts';

export function explanationText(e: Explanation): string {
  const width = Math.max(...e.steps.map((s) => label(s).length));
  const lines = e.steps.flatMap((s) => [
    `${markOf(s).padEnd(MARK_WIDTH)}${oneLine(label(s)).padEnd(width)}  ${oneLine(s.text)}`,
    ...(s.ok === true || s.fix === '' ? [] : [`${' '.repeat(MARK_WIDTH + width)}  -> ${oneLine(s.fix)}`]),
  ]);
  return `VirtualServer ${e.virtualServer}\n\n${lines.map((l) => `  ${l}\n`).join('')}\n${oneLine(conclusion(e))}\n`;
}

const MARK_WIDTH = 7;

function markOf({ ok, needed }: Step): string {
  return ok === true ? 'ok' : ok === null ? '?' : needed ? 'WRONG' : 'warn';
}

function label({ step, about }: Step): string {
  return about === '' ? step : `${step} ${about}`;
}

/** One sentence: where it stops, why, and what to run. */
export function conclusion({ served, stopsAt, steps }: Explanation): string {
  const said = steps.find((s) => s.step === 'ready')?.ok;
  const head = served === true ? (stopsAt ? 'Served, but ' : 'Served.') : served === false ? 'Not served: it stops at ' : 'Cannot tell whether it is served: ';
  if (stopsAt === null) return head;
  const controller = served === null && said === true ? ' (the controller says that it is)' : '';
  return `${head}${label(stopsAt)}: ${stopsAt.text}${controller}${stopsAt.fix === '' ? '' : `. Run: ${stopsAt.fix}`}`;
}
