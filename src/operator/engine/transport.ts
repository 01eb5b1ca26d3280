/** HTTP to the API server as `http-api.ts` needs it: one exchange, the answer's body as a stream. */

export interface TransportRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

export interface TransportResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Must be read to its end, or the signal aborted, so that the connection is free again. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface Transport {
  /** Rejects when there is no answer: the signal's reason when it aborted, else what broke the connection. */
  exchange(request: TransportRequest): Promise<TransportResponse>;
  /** Ends open connections. */
  close(): Promise<void>;
}
