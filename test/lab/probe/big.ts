// The probe's `big`: moves many bytes over one TCP connection and tells a stall (an MTU black hole) from slowness.

import type { BigOptions, BigResult } from '../lab.ts';
import { open } from './dial.ts';

export async function big(options: BigOptions): Promise<BigResult> {
  const { bytes, direction, stallMs = 10_000 } = options;
  const started = performance.now();
  const connection = await open({ ...options, timeoutMs: 15_000 });
  if (typeof connection === 'string') throw new Error(`cannot connect to ${options.address}:${options.port}: ${connection}`);
  const { socket, greeting } = connection;
  let moved = 0;
  const outcome = await new Promise<'done' | 'stalled' | Error>((finish) => {
    let last = -1;
    const stallTimer = setInterval(() => {
      const now = direction === 'download' ? moved : socket.bytesWritten - socket.writableLength;
      if (now === last) finish('stalled');
      last = now;
    }, stallMs);
    socket.on('error', finish);
    socket.once('close', () => { clearInterval(stallTimer); finish(new Error('closed by the server')); });
    socket.on('data', (chunk: Buffer) => {
      moved += chunk.length;
      // An upload is over when the server has counted it all and says `done`.
      if (direction === 'download' ? moved >= bytes : chunk.includes('done')) { clearInterval(stallTimer); finish('done'); }
    });
    if (direction === 'download') socket.write(`download ${bytes}\n`);
    else {
      socket.write(`upload ${bytes}\n`);
      socket.write(Buffer.alloc(bytes, 0x78));
    }
  });
  socket.destroy();
  if (outcome instanceof Error) throw outcome;
  return {
    bytes: direction === 'download' ? moved : outcome === 'done' ? bytes : 0,
    milliseconds: Math.round(performance.now() - started),
    stalled: outcome === 'stalled',
    by: greeting.server,
  };
}
