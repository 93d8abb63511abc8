/** Bytes into lines. Pure; knows neither sockets nor JSON. */

const NEWLINE = 0x0a;

/**
 * The lines of UTF-8 text that comes in chunks, without their ends and without empty ones. A character may be cut between chunks. What is
 * left at the end is a line, too. A line longer than `maxBytes` throws what `tooLong` makes of the message.
 */
export async function* splitLines(chunks: AsyncIterable<Buffer>, maxBytes: number, tooLong: (message: string) => Error): AsyncGenerator<string, void, undefined> {
  let parts: Buffer[] = [];
  let size = 0;
  const take = (end: Buffer): string => {
    const line = parts.length === 0 ? end : Buffer.concat([...parts, end]);
    parts = [];
    size = 0;
    return line.toString('utf8');
  };
  const check = (more: number): void => {
    if (size + more > maxBytes) throw tooLong(`a line is longer than ${maxBytes} bytes`);
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      check(end - start);
      const line = take(chunk.subarray(start, end));
      start = end + 1;
      if (line.trim() !== '') yield line;
    }
    check(chunk.length - start);
    if (start < chunk.length) parts.push(chunk.subarray(start));
    size += chunk.length - start;
  }
  const last = take(Buffer.alloc(0));
  if (last.trim() !== '') yield last;
}
