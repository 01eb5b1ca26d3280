/**
 * News of objects as Kubernetes events, which `kubectl describe` shows below the object. They are for people: nothing waits for them, and what cannot be
 * written is left out. Both management nodes may have the same news; the event's name is made of what it says, so that there is one of it.
 */
import { createHash } from 'node:crypto';
import { CodedError } from 'cdk8s-baremetal-contract';
import { bareMetalNode } from 'cdk8s-baremetal-contract/crd/index';
import type { Clock } from '../core/clock.ts';
import { isoTime } from '../core/iso-time.ts';
import type { Logger } from '../core/logger.ts';
import type { Network } from '../core/network.ts';
import type { Random } from '../core/random.ts';
import type { ObjectNews } from '../objects/index.ts';
import { RecordsApi } from '../store/kubernetes/records-api.ts';
import type { ApiAccess } from '../store/kubernetes/service-account.ts';

export interface ClusterEventsOptions {
  readonly access: ApiAccess;
  readonly namespace: string;
  /** The management node's name. */
  readonly instance: string;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const EVENT = { apiVersion: 'events.k8s.io/v1', kind: 'Event', plural: 'events' } as const;
const CONTROLLER = 'baremetal.bms.io/bms-core';
const LONGEST_NOTE = 1024; // the API server's limit, in bytes
const LONGEST_NAME = 220; // of 253, with the hash behind it
/** More than these are waiting only while the API server is away. */
const MOST_WAITING = 200;
const PATIENCE_MS = 5_000;

export class ClusterEvents {
  readonly #options: ClusterEventsOptions;
  readonly #api: RecordsApi;
  readonly #waiting: ObjectNews[] = [];
  #writing: Promise<void> | undefined;
  #refused = false;

  constructor(options: ClusterEventsOptions) {
    this.#options = options;
    this.#api = new RecordsApi({ ...options, resource: EVENT, patienceMs: PATIENCE_MS });
  }

  post(news: ObjectNews): void {
    if (this.#api.signal.aborted) return;
    if (this.#waiting.length >= MOST_WAITING) this.#waiting.shift();
    this.#waiting.push(news);
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  async close(): Promise<void> {
    this.#waiting.length = 0;
    this.#api.close();
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { logger } = this.#options;
    for (let news = this.#waiting.shift(); news !== undefined; news = this.#waiting.shift()) {
      try {
        // 409: the other management node, or an earlier try, has told it
        await this.#api.call({ verb: 'create', body: this.#body(news) });
        this.#refused = false;
      } catch (error) {
        if (this.#api.signal.aborted) return;
        const code = error instanceof CodedError ? { code: error.code } : {};
        if (!this.#refused) logger.warn({ error: String(error), ...code }, 'events on BareMetalNodes cannot be written');
        this.#refused = true;
      }
    }
  }

  #body({ change, object, message, warning }: ObjectNews): string {
    const { clock, instance } = this.#options;
    const note = clipped(message);
    const hash = createHash('sha256')
      .update(JSON.stringify([object.uid, change, note]))
      .digest('hex')
      .slice(0, 16);
    return JSON.stringify({
      apiVersion: EVENT.apiVersion,
      kind: EVENT.kind,
      metadata: { name: `${object.name.slice(0, LONGEST_NAME).replace(/[^a-z0-9]+$/, '')}.${hash}`, namespace: object.namespace },
      eventTime: isoTime(clock.now()).replace(/Z$/, '000Z'), // microseconds
      type: warning ? 'Warning' : 'Normal',
      reason: change,
      action: change,
      note,
      regarding: { apiVersion: bareMetalNode.apiVersion, kind: bareMetalNode.kind, ...object },
      reportingController: CONTROLLER,
      reportingInstance: instance.slice(0, 128),
    });
  }
}

/** To its first 1,024 bytes, and no half character. */
function clipped(text: string): string {
  const bytes = Buffer.from(text);
  return bytes.length <= LONGEST_NOTE
    ? text
    : `${bytes
        .subarray(0, LONGEST_NOTE - 6)
        .toString('utf8')
        .replace(/\uFFFD+$/, '')}…`;
}
