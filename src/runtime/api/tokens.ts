/**
 * Bearer tokens by their SHA-256: what is configured opens nothing to whoever reads it. A token is 32 random bytes, so its hash needs neither
 * salt nor stretching.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { type Role, roles } from 'cdk8s-baremetal-contract/api/index';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Random } from '../core/random.ts';
import { apiErrors } from './errors.ts';

export interface Token {
  /** Who it was given to; in logs. */
  readonly name: string;
  readonly role: Role;
  readonly sha256: Uint8Array;
}

export interface TokenSource {
  /** Throws API_TOKENS_FILE: then nobody is let in. */
  current(): readonly Token[];
}

/** Tells secret scanners what they have found. */
const PREFIX = 'bms_';
const TOKEN_BYTES = 32;
/** How old the look at the file may be. */
const LOOK_MS = 1_000;
/** Group may read (a Kubernetes Secret with an fsGroup); nobody but the owner may write, others nothing. */
const FORBIDDEN_MODE = 0o037;

export function newToken(random: Random): string {
  return `${PREFIX}${Buffer.from(random.bytes(TOKEN_BYTES)).toString('base64url')}`;
}

/** The line of the tokens file that lets `token` in. */
export function tokenLine(name: string, role: Role, token: string): string {
  return `${name} ${role} ${digest(token).toString('hex')}`;
}

/** 1 to 64 letters, digits, underscores, dots, at signs and dashes. */
export function isTokenName(name: string): boolean {
  return /^[\w.@-]{1,64}$/.test(name);
}

/** Lines of `name role sha256`; empty ones and what follows a # are skipped. Throws an Error that names the line, never its content. */
export function parseTokens(text: string): Token[] {
  const tokens: Token[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const words = line.replace(/#.*/, '').trim().split(/\s+/);
    if (words[0] === '') continue;
    const [name = '', role = '', hash = '', ...more] = words;
    const known = roles.find((one) => one === role);
    if (more.length > 0 || !isTokenName(name) || known === undefined || !/^[0-9a-f]{64}$/i.test(hash))
      throw new Error(`line ${index + 1} is not "name ${roles.join('|')} sha256"`);
    if (tokens.some((token) => token.name === name)) throw new Error(`line ${index + 1} has the name ${name}, which was there before`);
    tokens.push({ name, role: known, sha256: Buffer.from(hash, 'hex') });
  }
  return tokens;
}

/** The token that was presented. Takes the same time whichever it is, and whether there is one. */
export function matchToken(tokens: readonly Token[], presented: string): Token | undefined {
  const given = digest(presented);
  let found: Token | undefined;
  for (const token of tokens) if (timingSafeEqual(token.sha256, given)) found = token;
  return found;
}

/** A file, or a file of a mounted Kubernetes Secret; read again when it changes. */
export class FileTokens implements TokenSource {
  readonly #options: { readonly path: string; readonly clock: Clock; readonly logger: Logger };
  #lookedAt = Number.NEGATIVE_INFINITY;
  #identity = '';
  #tokens: readonly Token[] = [];
  #fault: string | undefined;

  constructor(options: { readonly path: string; readonly clock: Clock; readonly logger: Logger }) {
    this.#options = options;
  }

  current(): readonly Token[] {
    const { path, clock } = this.#options;
    if (clock.monotonic() - this.#lookedAt >= LOOK_MS) this.#look();
    if (this.#fault !== undefined) throw apiErrors.API_TOKENS_FILE({ path, why: this.#fault });
    return this.#tokens;
  }

  /** A file that went wrong lets nobody in: the old tokens may be the ones that were to be taken away. */
  #look(): void {
    const { path, clock, logger } = this.#options;
    this.#lookedAt = clock.monotonic();
    let fault: string | undefined;
    try {
      const { mode, ino, size, mtimeMs, ctimeMs } = statSync(path);
      const identity = `${mode} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
      if (identity === this.#identity) return;
      this.#identity = identity;
      if ((mode & FORBIDDEN_MODE) !== 0) throw new Error(`has mode ${(mode & 0o777).toString(8)}, so that others may read or write it`);
      this.#tokens = parseTokens(readFileSync(path, 'utf8'));
      logger.info({ path, tokens: this.#tokens.map(({ name, role }) => `${name} (${role})`) }, 'the tokens were read');
    } catch (error) {
      this.#tokens = [];
      fault = error instanceof Error ? ('code' in error ? `cannot be read (${error.code})` : error.message) : String(error);
      if ('code' in (error as object)) this.#identity = '';
    }
    if (fault !== undefined && fault !== this.#fault) logger.error({ path, why: fault }, 'the tokens file lets nobody in');
    this.#fault = fault;
  }
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
