/**
 * What a command writes to stdout, whole, also into a pipe whose reader has had enough: `ipvs-operator save | head` is no error.
 * And the option -o, which several commands read alike. Not for logs.
 */
import { UsageError } from '../usage.ts';

/** Resolves when the text is written, or when nobody reads any more. Rejects with every other error of the stream. */
export function print(text: string, stream: NodeJS.WritableStream = process.stdout): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null) => {
      if (!error || (error as NodeJS.ErrnoException).code === 'EPIPE') resolve();
      else reject(error);
    };
    // The stream also emits what it tells the callback; without a listener that would end the process with a stack.
    stream.once('error', done);
    stream.write(text, (error) => {
      done(error);
      if (!error) stream.removeListener('error', done);
    });
  });
}

/** For commands that leave their other options to somebody else: whether `-o json` is among the arguments, and the others. Throws UsageError. */
export function takeJson(args: readonly string[]): { readonly json: boolean; readonly rest: readonly string[] } {
  const at = args.indexOf('-o');
  if (at < 0) return { json: false, rest: args };
  if (args[at + 1] !== 'json') throw new UsageError(`-o ${args[at + 1] ?? ''}: must be json`);
  return { json: true, rest: args.toSpliced(at, 2) };
}

/** One of the formats that a command has. Throws UsageError. */
export function readFormat<F extends string>(given: string | undefined, formats: readonly F[]): F {
  if (given === undefined) return formats[0]!;
  const found = formats.find((f) => f === given);
  if (found === undefined) throw new UsageError(`-o ${given}: must be one of ${formats.join(', ')}`);
  return found;
}
