/**
 * Reading the answer to a call: its bytes, its JSON, what a refusal says; and the errors that are no refusal. Knows nothing of connections.
 */
import type { IncomingMessage } from 'node:http';
import { ApiError, quote, type Status } from './errors.ts';
import { onAbort } from './wait.ts';

/** What an answer belongs to. */
export interface Asked {
  readonly verb: string;
  readonly path: string;
  /** Aborted by the caller's signal, the deadline or the end of the client; its reason is the error to throw. */
  readonly stop: AbortController;
}

/** The chunks of a body until its end; stops with the call. */
export async function* chunksOf(response: IncomingMessage, call: Asked): AsyncGenerator<Buffer, void, undefined> {
  const { signal } = call.stop;
  const detach = onAbort(signal, () => response.destroy());
  try {
    for await (const chunk of response) {
      yield chunk as Buffer;
      if (signal.aborted) throw signal.reason;
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error instanceof ApiError ? error : unreachable(call, `the connection broke: ${describe(error as Error)}`, error);
  } finally {
    detach();
    // Leaving early leaves no half-read connection behind.
    if (!response.complete) response.destroy();
  }
  if (signal.aborted) throw signal.reason;
}

/** The whole body. Throws BAD_RESPONSE when it is larger than `maxBytes`. */
export async function readAll(response: IncomingMessage, maxBytes: number, call: Asked): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunksOf(response, call)) {
    size += chunk.length;
    if (size > maxBytes) throw badResponse(call, `the answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Throws BAD_RESPONSE. */
export function parseJson(body: Buffer, call: Asked): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw badResponse(call, `the answer is no JSON: ${quote(body.toString('utf8', 0, 200))}`, cause);
  }
}

/** The Status a body is; null when it is something else. */
export function asStatus(body: string): Status | null {
  try {
    const value = JSON.parse(body) as { kind?: unknown } | null;
    return value?.kind === 'Status' ? value as Status : null;
  } catch {
    // A proxy's page, or plain text: it is quoted instead.
    return null;
  }
}

/** Milliseconds of a Retry-After header. API servers send seconds, never a date. */
export function retryAfter({ headers }: IncomingMessage): number | undefined {
  const seconds = Number(headers['retry-after']);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined;
}

/** What a network error says, in one line. */
export function describe(error: Error & { readonly code?: string; readonly errors?: readonly Error[] }): string {
  // Several addresses were tried, and each has its own reason.
  if (error.errors && error.errors.length > 0) return error.errors.map((e) => e.message).join('; ');
  return error.message || error.code || error.name;
}

export function unreachable(call: Pick<Asked, 'verb' | 'path'>, message: string, cause?: unknown): ApiError {
  return new ApiError({ code: 'UNREACHABLE', message, verb: call.verb, path: call.path, cause });
}

export function badResponse(call: Pick<Asked, 'verb' | 'path'>, message: string, cause?: unknown): ApiError {
  return new ApiError({ code: 'BAD_RESPONSE', message, verb: call.verb, path: call.path, cause });
}
