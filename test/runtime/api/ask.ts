/** Asks the API as a client would, without a socket. */
import { type ApiOptions, api } from 'cdk8s-baremetal-runtime/api/index';
import type { HttpHandler } from 'cdk8s-baremetal-runtime/core/index';
import { MemorySecretStore } from 'cdk8s-baremetal-runtime/machine/index';
import { seededRandom } from 'cdk8s-baremetal-simulator';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  readonly json: unknown;
}

export type Ask = (path: string, method?: string) => Promise<Answer>;

/** What looking does not need may be left out. */
export function asker(options: Omit<ApiOptions, 'secrets' | 'random' | 'userImages'> & Partial<ApiOptions>): Ask {
  return askerOf(api({ secrets: new MemorySecretStore(), random: seededRandom('api'), userImages: '/nonexistent', ...options }));
}

export function askerOf(handler: HttpHandler): Ask {
  return async (path, method = 'GET') => {
    const {
      status,
      headers = {},
      body,
    } = await handler({
      method,
      path,
      query: new URLSearchParams(),
      headers: {},
      body: new Uint8Array(0),
      remote: { address: '127.0.0.1', port: 50_000 },
      local: { address: '127.0.0.1', port: 7081 },
      signal: new AbortController().signal,
    });
    const text = String(body ?? '');
    return { status, headers, text, json: headers['content-type']?.startsWith('application/json') ? JSON.parse(text) : undefined };
  };
}
