import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * A value that must not be seen: a password, a token, a CHAP secret. Whoever needs it calls `reveal()` at the last
 * moment; everything that prints (template strings, JSON, console.log, loggers) sees `***`.
 */
export class Secret {
  // A private field, so that no spread, inspection or serializer can reach it.
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself. Grep for this name to find every place where secrets are used. */
  reveal(): string {
    return this.#value;
  }

  /** Same value? In time that does not depend on where they differ. */
  equals(other: Secret): boolean {
    return timingSafeEqual(digest(this.#value), digest(other.#value));
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  /** What `util.inspect` and `console.log` call; the symbol is Node's, looked up without importing node:util. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return MASK;
  }
}

const MASK = '***';

function digest(value: string): Uint8Array {
  return createHash('sha256').update(value).digest();
}
