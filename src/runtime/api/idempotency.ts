/**
 * Idempotency keys: the same POST sent twice (a lost answer, a time-out) is carried out once. The first one's answer is kept in the
 * store for a day, so any replica can give it again. While it runs its replica says so; one that died in the middle has not said so for a
 * minute, and then the request is carried out again: the verbs below are idempotent themselves where that matters (an instance's uuid, a machine's name).
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type Clock, sleep } from '../core/clock.ts';
import type { HttpResponse } from '../core/network.ts';
import type { Kind, Store, Stored } from '../store/index.ts';
import { apiErrors, Refusal } from './errors.ts';

const record = z.object({
  fingerprint: z.string(),
  at: z.number(),
  answer: z.object({ status: z.number(), headers: z.record(z.string(), z.string()), body: z.string() }).optional(),
});
type KeyRecord = z.infer<typeof record>;
export const idempotencyKind: Kind<KeyRecord> = { name: 'idempotency', parse: (value) => record.parse(value) };

const KEY_LIFETIME_MS = 24 * 3600 * 1000;
const ABANDONED_MS = 60_000;
const RENEW_MS = ABANDONED_MS / 3;
const SWEEP_MS = 600_000;
/** Fields that are left out of the fingerprint: a hash of a weak password would give it away. */
const SECRET_FIELDS = new Set(['password', 'pm_password']);

export interface KeyedRequest {
  /** Whose key it is: the same text of another caller is another key. */
  readonly principal: string;
  readonly operation: string;
  readonly path: string;
  readonly key: string;
  readonly body: unknown;
}

export class IdempotencyKeys {
  readonly #store: Store;
  readonly #clock: Clock;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(options: { readonly store: Store; readonly clock: Clock }) {
    this.#store = options.store;
    this.#clock = options.clock;
  }

  /** Does `work`, or gives the answer of the time when it was done. Throws a Refusal when the key stands for something else. */
  async once(request: KeyedRequest, work: () => Promise<HttpResponse>): Promise<{ response: HttpResponse; replayed: boolean }> {
    if (!/^[\x21-\x7e]{1,255}$/.test(request.key)) throw new Refusal(apiErrors.API_KEY({}));
    await this.#sweep();
    const { principal, operation, path, key, body } = request;
    const id = sha256(JSON.stringify([principal, operation, path, key]));
    const fingerprint = sha256(JSON.stringify(withoutSecrets(body) ?? null));
    const begun = await this.#begin(id, fingerprint);
    if ('answer' in begun) return { response: { ...begun.answer }, replayed: true };
    const ended = new AbortController();
    const renewing = this.#renew(begun.record, ended.signal);
    let response: HttpResponse;
    try {
      response = await work();
    } catch (error) {
      ended.abort();
      await this.#forget(await renewing);
      throw error;
    }
    ended.abort();
    const held = await renewing;
    // What failed inside, and what is not text, is not the answer of ever after.
    if (response.status >= 500 || (response.body !== undefined && typeof response.body !== 'string')) await this.#forget(held);
    else {
      const answer = { status: response.status, headers: { ...response.headers }, body: response.body ?? '' };
      await this.#store.update(idempotencyKind, { id, value: { ...held.value, answer } }, held.version);
    }
    return { response, replayed: false };
  }

  async #begin(id: string, fingerprint: string): Promise<{ record: Stored<KeyRecord> } | { answer: NonNullable<KeyRecord['answer']> }> {
    for (;;) {
      const value: KeyRecord = { fingerprint, at: this.#clock.now() };
      const created = await this.#store.create(idempotencyKind, id, value);
      if (created.outcome === 'stored') return { record: created.record };
      const { current } = created;
      const age = this.#clock.now() - current.value.at;
      if (age < KEY_LIFETIME_MS) {
        if (current.value.fingerprint !== fingerprint) throw new Refusal(apiErrors.API_KEY_REUSED({}));
        if (current.value.answer) return { answer: current.value.answer };
        if (age < ABANDONED_MS) throw new Refusal(apiErrors.API_KEY_RUNNING({}), { headers: { 'retry-after': '1' } });
      }
      const taken = await this.#store.update(idempotencyKind, { id, value }, current.version);
      if (taken.outcome === 'stored') return { record: taken.record };
    }
  }

  /** Until the work has ended; resolves to the record as it is then. */
  async #renew(record: Stored<KeyRecord>, ended: AbortSignal): Promise<Stored<KeyRecord>> {
    for (let held = record; ; ) {
      const over = await sleep(this.#clock, RENEW_MS, ended).then(
        () => false,
        () => true,
      );
      if (over) return held;
      const value = { ...held.value, at: this.#clock.now() };
      const renewed = await this.#store.update(idempotencyKind, { id: held.id, value }, held.version).catch(() => undefined);
      if (renewed?.outcome === 'stored') held = renewed.record; // otherwise the next time, while a minute is not over
    }
  }

  async #forget(record: Stored<KeyRecord>): Promise<void> {
    await this.#store.delete(idempotencyKind, record, record.version);
  }

  async #sweep(): Promise<void> {
    const now = this.#clock.now();
    if (this.#clock.monotonic() - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = this.#clock.monotonic();
    const old = await this.#store.list(idempotencyKind, { where: ({ at }) => now - at >= KEY_LIFETIME_MS });
    for (const one of old) await this.#store.delete(idempotencyKind, one, one.version);
  }
}

function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => !SECRET_FIELDS.has(key));
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutSecrets(inner)]));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
