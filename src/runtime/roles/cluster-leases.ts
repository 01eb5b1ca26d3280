/** Lease objects of an API server, by the client that the store on Kubernetes has. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { LEASE_VERBS } from 'cdk8s-baremetal-contract/crd/index';
import { API_GROUP } from 'cdk8s-baremetal-contract/names';
import { z } from 'zod';
import {
  coordinationErrors,
  type LeaseEvent,
  type LeaseFields,
  LeasePositionLost,
  type LeaseSource,
  type StoredLease,
  type Ticket,
} from '../coordination/index.ts';
import type { Clock } from '../core/clock.ts';
import { isoTime } from '../core/iso-time.ts';
import type { Network } from '../core/network.ts';
import type { Random } from '../core/random.ts';
import { fieldsOf } from '../store/kubernetes/record-object.ts';
import { type Answer, type Call, RecordsApi } from '../store/kubernetes/records-api.ts';
import { type ApiAccess, serviceAccount } from '../store/kubernetes/service-account.ts';
import { clusterWatch } from './cluster-watch.ts';
import { insideCluster } from './inside-cluster.ts';

export interface ClusterLeasesOptions {
  readonly access: ApiAccess;
  readonly namespace: string;
  readonly scope: string;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  /** Of the Leases: an answer that takes a fifth of it comes too late to be of use. */
  readonly leaseMs: number;
}

const LEASE = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', plural: 'leases' } as const;
const label = { scope: `${API_GROUP}/scope`, kind: `${API_GROUP}/lease-kind` } as const;
const annotation = { subject: `${API_GROUP}/subject`, line: `${API_GROUP}/line` } as const;

const leaseObject = z.object({
  metadata: z.object({
    name: z.string(),
    uid: z.string(),
    resourceVersion: z.string().regex(/^\d{1,19}$/),
    labels: z.object({ [label.kind]: z.enum(['member', 'session', 'line']) }),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  spec: z
    .object({ holderIdentity: z.string().nullish(), leaseDurationSeconds: z.number().positive().nullish() })
    .nullish()
    .transform((spec) => spec ?? {}),
});
const tickets = z.array(z.object({ id: z.string(), session: z.string() }));

/** With the rights of the container that this runs in. @throws COORDINATION_OUTSIDE */
export function openClusterLeases(
  where: { readonly namespace: string | undefined; readonly scope: string },
  options: Pick<ClusterLeasesOptions, 'network' | 'clock' | 'random' | 'leaseMs'> & {
    readonly env: Readonly<Record<string, string | undefined>>;
    /** Default: what Kubernetes puts into every container. */
    readonly access?: ApiAccess | undefined;
  },
): ClusterLeases {
  const { env, clock } = options;
  const of = <T>(read: () => T): T => insideCluster(read, (reason) => coordinationErrors.COORDINATION_OUTSIDE({ reason }));
  const access = options.access ?? of(() => serviceAccount({ env, clock }));
  return new ClusterLeases({ ...options, ...where, access, namespace: where.namespace ?? of(() => access.namespace) });
}

export class ClusterLeases implements LeaseSource {
  readonly #options: ClusterLeasesOptions;
  readonly #api: RecordsApi;

  constructor(options: ClusterLeasesOptions) {
    this.#options = options;
    const answerMs = options.leaseMs / 5;
    this.#api = new RecordsApi({ ...options, resource: LEASE, answerMs, patienceMs: answerMs });
  }

  get namespace(): string {
    return this.#options.namespace;
  }

  async list(): Promise<{ leases: StoredLease[]; position: bigint }> {
    const { items, resourceVersion } = await this.#told(() => this.#api.list(this.#selector));
    return { leases: items.map(readLease).filter((lease) => lease !== undefined), position: BigInt(resourceVersion) };
  }

  async *watch(from: bigint, signal: AbortSignal): AsyncGenerator<LeaseEvent> {
    const { clock, random } = this.#options;
    const lost = (): Error => new LeasePositionLost();
    const lines = clusterWatch({ api: this.#api, clock, random, labelSelector: this.#selector, position: `${from}`, signal, lost });
    for await (const { type, object } of lines) {
      if (type === 'ERROR')
        throw fieldsOf(object).code === 410 ? lost() : new Error(`the watch was ended: ${String(fieldsOf(object).message)}`);
      const { name, resourceVersion } = fieldsOf(fieldsOf(object).metadata);
      if (typeof resourceVersion !== 'string' || !/^\d{1,19}$/.test(resourceVersion)) continue;
      const position = BigInt(resourceVersion);
      const lease = type === 'ADDED' || type === 'MODIFIED' ? readLease(object) : undefined;
      if (lease !== undefined) yield { type: 'put', lease, position };
      else if (type === 'DELETED' && typeof name === 'string') yield { type: 'gone', name, position };
      else yield { type: 'bookmark', position };
    }
  }

  async get(name: string): Promise<StoredLease | undefined> {
    const { status, object } = await this.#call({ verb: 'get', name });
    return status === 200 ? readLease(object) : undefined;
  }

  async create(fields: LeaseFields): Promise<StoredLease | undefined> {
    const { status, object } = await this.#call({ verb: 'create', body: this.#body(fields, {}) });
    return status === 201 ? readLease(object) : undefined;
  }

  async replace({ uid, revision }: StoredLease, fields: LeaseFields): Promise<StoredLease | undefined> {
    const body = this.#body(fields, { uid, resourceVersion: `${revision}` });
    const { status, object } = await this.#call({ verb: 'update', name: fields.name, body });
    return status === 200 ? readLease(object) : undefined;
  }

  async remove({ name, uid, revision }: StoredLease): Promise<boolean> {
    const body = JSON.stringify({ apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion: `${revision}` } });
    const { status } = await this.#call({ verb: 'delete', name, body });
    return status !== 409;
  }

  /**
   * Asks for all that a replica will ask for, and changes nothing. Proves more than a question about rights: quotas and admission are heard as well.
   * @throws COORDINATION_FORBIDDEN, with every verb that is refused, and what the calls throw
   */
  async tryOut(): Promise<void> {
    const { scope, namespace, leaseMs } = this.#options;
    const name = `${scope}.tried-out`;
    const body = this.#body({ kind: 'session', name, subject: 'tried out', holder: 'nobody', durationMs: leaseMs, line: [] }, {});
    const query = { dryRun: 'All' };
    // a server that is away is noticed by the first: the answer to a list may take longest
    const asked: Readonly<Record<(typeof LEASE_VERBS)[number], () => Promise<unknown>>> = {
      get: () => this.#call({ verb: 'get', name }),
      create: () => this.#call({ verb: 'create', query, body }),
      update: () => this.#call({ verb: 'update', name, query, body }),
      delete: () => this.#call({ verb: 'delete', name, query }),
      list: () => this.list(),
      watch: () => this.#told(() => this.#watchBegins()),
    };
    const refused = new Map<string, CodedError>();
    for (const [verb, ask] of Object.entries(asked)) {
      try {
        await ask();
      } catch (error) {
        if (!(error instanceof CodedError) || error.code !== 'COORDINATION_FORBIDDEN') throw error;
        refused.set(verb, error);
      }
    }
    const [first] = refused.values();
    if (first === undefined) return;
    const verbs = LEASE_VERBS.filter((verb) => refused.has(verb)).join(', ');
    const reason = `${verbs} refused (${first.message.replace(/^.*?: /, '')})`;
    throw coordinationErrors.COORDINATION_FORBIDDEN({ namespace, reason }, { cause: first });
  }

  async #watchBegins(): Promise<void> {
    const enough = new AbortController();
    try {
      await this.#api.watch({ watch: '1', resourceVersion: '0', timeoutSeconds: '1', labelSelector: this.#selector }, enough.signal);
    } finally {
      enough.abort(new Error('it began: that is all'));
    }
  }

  close(): void {
    this.#api.close();
  }

  get #selector(): string {
    return `${label.scope}=${this.#options.scope}`;
  }

  /** The time is for people, and makes every write a change; nobody reckons with it. */
  #body({ name, kind, subject, holder, durationMs, line }: LeaseFields, version: { uid?: string; resourceVersion?: string }): string {
    const { namespace, scope, clock } = this.#options;
    const renewTime = isoTime(clock.now()).replace(/Z$/, '000Z'); // microseconds
    return JSON.stringify({
      apiVersion: LEASE.apiVersion,
      kind: LEASE.kind,
      metadata: {
        name,
        namespace,
        ...version,
        labels: { [label.scope]: scope, [label.kind]: kind },
        annotations: { [annotation.subject]: subject, ...(kind === 'line' && { [annotation.line]: JSON.stringify(line) }) },
      },
      spec: kind === 'line' ? { renewTime } : { holderIdentity: holder, leaseDurationSeconds: Math.ceil(durationMs / 1000), renewTime },
    });
  }

  #call(call: Call): Promise<Answer> {
    return this.#told(() => this.#api.call(call));
  }

  /** The client's words are about records. */
  async #told<T>(work: () => Promise<T>): Promise<T> {
    const { access, namespace } = this.#options;
    try {
      return await work();
    } catch (cause) {
      if (!(cause instanceof CodedError)) throw cause;
      const reason = cause.message.replace(/^.*?: /, '');
      if (cause.code === 'STORE_KUBERNETES_FORBIDDEN') throw coordinationErrors.COORDINATION_FORBIDDEN({ namespace, reason }, { cause });
      if (cause.code === 'STORE_KUBERNETES_NAMESPACE') throw coordinationErrors.COORDINATION_NAMESPACE({ namespace }, { cause });
      if (cause.code === 'STORE_KUBERNETES_UNAUTHORIZED') throw coordinationErrors.COORDINATION_TOKEN({ server: access.server }, { cause });
      if (cause.code === 'STORE_CLOSED') throw coordinationErrors.COORDINATION_CLOSED({}, { cause });
      throw coordinationErrors.COORDINATION_KUBERNETES({ server: access.server, reason }, { cause });
    }
  }
}

/** Undefined for what is none of ours. */
function readLease(value: unknown): StoredLease | undefined {
  const parsed = leaseObject.safeParse(value);
  if (!parsed.success) return undefined;
  const { metadata, spec } = parsed.data;
  return {
    kind: metadata.labels[label.kind],
    name: metadata.name,
    subject: metadata.annotations[annotation.subject] ?? metadata.name,
    holder: spec.holderIdentity ?? '',
    durationMs: (spec.leaseDurationSeconds ?? 0) * 1000,
    line: lineOf(metadata.annotations[annotation.line]),
    uid: metadata.uid,
    revision: BigInt(metadata.resourceVersion),
  };
}

/** An annotation that somebody else wrote over is an empty line: whoever stood in it goes to its end again. */
function lineOf(text: string | undefined): readonly Ticket[] {
  try {
    return tickets.parse(JSON.parse(text ?? '[]'));
  } catch {
    return [];
  }
}
