/** Who asks, and whether they may: bearer tokens with roles; without any, everybody may look and programs on this machine may act. */
import { type Role, roleCovers } from 'cdk8s-baremetal-contract/api/index';
import type { Clock } from '../core/clock.ts';
import type { HttpRequest } from '../core/network.ts';
import { apiErrors, Refusal } from './errors.ts';
import { matchToken, type TokenSource } from './tokens.ts';

export interface Principal {
  /** The token's name, `loopback` or `anonymous`: for logs and idempotency keys. */
  readonly name: string;
  readonly role: Role;
}

export interface GateOptions {
  readonly clock: Clock;
  /** Undefined: no tokens are configured. */
  readonly tokens: TokenSource | undefined;
  /** Requests per second of one token, or of one address without tokens; bursts of twice as many. 0: no limit. */
  readonly rateLimit: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Callers that are remembered for the rate limit. */
const MOST_BUCKETS = 10_000;

export class Gate {
  readonly #options: GateOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Throws a Refusal: 401, 403, 429 or 503. */
  admit(request: HttpRequest, needed: Role | 'public'): Principal {
    if (needed === 'public') return { name: 'anonymous', role: 'reader' };
    const { tokens } = this.#options;
    const principal = tokens === undefined ? withoutTokens(request, needed) : withToken(tokens, request);
    this.#limit(tokens === undefined ? request.remote.address : principal.name);
    if (!roleCovers(principal.role, needed)) throw new Refusal(apiErrors.API_ROLE({ name: principal.name, role: principal.role, needed }));
    return principal;
  }

  #limit(caller: string): void {
    const { rateLimit, clock } = this.#options;
    if (rateLimit <= 0) return;
    const now = clock.monotonic();
    const burst = rateLimit * 2;
    const bucket = this.#buckets.get(caller) ?? { tokens: burst, atMs: now };
    const left = Math.min(burst, bucket.tokens + ((now - bucket.atMs) / 1000) * rateLimit);
    this.#buckets.delete(caller);
    this.#buckets.set(caller, { tokens: Math.max(0, left - 1), atMs: now }); // at the end: the longest unseen goes first
    if (this.#buckets.size > MOST_BUCKETS) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    if (left >= 1) return;
    const seconds = Math.max(1, Math.ceil((1 - left) / rateLimit));
    throw new Refusal(apiErrors.API_TOO_OFTEN({ limit: rateLimit }), { headers: { 'retry-after': `${seconds}` } });
  }
}

function withToken(tokens: TokenSource, request: HttpRequest): Principal {
  const challenge = { headers: { 'www-authenticate': 'Bearer realm="bms-core"' } };
  // X-Auth-Token is what clients of nova send
  const presented = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? request.headers['x-auth-token'];
  const known = tokens.current();
  if (presented === undefined || presented === '') throw new Refusal(apiErrors.API_TOKEN({ why: 'a token is needed' }), challenge);
  const token = matchToken(known, presented);
  if (token === undefined) throw new Refusal(apiErrors.API_TOKEN({ why: 'the token is not known' }), challenge);
  return { name: token.name, role: token.role };
}

function withoutTokens(request: HttpRequest, needed: Role): Principal {
  if (needed === 'reader') return { name: 'anonymous', role: 'reader' };
  const why = notLocal(request);
  if (why !== undefined) throw new Refusal(apiErrors.API_REMOTE({ why }));
  return { name: 'loopback', role: 'admin' };
}

/** What shows that the caller is not a program of this machine; a web page in its browser and a proxy are not. */
function notLocal({ remote, headers }: HttpRequest): string | undefined {
  if (!isLoopback(remote.address)) return `${remote.address} is another machine`;
  for (const name of ['x-forwarded-for', 'x-real-ip', 'forwarded', 'via'])
    if (name in headers) return `the header ${name} tells of a proxy`;
  if ('origin' in headers) return 'the header origin tells of a web page';
  // A page may make its own name point to 127.0.0.1, but cannot change what the browser sends as Host.
  const host = (headers.host ?? '').replace(/:\d{1,5}$/, '').toLowerCase();
  const known = host === '' || host === 'localhost' || /^\[[0-9a-f:.]+\]$/.test(host) || /^(?:\d{1,3}\.){3}\d{1,3}$/.test(host);
  return known ? undefined : 'the header host is a name';
}

export function isLoopback(address: string): boolean {
  return address === '::1' || /^127(?:\.\d{1,3}){3}$/.test(address);
}
