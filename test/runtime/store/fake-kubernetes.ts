/**
 * The API server's side of BmsRecords on a virtual clock: revisions, labels, pages, watches with bookmarks, compaction, and faults to order. What it
 * answers was looked at on a real one, which the contract's suite runs against.
 */
import type { HttpHandler, HttpRequest, HttpResponse } from 'cdk8s-baremetal-runtime/core/network';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { SimNetwork } from '../../../src/simulator/network/index.ts';
import { seededRandom } from '../../../src/simulator/random.ts';

interface FakeObject {
  metadata: { name: string; namespace: string; uid: string; resourceVersion: string; labels: Record<string, string> };
  spec: Record<string, unknown>;
}
interface Change {
  readonly revision: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: FakeObject;
}
interface Stream {
  readonly push: (text: string) => void;
  readonly end: (error?: Error) => void;
  readonly labels: Record<string, string>;
}

export const TOKEN = 'token-of-bms-admin';
const ADDRESS = '192.0.2.1';

export class FakeKubernetes {
  readonly clock = new VirtualClock();
  readonly network = new SimNetwork({ clock: this.clock, random: seededRandom('kubernetes') });
  readonly server = this.network.host({ name: 'api', addresses: [`${ADDRESS}/24`], segment: 'lan' });
  readonly client = this.network.host({ name: 'bms', addresses: ['192.0.2.2/24'], segment: 'lan' });
  readonly url = `http://${ADDRESS}:6443`;
  readonly objects = new Map<string, FakeObject>();
  /** `METHOD name?` of every request but watches, in order. */
  readonly log: string[] = [];
  watches = 0;
  /** While true, watches keep back what they have. */
  held = false;
  token = TOKEN;
  revision = 100;
  pageSize = Number.POSITIVE_INFINITY;
  /** May answer in place of the model; `after` does once the model has carried the request out. */
  before: (request: HttpRequest) => HttpResponse | undefined = () => undefined;
  after: (request: HttpRequest, response: HttpResponse) => HttpResponse | Promise<HttpResponse> = (_, response) => response;
  readonly #history: Change[] = [];
  readonly #streams = new Set<Stream>();
  readonly #pages = new Map<string, { items: FakeObject[]; revision: number }>();
  #compacted = 0;

  async start(): Promise<void> {
    await this.server.serveHttp({ address: ADDRESS, port: 6443, maxBodyBytes: 4 * 1024 * 1024 }, this.#handle);
  }

  /** Forgets what was before: watches from there, and pages, are refused. */
  compact(): void {
    this.#compacted = this.revision;
    this.#history.length = 0;
    this.#pages.clear();
  }

  /** Ends every watch, in order or broken. */
  endWatches(error?: Error): void {
    for (const stream of [...this.#streams]) stream.end(error);
  }

  /** Bytes into every watch. */
  inject(text: string): void {
    for (const { push } of this.#streams) push(text);
  }

  bookmark(): void {
    this.inject(`${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: `${this.revision}` } } })}\n`);
  }

  /** Another writer's change, with a mark of its own. */
  overwrite(name: string, value: unknown, mark: string): void {
    const object = this.objects.get(name);
    if (!object) throw new Error(`there is no ${name}`);
    this.#put('MODIFIED', { ...object, spec: { ...object.spec, value, marks: `${mark}${object.spec.marks}`.slice(0, 32) } });
  }

  release(): void {
    this.held = false;
    this.inject('');
  }

  get watching(): number {
    return this.#streams.size;
  }

  readonly #handle: HttpHandler = async (request) => {
    const given = this.before(request);
    if (given) return given;
    if (request.headers.authorization !== `Bearer ${this.token}`) return status(401, 'Unauthorized');
    const [, namespace = '', name] = /\/namespaces\/([^/]+)\/(?:bmsrecords|leases)(?:\/([^/]+))?$/.exec(request.path) ?? [];
    if (request.query.get('watch') === '1') return this.#watch(request);
    this.log.push(`${request.method}${name === undefined ? '' : ` ${name}`}`);
    return this.after(request, this.#answer(request, namespace, name));
  };

  #answer(request: HttpRequest, namespace: string, name: string | undefined): HttpResponse {
    const body = request.body.length > 0 ? JSON.parse(Buffer.from(request.body).toString()) : undefined;
    if (request.query.get('dryRun') === 'All') return this.#dryRun(request.method, name, body);
    if (name === undefined && request.method === 'GET') return this.#list(request.query);
    if (request.method === 'POST') {
      if (this.objects.has(body.metadata.name)) return status(409, 'already exists', 'AlreadyExists');
      return json(201, this.#put('ADDED', { ...body, metadata: { ...body.metadata, namespace, uid: `00-${this.revision}` } }));
    }
    const object = this.objects.get(name ?? '');
    if (!object) return status(404, `bmsrecords "${name}" not found`, 'NotFound', 'bmsrecords');
    if (request.method === 'GET') return json(200, object);
    const { uid, resourceVersion } = request.method === 'PUT' ? body.metadata : body.preconditions;
    if (uid !== object.metadata.uid || resourceVersion !== object.metadata.resourceVersion) return status(409, 'modified', 'Conflict');
    if (request.method === 'PUT') return json(200, this.#put('MODIFIED', body));
    this.objects.delete(object.metadata.name);
    this.#publish('DELETED', { ...object, metadata: { ...object.metadata, resourceVersion: this.#next() } });
    return status(200, 'deleted');
  }

  /** As the real one answers for Leases, which an update may make; nothing is kept. */
  #dryRun(method: string, name: string | undefined, body: FakeObject | undefined): HttpResponse {
    const there = this.objects.has(name ?? body?.metadata.name ?? '');
    if (method === 'POST') return there ? status(409, 'already exists', 'AlreadyExists') : json(201, body);
    if (method === 'PUT') return there ? status(409, 'modified', 'Conflict') : json(201, body);
    return there ? status(200, 'deleted') : status(404, `leases "${name}" not found`, 'NotFound', 'leases');
  }

  #list(query: URLSearchParams): HttpResponse {
    const token = query.get('continue');
    const page = token === null ? undefined : this.#pages.get(token);
    if (token !== null && !page) return status(410, 'the provided continue parameter is too old', 'Expired');
    const labels = labelsOf(query);
    const { items, revision } = page ?? {
      items: [...this.objects.values()].filter((object) => wears(object, labels)),
      revision: this.revision,
    };
    const size = Math.min(this.pageSize, Number(query.get('limit') ?? Number.POSITIVE_INFINITY));
    const next = items.length > size ? `page-${this.#pages.size}` : '';
    if (next !== '') this.#pages.set(next, { items: items.slice(size), revision });
    return json(200, { metadata: { resourceVersion: `${revision}`, continue: next }, items: items.slice(0, size) });
  }

  #watch({ query, signal }: HttpRequest): HttpResponse {
    this.watches += 1;
    const from = Number(query.get('resourceVersion'));
    if (from < this.#compacted) return json(200, lines({ type: 'ERROR', object: { code: 410, reason: 'Expired', message: 'too old' } }));
    const labels = labelsOf(query);
    const queue: string[] = this.#history.filter((change) => change.revision > from && wears(change.object, labels)).map(lines);
    let ended: { error?: Error } | undefined;
    let wake = (): void => undefined;
    const stream: Stream = {
      labels,
      push: (text) => {
        queue.push(text);
        wake();
      },
      end: (error) => {
        ended = error ? { error } : {};
        this.#streams.delete(stream);
        wake();
      },
    };
    this.#streams.add(stream);
    signal.addEventListener('abort', () => stream.end());
    const isHeld = (): boolean => this.held;
    const body = async function* (): AsyncGenerator<string> {
      for (;;) {
        const text = isHeld() ? undefined : queue.shift();
        if (text !== undefined) yield text;
        else if (ended) {
          if (ended.error) throw ended.error;
          return;
        } else await new Promise<void>((resolve) => (wake = resolve));
      }
    };
    return { status: 200, headers: { 'content-type': 'application/json' }, body: body() };
  }

  #put(type: Change['type'], object: FakeObject): FakeObject {
    const stored = structuredClone(object);
    stored.metadata.resourceVersion = this.#next();
    this.objects.set(stored.metadata.name, stored);
    this.#publish(type, stored);
    return stored;
  }

  #publish(type: Change['type'], object: FakeObject): void {
    const change = { revision: this.revision, type, object: structuredClone(object) };
    this.#history.push(change);
    for (const { labels, push } of this.#streams) if (wears(object, labels)) push(lines(change));
  }

  #next(): string {
    this.revision += 1;
    return `${this.revision}`;
  }
}

export function status(code: number, message: string, reason = '', kind = 'bmsrecords'): HttpResponse {
  return json(code, { kind: 'Status', code, reason, message, details: { kind } });
}

/** The answer's head arrives, and then the connection breaks: what was asked for has been done, and nobody hears of it. */
export const LOST: HttpResponse = {
  status: 200,
  get body() {
    return (async function* (): AsyncGenerator<string> {
      yield '{';
      throw new Error('the connection breaks');
    })();
  },
};

function json(code: number, value: unknown): HttpResponse {
  return { status: code, headers: { 'content-type': 'application/json' }, body: typeof value === 'string' ? value : JSON.stringify(value) };
}

function lines({ type, object }: { readonly type: string; readonly object: unknown }): string {
  return `${JSON.stringify({ type, object })}\n`;
}

function labelsOf(query: URLSearchParams): Record<string, string> {
  return Object.fromEntries((query.get('labelSelector') ?? '').split(',').map((term) => term.split('=')));
}

function wears(object: FakeObject, labels: Record<string, string>): boolean {
  return Object.entries(labels).every(([key, value]) => object.metadata.labels[key] === value);
}
