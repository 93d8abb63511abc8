/**
 * `ipvs-operator import`: what `ipvsadm-save -n` wrote, as manifests. Touches no kernel; runs anywhere.
 */
import { readFileSync } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { text as streamText } from 'node:stream/consumers';
import { reasonOf } from '../standalone/listing.ts';
import { UsageError, readArguments } from '../usage.ts';
import { formatLineProblem, parseIpvsadm } from './ipvsadm-parse.ts';
import { count, printList, printManifests, readManifestOptions } from './manifest-output.ts';

export async function importCommand(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments({
    args: [...args], strict: true, allowPositionals: true,
    options: { namespace: { type: 'string' }, pool: { type: 'string' } },
  });
  if (positionals.length > 1) throw new UsageError(`import reads one file, not ${positionals.length}: ${positionals.join(', ')}`);
  const options = readManifestOptions(values);
  const file = positionals[0] ?? '-';
  let text: string;
  try {
    text = await readText(file, signal);
  } catch (error) {
    // 1 would say that something was made of it.
    if (!signal.aborted) process.stderr.write(`${file === '-' ? 'stdin' : file} cannot be read: ${reasonOf(error)}; nothing is printed\n`);
    return 2;
  }
  const { entries, problems } = parseIpvsadm(text);
  if (problems.length > 0) {
    printList(problems.map(formatLineProblem), 'correct these first');
    process.stderr.write(`${count(problems.length, 'line')} cannot be read; nothing is printed\n`);
    return 2;
  }
  return printManifests(entries, options, `${count(entries.length, 'service')} of ${file === '-' ? 'stdin' : file}`);
}

/** Rejects with what reading reports, the file by name; with the signal's reason when the person has had enough. */
async function readText(file: string, signal: AbortSignal): Promise<string> {
  if (file !== '-') return readFileSync(file, 'utf8');
  if (process.stdin.isTTY) process.stderr.write('reading ipvsadm-save text from the terminal; end it with Ctrl-D\n');
  // Not readFileSync(0): a pipe may be non-blocking, and then an empty moment is an error (EAGAIN).
  return streamText(addAbortSignal(signal, process.stdin));
}
