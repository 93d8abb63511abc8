// The probe's held connections: numbered lines go out on each, and must come back in order, until it is closed.

import type { HoldOptions } from '../lab.ts';
import { open, type OpenConnection } from './dial.ts';

interface Held {
  readonly connection: OpenConnection;
  sent: number;
  received: number;
  lastReceived: number;
  maxGapMs: number;
  /** Why it no longer works; null while it does. */
  broken: string | null;
}

interface HeldSet {
  readonly all: Held[];
  readonly timer: NodeJS.Timeout;
}

const sets = new Map<number, HeldSet>();
let nextSet = 1;

/** Opens the connections, several at a time; rejects when one of them fails. Resolves to a number for the other operations. */
export async function hold(options: HoldOptions): Promise<number> {
  const { parallel = 20 } = options;
  const all: Held[] = [];
  for (let first = 0; first < options.count; first += parallel) {
    const opened = await Promise.all(Array.from({ length: Math.min(parallel, options.count - first) }, () => open({ timeoutMs: 15_000, ...options })));
    for (const connection of opened) {
      if (typeof connection === 'string') {
        for (const held of all) held.connection.socket.destroy();
        throw new Error(`cannot open connection ${all.length + 1} of ${options.count} to ${options.address}:${options.port}: ${connection}`);
      }
      all.push(watch(connection));
    }
  }
  const everyMs = options.everyMs ?? Math.max(200, options.count * 10);
  const timer = setInterval(() => { for (const held of all) sendLine(held); }, everyMs);
  sets.set(nextSet, { all, timer });
  return nextSet++;
}

function watch(connection: OpenConnection): Held {
  const held: Held = { connection, sent: 0, received: 0, lastReceived: performance.now(), maxGapMs: 0, broken: null };
  let pending = '';
  const { socket } = connection;
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    pending += text;
    const lines = pending.split('\n');
    pending = lines.pop()!;
    for (const line of lines) {
      held.received += 1;
      if (line !== `echo ${held.received}`) held.broken ??= `expected line ${held.received}, got ${line}`;
      const now = performance.now();
      held.maxGapMs = Math.max(held.maxGapMs, now - held.lastReceived);
      held.lastReceived = now;
    }
  });
  socket.on('error', (error: NodeJS.ErrnoException) => { held.broken ??= error.code ?? error.message; });
  socket.on('close', () => { held.broken ??= 'closed'; });
  return held;
}

function sendLine(held: Held): void {
  // At most 50 lines on the way: a stalled connection must not fill memory.
  if (held.broken !== null || held.sent - held.received > 50) return;
  held.sent += 1;
  held.connection.socket.write(`echo ${held.sent}\n`);
}

/** One more line on each, up to fifteen seconds for it to come back: a guest that has no CPU for a while breaks nothing. */
export async function checkHeld(options: { set: number }): Promise<{ alive: number; broken: number; maxGapMs: number; by: Record<string, number>; reasons: Record<string, number> }> {
  const { all } = held(options.set);
  const goals = all.map((one) => { sendLine(one); return one.sent; });
  const reached = (): boolean => all.every((one, index) => one.broken !== null || one.received >= goals[index]!);
  const deadline = performance.now() + 15_000;
  while (!reached() && performance.now() < deadline) await new Promise((tick) => setTimeout(tick, 10));
  const by: Record<string, number> = {};
  const reasons: Record<string, number> = {};
  let alive = 0;
  all.forEach((one, index) => {
    if (one.broken === null && one.received >= goals[index]!) {
      alive += 1;
      by[one.connection.greeting.server] = (by[one.connection.greeting.server] ?? 0) + 1;
    } else {
      const reason = one.broken ?? 'no answer';
      reasons[reason] = (reasons[reason] ?? 0) + 1;
    }
  });
  const maxGapMs = Math.round(Math.max(0, ...all.map((one) => one.maxGapMs)));
  return { alive, broken: all.length - alive, maxGapMs, by, reasons };
}

/** Ends every connection of a set. */
export async function closeHeld(options: { set: number }): Promise<void> {
  const { all, timer } = held(options.set);
  clearInterval(timer);
  sets.delete(options.set);
  await Promise.all(all.map((one) => new Promise<void>((done) => {
    const { socket } = one.connection;
    if (socket.destroyed) return done();
    // What is on its way after the end would still pass the director, in the middle of what the scenario does next.
    const force = setTimeout(() => socket.destroy(), 5_000);
    socket.once('close', () => { clearTimeout(force); done(); });
    socket.end();
  })));
}

function held(set: number): HeldSet {
  const found = sets.get(set);
  if (found === undefined) throw new Error('these connections are closed already');
  return found;
}
