/** What the API server, or the way to it, answers instead of an object. */

export type ApiErrorKind =
  | 'not-found' // 404: object, namespace or kind
  | 'already-exists' // 409 AlreadyExists
  | 'conflict' // 409: another writer was first, or fields belong to another manager
  | 'gone' // 410: this resourceVersion is compacted away
  | 'unauthorized' // 401
  | 'forbidden' // 403
  | 'invalid' // 400, 413, 422: never succeeds unchanged
  | 'throttled' // 429
  | 'server' // 5xx
  | 'timeout' // no answer in time; a write may have happened
  | 'network' // no connection, or it broke; a write may have happened
  | 'protocol'; // an answer that is not the API's

export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

export interface ApiErrorDetails {
  /** HTTP status; absent when there was no answer. */
  readonly status?: number;
  /** Kubernetes' own word: "FieldManagerConflict", "Expired" … */
  readonly reason?: string;
  readonly causes?: readonly StatusCause[];
  /** The server asks for this pause. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

const TRANSIENT: Readonly<Record<ApiErrorKind, boolean>> = {
  throttled: true,
  server: true,
  timeout: true,
  network: true,
  protocol: true,
  conflict: true,
  unauthorized: true, // tokens are rotated
  'not-found': false,
  'already-exists': false,
  gone: false,
  forbidden: false,
  invalid: false,
};

export class ApiError extends Error {
  readonly kind: ApiErrorKind;
  readonly status: number | undefined;
  readonly reason: string | undefined;
  readonly causes: readonly StatusCause[];
  readonly retryAfterMs: number | undefined;

  constructor(kind: ApiErrorKind, message: string, { status, reason, causes = [], retryAfterMs, cause }: ApiErrorDetails = {}) {
    super(message, { cause });
    this.name = 'ApiError';
    this.kind = kind;
    this.status = status;
    this.reason = reason;
    this.causes = causes;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed later without anybody changing it. */
  get transient(): boolean {
    return TRANSIENT[this.kind];
  }
}

export function isApiError(error: unknown, ...kinds: readonly ApiErrorKind[]): error is ApiError {
  return error instanceof ApiError && (kinds.length === 0 || kinds.includes(error.kind));
}

/** `undefined` where the object is not there; other errors pass. */
export async function ifFound<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isApiError(error, 'not-found')) return undefined;
    throw error;
  }
}

/** From an HTTP status and the `Status` object in the body, or in a watch's ERROR event. */
export function statusError(status: number, body: unknown, retryAfterMs?: number): ApiError {
  const { message, reason, details } = (typeof body === 'object' && body !== null ? body : {}) as {
    message?: unknown;
    reason?: unknown;
    details?: { causes?: unknown; retryAfterSeconds?: unknown };
  };
  const word = typeof reason === 'string' ? reason : undefined;
  const asked = typeof details?.retryAfterSeconds === 'number' ? details.retryAfterSeconds * 1000 : undefined;
  const pause = retryAfterMs ?? asked;
  return new ApiError(kindOf(status, word), typeof message === 'string' && message !== '' ? message : `HTTP ${status}`, {
    status,
    ...(word !== undefined && { reason: word }),
    ...(Array.isArray(details?.causes) && { causes: details.causes as StatusCause[] }),
    ...(pause !== undefined && { retryAfterMs: pause }),
  });
}

function kindOf(status: number, reason: string | undefined): ApiErrorKind {
  switch (status) {
    case 400:
    case 405:
    case 406:
    case 413:
    case 415:
    case 422:
      return 'invalid';
    case 401:
      return 'unauthorized';
    case 403:
      return 'forbidden';
    case 404:
      return 'not-found';
    case 409:
      return reason === 'AlreadyExists' ? 'already-exists' : 'conflict';
    case 410:
      return 'gone';
    case 429:
      return 'throttled';
    default:
      // a watch event of an expired version may come as 500 with the reason alone
      if (reason === 'Expired' || reason === 'Gone') return 'gone';
      return status >= 500 ? 'server' : 'protocol';
  }
}
