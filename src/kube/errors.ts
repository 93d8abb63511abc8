/**
 * What can go wrong with a request: one error type with a stable code, what was asked for, and the server's own words. Predicates instead
 * of string matching. What to do about it is decided by the caller. Wrong credentials files are in credentials.ts.
 */

/** Every code, with its meaning. Codes are stable: they appear in logs, metrics and documentation. */
export const API_ERROR_CODES = {
  NOT_FOUND: 'The object, or its kind (CRD not installed), does not exist.',
  ALREADY_EXISTS: 'An object of that name exists already.',
  CONFLICT: 'The object changed since it was read, a precondition failed, or another field manager owns a field.',
  EXPIRED: 'The resourceVersion or the continue token is too old; read the whole list again.',
  TOO_MANY_REQUESTS: 'The server asks to come back later.',
  FORBIDDEN: 'The account may not do this; look at its RBAC roles.',
  UNAUTHORIZED: 'The server does not accept the credentials.',
  INVALID: 'The object or the request breaks the schema or a rule; the message names the field.',
  REFUSED: 'The server refused the request for another reason (4xx).',
  TIMEOUT: 'No answer in time, from us or from the server behind the server. Whether a write was done is unknown.',
  UNREACHABLE: 'No connection, or it broke. Whether a write was done is unknown unless the connection was never made.',
  BAD_RESPONSE: 'The answer is not what an API server sends: no JSON, not the announced shape, or larger than allowed.',
  SERVER_ERROR: 'The server failed (5xx).',
} as const;

export type ApiErrorCode = keyof typeof API_ERROR_CODES;

/** meta/v1 Status, as far as it is used. */
export interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly name?: string;
    readonly kind?: string;
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly reason?: string; readonly message?: string; readonly field?: string }[];
  };
}

export interface ApiErrorFields {
  readonly code: ApiErrorCode;
  /** HTTP status; 0 when there was none. */
  readonly status?: number;
  /** The server's machine-readable reason, e.g. 'AlreadyExists'; '' when there was none. */
  readonly reason?: string;
  readonly message: string;
  /** HTTP method, or 'WATCH'. */
  readonly verb: string;
  readonly path: string;
  readonly retryAfterMs?: number | undefined;
  readonly details?: Status['details'] | undefined;
  readonly cause?: unknown;
}

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiErrorCode;
  readonly status: number;
  readonly reason: string;
  readonly verb: string;
  readonly path: string;
  readonly retryAfterMs: number | undefined;
  readonly details: Status['details'] | undefined;

  constructor({ code, status = 0, reason = '', message, verb, path, retryAfterMs, details, cause }: ApiErrorFields) {
    super(`${verb} ${path}: ${message}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.status = status;
    this.reason = reason;
    this.verb = verb;
    this.path = path;
    this.retryAfterMs = retryAfterMs;
    this.details = details;
  }
}

/** Longest part of a foreign text that goes into a message. */
const MAX_QUOTE = 300;

/** From an HTTP answer of 400 or more, or from the ERROR event of a watch. `text` is what the body was when it was no Status. */
export function errorFromStatus(verb: string, path: string, httpStatus: number, status: Status | null, text = '', retryAfterMs?: number): ApiError {
  const code = status?.code ?? httpStatus;
  const reason = status?.reason ?? '';
  const seconds = status?.details?.retryAfterSeconds;
  return new ApiError({
    code: codeOf(code, reason), status: code, reason, verb, path,
    message: status?.message || quote(text) || `HTTP ${code}${reason ? ` ${reason}` : ''}`,
    retryAfterMs: retryAfterMs ?? (typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined),
    details: status?.details,
  });
}

/** A foreign text, on one line and not too long. */
export function quote(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > MAX_QUOTE ? `${line.slice(0, MAX_QUOTE)}...` : line;
}

const BY_STATUS: Readonly<Record<number, ApiErrorCode>> = {
  400: 'INVALID', 401: 'UNAUTHORIZED', 403: 'FORBIDDEN', 404: 'NOT_FOUND', 409: 'CONFLICT', 410: 'EXPIRED', 413: 'INVALID', 415: 'INVALID',
  422: 'INVALID', 429: 'TOO_MANY_REQUESTS', 504: 'TIMEOUT',
};
/** Reasons that say more than their HTTP status. */
const BY_REASON: Readonly<Record<string, ApiErrorCode>> = {
  AlreadyExists: 'ALREADY_EXISTS', Expired: 'EXPIRED', Gone: 'EXPIRED', TooManyRequests: 'TOO_MANY_REQUESTS',
};

function codeOf(status: number, reason: string): ApiErrorCode {
  return BY_REASON[reason] ?? BY_STATUS[status] ?? (status >= 500 ? 'SERVER_ERROR' : 'REFUSED');
}

function has(error: unknown, ...codes: readonly ApiErrorCode[]): boolean {
  return error instanceof ApiError && codes.includes(error.code);
}

export const isNotFound = (error: unknown): boolean => has(error, 'NOT_FOUND');
export const isAlreadyExists = (error: unknown): boolean => has(error, 'ALREADY_EXISTS');
export const isConflict = (error: unknown): boolean => has(error, 'CONFLICT');
export const isExpired = (error: unknown): boolean => has(error, 'EXPIRED');
export const isTooManyRequests = (error: unknown): boolean => has(error, 'TOO_MANY_REQUESTS');
export const isForbidden = (error: unknown): boolean => has(error, 'FORBIDDEN');
export const isUnauthorized = (error: unknown): boolean => has(error, 'UNAUTHORIZED');
export const isInvalid = (error: unknown): boolean => has(error, 'INVALID');

/** The same request may succeed later without anybody changing anything. */
export const isTransient = (error: unknown): boolean => has(error, 'TOO_MANY_REQUESTS', 'TIMEOUT', 'UNREACHABLE', 'BAD_RESPONSE', 'SERVER_ERROR');

/** A resourceVersion that the server has not reached: it was restored from a backup, and what we know is from a future that never was. */
export function isFutureVersion(error: unknown): boolean {
  return error instanceof ApiError
    && (error.details?.causes?.some((c) => c.reason === 'ResourceVersionTooLarge') === true || /Too large resource version/i.test(error.message));
}
