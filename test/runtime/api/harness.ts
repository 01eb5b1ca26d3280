/** The API over a memory store and a virtual clock, with every answer held to its row in the table of operations. */
import { type Operation, type OperationId, operations, problem } from 'cdk8s-baremetal-contract/api/index';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Api, type ApiOptions, createApi } from 'cdk8s-baremetal-runtime/api/index';
import { type HttpResponse, type Logger, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import {
  BootView,
  enrol,
  flavorKind,
  imageKind,
  MemorySecretStore,
  type NodeRecord,
  nodeKind,
  spawn,
} from 'cdk8s-baremetal-runtime/machine/index';
import { MemoryStore, modify } from 'cdk8s-baremetal-runtime/store/index';
import { seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator';
import { expect } from 'vitest';

export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what is asserted of it is what a test is about
  readonly json: any;
}

export interface AskOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly from?: string;
  readonly signal?: AbortSignal;
}

export const PASSWORD = 'hunter2-hunter2';

export class Harness {
  readonly clock = new VirtualClock();
  readonly store = new MemoryStore();
  readonly secrets = new MemorySecretStore();
  readonly random = seededRandom('api harness');
  /** Everything that was logged and answered, for who looks for secrets in it. */
  readonly emitted: string[] = [];
  readonly logger: Logger = recorder((line) => this.emitted.push(line));
  readonly api: Api;
  readonly machines: BootView;

  /** Another clock only where real sockets and real time are met. */
  constructor(options: Partial<ApiOptions> = {}) {
    const { store, secrets, clock, random } = this;
    this.machines = new BootView({ store, secrets });
    this.api = createApi({
      store,
      secrets,
      clock,
      random,
      logger: this.logger,
      machines: this.machines,
      bootSettings: {},
      leaseOfMac: () => undefined,
      notReady: () => undefined,
      userImages: '/nonexistent',
      ...options,
    });
  }

  /** A machine that is free, or as `change` makes it. */
  async machine(number = 1, change: (node: NodeRecord) => NodeRecord = (node) => node): Promise<NodeRecord> {
    const { id } = await enrol(this, {
      name: `bm-${number}`,
      macs: [`52:54:00:00:${hex(number >> 8)}:${hex(number)}`],
      properties: { cpus: 32, memoryMb: 131_072, localGb: 480, cpuArch: 'x86_64' },
      bmc: { driver: 'ipmi', address: `192.0.2.${number}`, username: 'admin', password: new Secret(PASSWORD) },
      rootDiskSerial: `S-${number}`,
    });
    return this.change(id, (node) => change({ ...node, state: 'available', stateDeadline: undefined, reason: 'free' }));
  }

  async change(id: string, change: (node: NodeRecord) => NodeRecord): Promise<NodeRecord> {
    const result = await modify(this.store, nodeKind, id, change);
    if (result.outcome === 'missing') throw new Error('the record is gone');
    return result.record.value;
  }

  async image(id = 'image-1'): Promise<void> {
    await this.store.create(imageKind, id, { id, name: id, format: 'raw', sizeBytes: 1024, sha256: 'a'.repeat(64), boot: 'local' });
  }

  async flavor(id = 'small'): Promise<void> {
    await this.store.create(flavorKind, id, { id, name: id, cpus: 1, memoryMb: 1024, localGb: 10, cpuArch: 'x86_64' });
  }

  /** In use, as a deployment leaves it. */
  async inUse(number = 1): Promise<NodeRecord> {
    const node = await this.machine(number);
    await spawn(this, node.uuid, {
      uuid: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
      name: `host-${number}`,
      imageId: 'image-1',
      approval: { yes: true },
    });
    return this.change(node.uuid, (value) => ({ ...value, state: 'active', stateDeadline: undefined }));
  }

  async ask(method: string, target: string, { body, headers = {}, from = '127.0.0.1', signal }: AskOptions = {}): Promise<Answered> {
    const response = await this.send(method, target, { body, headers, from, signal });
    if (typeof response.body === 'object' && !(response.body instanceof Uint8Array)) throw new Error('a stream: use send');
    const text = String(response.body ?? '');
    this.emitted.push(JSON.stringify(response.headers), text);
    const json = response.headers?.['content-type']?.startsWith('application/json') ? JSON.parse(text) : undefined;
    hold(method, target.split('?')[0] ?? '', response.status, json);
    return { status: response.status, headers: response.headers ?? {}, text, json };
  }

  send(method: string, target: string, { body, headers = {}, from = '127.0.0.1', signal }: AskOptions = {}): Promise<HttpResponse> {
    const [path = '', query = ''] = target.split('?');
    const bytes = body === undefined ? new Uint8Array() : typeof body === 'string' ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
    return this.api.handle({
      method,
      path: decodeURIComponent(path),
      query: new URLSearchParams(query),
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), host: '127.0.0.1:7081', ...headers },
      body: bytes,
      remote: { address: from, port: 50_000 },
      local: { address: '127.0.0.1', port: 7081 },
      signal: signal ?? new AbortController().signal,
    });
  }

  async metrics(): Promise<string> {
    return (await this.ask('GET', '/metrics')).text;
  }
}

/** The row that a request is for. */
export function rowOf(method: string, path: string): { id: OperationId; row: Operation } | undefined {
  const found = Object.entries<Operation>(operations).find(([, row]) => {
    const pattern = new RegExp(`^${row.path.replaceAll(/:[a-z]+/g, '[^/]+').replaceAll('.', '\\.')}$`);
    return row.method === method && pattern.test(path);
  });
  return found && { id: found[0] as OperationId, row: found[1] };
}

/** Its status is one that the row knows, its body what the row says: nothing missing, nothing more. */
function hold(method: string, path: string, status: number, json: unknown): void {
  const found = rowOf(method, path);
  if (!found) return;
  const { id, row } = found;
  const known = [row.status, ...row.refusals, 400, 401, 403, 409, 422, 429, 503];
  expect(known, `${id} answered ${status}: ${JSON.stringify(json)}`).toContain(status);
  if (status >= 400 && json !== undefined) expect(problem.parse(json)).toEqual(json);
  if (status < 400 && row.answer) expect(row.answer.parse(json), id).toEqual(json);
}

export function recorder(write: (line: string) => void): Logger {
  const method = (...given: unknown[]): void => write(JSON.stringify(given));
  const logger: Logger = { ...silentLogger, debug: method, info: method, warn: method, error: method, child: () => logger };
  return logger;
}

function hex(value: number): string {
  return (value & 0xff).toString(16).padStart(2, '0');
}
