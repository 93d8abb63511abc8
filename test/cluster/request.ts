// One HTTPS request to the bench's API server with a bearer token: for what tests prepare and look at. Independent of the
// product's own client (src/kube), so that the one can be used to judge the other. No watches, no retries.

import { request as httpsRequest } from 'node:https';

export interface ApiRequest {
  readonly url: string;
  /** PEM of the certificate to trust. */
  readonly ca: string | Buffer;
  /** Sent as a bearer token; none: an anonymous request. */
  readonly token?: string | undefined;
  /** A JSON value. */
  readonly body?: unknown;
  /** Default `application/json`; for PATCH `application/merge-patch+json`. */
  readonly contentType?: string | undefined;
  /** Default two minutes. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** `body` is parsed JSON; text where the answer is none (`/readyz`). */
export interface ApiAnswer<T = unknown> { readonly status: number; readonly body: T }

/** Resolves for every HTTP status; rejects when there is no answer: connection, certificate, time. */
export function apiRequest<T = unknown>(method: string, path: string, { url, ca, token, body, contentType, timeoutMs = 120_000, signal }: ApiRequest): Promise<ApiAnswer<T>> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const stop = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal === undefined ? [] : [signal])]);
  return new Promise((resolve, reject) => {
    const request = httpsRequest(new URL(path, url), {
      method,
      ca,
      signal: stop,
      agent: false, // A connection of its own, closed at the end: nothing is left when the server goes away.
      headers: {
        accept: 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(payload === undefined ? {} : { 'content-type': contentType ?? (method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'), 'content-length': Buffer.byteLength(payload) }),
      },
    }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; });
      response.once('error', reject);
      response.once('end', () => {
        const json = response.headers['content-type']?.startsWith('application/json') === true;
        resolve({ status: response.statusCode!, body: (json && text !== '' ? JSON.parse(text) : text) as T });
      });
    });
    request.once('error', (error) => reject(stop.aborted && signal?.aborted !== true ? new Error(`no answer from ${method} ${url}${path} within ${timeoutMs} ms`) : error));
    request.end(payload);
  });
}
