/** 000-17: what bms_control is told, by replicas that die, over a network that fails, to a receiver that is moody. */
import { NOTIFICATION_ID_HEADER, type Notification, notification as schema } from 'cdk8s-baremetal-contract/api/index';
import { type HttpHandler, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { type NodeRecord, type NodeState, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { Outbox, outboxKind } from 'cdk8s-baremetal-runtime/outbox/index';
import { MemoryStore, modify, type Store } from 'cdk8s-baremetal-runtime/store/index';
import { SimNetwork, seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';

const PATH = '/bms/v1/task/pxe/notify';

class Site {
  readonly clock = new VirtualClock();
  readonly store: Store = new MemoryStore();
  readonly random = seededRandom('outbox');
  readonly network = new SimNetwork({ clock: this.clock, random: this.random.fork('network') });
  readonly control = this.network.host({ name: 'control', addresses: ['192.0.2.1/24'], segment: 'lan' });
  readonly received: Notification[] = [];
  readonly deliveries: string[] = [];
  /** What the receiver says; default 200. */
  mood: (body: Notification, count: number) => number | 'hangs' = () => 200;
  readonly #replicas: { outbox: Outbox; host: ReturnType<SimNetwork['host']> }[] = [];
  #hosts = 1;
  #count = 0;

  async receiver(): Promise<void> {
    const handle: HttpHandler = async ({ method, path, body, headers }) => {
      expect([method, path, headers['content-type']]).toEqual(['POST', PATH, 'application/json']);
      const what = schema.parse(JSON.parse(Buffer.from(body).toString()));
      expect(headers[NOTIFICATION_ID_HEADER]).toBe(what.id);
      const answer = this.mood(what, ++this.#count);
      if (answer === 'hangs') return new Promise(() => undefined);
      if (answer === 200) this.received.push(what);
      return { status: answer };
    };
    await this.clock.run(this.control.serveHttp({ address: '192.0.2.1', port: 17070 }, handle));
  }

  async replica(maxRetries = 10): Promise<Outbox> {
    this.#hosts += 1;
    const host = this.network.host({ name: `core-${this.#hosts}`, addresses: [`192.0.2.${this.#hosts}/24`], segment: 'lan' });
    const outbox = new Outbox({
      store: this.store,
      network: host,
      clock: this.clock,
      random: this.random.fork(`core ${this.#hosts}`),
      logger: silentLogger,
      url: `http://192.0.2.1:17070${PATH}`,
      maxRetries,
      onDelivery: (result) => this.deliveries.push(result),
    });
    this.#replicas.push({ outbox, host });
    await this.clock.run(outbox.start());
    return outbox;
  }

  /** As kill -9 with its cable pulled: it says nothing to anybody any more, and its records stay as they are. */
  async kill(outbox: Outbox): Promise<void> {
    const one = this.#replicas.find((replica) => replica.outbox === outbox);
    one?.host.down();
    await this.clock.run(outbox.close());
  }

  async close(): Promise<void> {
    for (const { outbox } of this.#replicas) await this.clock.run(outbox.close());
  }

  async node(name: string): Promise<string> {
    const now = this.clock.now();
    const record: unknown = {
      uuid: `uuid-${name}`,
      name,
      number: 1,
      interfaces: [{ mac: '52:54:00:00:00:01' }],
      properties: { cpus: 1, memoryMb: 1, localGb: 1, cpuArch: 'x86_64' },
      bmc: { driver: 'ipmi', address: '192.0.2.9', username: 'u', passwordRef: 'p' },
      state: 'enrolled',
      stateSince: now,
      reason: 'enrolled',
    };
    await this.store.create(nodeKind, `uuid-${name}`, nodeKind.parse(record));
    return `uuid-${name}`;
  }

  async go(id: string, to: NodeState, change: (node: NodeRecord) => NodeRecord = (node) => node): Promise<void> {
    await modify(this.store, nodeKind, id, (node) => {
      const at = this.clock.now();
      const step = { from: node.state, to, reason: `it is ${to}`, at, durationMs: 1 };
      return change({ ...node, state: to, stateSince: at, reason: step.reason, history: [...node.history, step].slice(-50) });
    });
  }

  told(name: string): string[] {
    return this.received.filter(({ node_name: node }) => node === name).map(({ state }) => state);
  }

  /** Until nothing waits. */
  async drained(limitMs = 3_600_000): Promise<void> {
    for (let waited = 0; waited < limitMs; waited += 1_000) {
      await this.clock.runFor(1_000);
      const records = await this.store.list(outboxKind);
      if (records.every(({ value }) => value.pending.length === 0)) return;
    }
    throw new Error('something waits still');
  }
}

let site: Site;
const newSite = async (): Promise<Site> => {
  site = new Site();
  await site.receiver();
  return site;
};
afterEach(() => site.close());

const instance = (uuid: string) => (node: NodeRecord) => ({
  ...node,
  instance: { uuid, name: 'web', imageId: 'i', vifs: [], volumes: [], at: 0 },
});
const noInstance = ({ instance: _instance, ...node }: NodeRecord): NodeRecord => node as NodeRecord;

describe('000-17: the notify callback', () => {
  it('tells the end of every task, in order, with the task of whoever asked', async () => {
    const { store } = await newSite();
    await site.replica();
    const id = await site.node('bm-1');
    await site.go(id, 'verifying');
    await site.go(id, 'manageable');
    await site.go(id, 'available');
    await site.go(id, 'building', instance('task-7'));
    await site.go(id, 'prepared');
    await site.go(id, 'deploying');
    await site.go(id, 'deploy complete');
    await site.go(id, 'active');
    await site.go(id, 'deleting');
    await site.go(id, 'deleted', noInstance);
    await site.go(id, 'available');
    await site.drained();
    expect(site.received.map(({ state, task_id: task, instance_uuid: of }) => [state, task, of])).toEqual([
      ['manageable', id, null],
      ['available', id, null],
      ['active', 'task-7', 'task-7'],
      ['deleted', 'task-7', 'task-7'],
      ['available', id, null],
    ]);
    expect(site.received[2]).toMatchObject({ node_uuid: id, node_name: 'bm-1', previous_state: 'deploy complete', reason: 'it is active' });
    expect(new Set(site.received.map((one) => one.id)).size).toBe(5);
    expect(await store.list(outboxKind)).toHaveLength(1);
  });

  it('tries again with back-off until it is taken, and keeps the order', async () => {
    await newSite();
    site.mood = (_, count) => (count <= 4 ? 503 : 200);
    await site.replica();
    const id = await site.node('bm-1');
    await site.go(id, 'available');
    await site.go(id, 'active', instance('t'));
    const began = site.clock.monotonic();
    await site.drained();
    // 1 + 2 + 4 + 8 s, each a tenth more or less
    expect(site.clock.monotonic() - began).toBeGreaterThan(13_500);
    expect(site.clock.monotonic() - began).toBeLessThan(20_000);
    expect(site.told('bm-1')).toEqual(['available', 'active']);
  });

  it('gives up after max_retries, keeps what was given up, and sends it again when it is told to', async () => {
    await newSite();
    site.mood = ({ state }) => (state === 'error' ? 500 : 200);
    const outbox = await site.replica(2);
    const id = await site.node('bm-1');
    await site.go(id, 'error');
    await site.go(id, 'available');
    await site.drained();
    expect(site.told('bm-1')).toEqual(['available']);
    const { dead, pending } = await outbox.state();
    expect(pending).toBe(0);
    expect(dead).toMatchObject([{ attempts: 3, error: 'status 500', notification: { state: 'error' } }]);
    expect(site.deliveries).toEqual(['failed', 'failed', 'given up', 'delivered']);
    expect(await outbox.retry('nowhere.1')).toBe(false);
    site.mood = () => 200;
    expect(await outbox.retry(dead[0]?.notification.id ?? '')).toBe(true);
    await site.drained();
    expect(site.told('bm-1')).toEqual(['available', 'error']);
    expect((await outbox.state()).dead).toEqual([]);
  });

  it('one machine whose notification is refused does not hold up another', async () => {
    await newSite();
    site.mood = ({ node_name: name }) => (name === 'bm-1' ? 500 : 200);
    await site.replica();
    const [first, second] = [await site.node('bm-1'), await site.node('bm-2')];
    await site.go(first, 'active');
    await site.go(second, 'active');
    await site.clock.runFor(1_000);
    expect(site.told('bm-2')).toEqual(['active']);
  });

  it('a receiver that hangs is left after ten seconds', async () => {
    await newSite();
    site.mood = (_, count) => (count === 1 ? 'hangs' : 200);
    await site.replica();
    await site.go(await site.node('bm-1'), 'active');
    await site.clock.runFor(9_000);
    expect(site.received).toEqual([]);
    await site.drained();
    expect(site.told('bm-1')).toEqual(['active']);
  });

  it('what happened while no daemon ran is told at its next start; what happened before anybody wanted to know is not', async () => {
    await newSite();
    const old = await site.node('old');
    await site.go(old, 'active');
    await site.clock.runFor(1_000);
    const first = await site.replica();
    const id = await site.node('bm-1');
    await site.go(id, 'available');
    await site.drained();
    await site.kill(first);
    await site.go(id, 'active', instance('t'));
    await site.go(old, 'error');
    const unborn = await site.node('bm-2');
    await site.go(unborn, 'error');
    await site.replica();
    await site.drained();
    expect(site.told('bm-1')).toEqual(['available', 'active']);
    expect(site.told('old')).toEqual(['error']);
    expect(site.told('bm-2')).toEqual(['error']);
  });

  it('a start reads the machines together, and one by one only those with news', async () => {
    const { store } = await newSite();
    const first = await site.replica();
    for (let number = 1; number <= 50; number++) await site.go(await site.node(`bm-${number}`), 'manageable');
    await site.drained();
    await site.clock.run(first.close());
    await site.go('uuid-bm-7', 'available');
    const read: string[] = [];
    const get = store.get.bind(store);
    store.get = (kind, id) => {
      read.push(id);
      return get(kind, id);
    };
    await site.replica();
    await site.drained();
    expect([new Set(read), site.told('bm-7')]).toEqual([new Set(['uuid-bm-7']), ['manageable', 'available']]);
  });

  it('a machine that is gone is told of to the end, and leaves nothing', async () => {
    await newSite();
    site.mood = (_, count) => (count < 3 ? 500 : 200);
    await site.replica();
    const id = await site.node('bm-1');
    await site.go(id, 'available');
    await site.clock.runFor(10);
    const record = await site.store.get(nodeKind, id);
    if (record) await site.store.delete(nodeKind, record, record.version);
    await site.drained();
    await site.clock.runFor(1_000);
    expect(site.told('bm-1')).toEqual(['available']);
    expect(await site.store.list(outboxKind)).toEqual([]);
  });

  it('a machine that is enrolled again under its uuid repeats no id of its life before', async () => {
    const { clock, store, received } = await newSite();
    await site.replica();
    for (let life = 1; life <= 2; life++) {
      const id = await site.node('a');
      await site.go(id, 'active', instance('task-1'));
      await site.drained();
      const record = await store.get(nodeKind, id);
      await store.delete(nodeKind, { id }, record?.version ?? '');
      await clock.runFor(1_000);
      expect(received).toHaveLength(life);
    }
    expect(new Set(received.map(({ id }) => id)).size).toBe(2);
  });

  it('a clock that is set back by a day holds up neither a retry nor the successor of a sender', async () => {
    const { clock } = await newSite();
    const first = await site.replica();
    const id = await site.node('bm-1');
    site.mood = () => 500;
    await site.go(id, 'available');
    await clock.runFor(5_000);
    site.mood = () => 'hangs';
    await clock.runFor(5_000);
    await site.kill(first);
    clock.stepWall(-24 * 3_600_000);
    site.mood = () => 200;
    await site.replica();
    await site.drained(600_000);
    expect(site.told('bm-1')).toEqual(['available']);
  });

  it('of replicas that live, one sends: nothing comes twice', async () => {
    await newSite();
    for (let replica = 0; replica < 3; replica++) await site.replica();
    const ids = await Promise.all(['bm-1', 'bm-2', 'bm-3'].map((name) => site.node(name)));
    for (let round = 0; round < 10; round++) {
      for (const id of ids) await site.go(id, 'error');
      await site.clock.runFor(1 + (round % 3)); // also while one is on its way
    }
    await site.drained();
    expect(site.received).toHaveLength(30);
    expect(new Set(site.received.map(({ id }) => id)).size).toBe(30);
  });

  it('is bounded: more than a hundred that wait become dead letters, oldest after the first', async () => {
    await newSite();
    site.mood = () => 500;
    const outbox = await site.replica(1000);
    const id = await site.node('bm-1');
    for (let round = 0; round < 130; round++) {
      await site.go(id, 'error');
      await site.clock.runFor(1);
    }
    const { pending, dead } = await outbox.state();
    expect(pending).toBe(100);
    expect(dead.length).toBe(20);
    expect(dead[0]?.error).toContain('more than 100');
  });

  it('replicas that die at any moment, a receiver that fails at random: everything arrives, in order, from one at a time', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 1_000_000 }), async (seed) => {
        await newSite();
        try {
          const random = seededRandom(`chaos ${seed}`);
          site.mood = () => (random.fraction() < 0.3 ? (random.fraction() < 0.3 ? 'hangs' : 503) : 200);
          const ids = [await site.node('bm-1'), await site.node('bm-2')];
          const alive: Outbox[] = [await site.replica(1000), await site.replica(1000)];
          const wanted = new Map<string, string[]>(ids.map((id) => [id, []]));
          for (let step = 0; step < 25; step++) {
            const id = ids[Math.floor(random.fraction() * 2)] ?? '';
            const to = (['available', 'active', 'error', 'building'] as const)[Math.floor(random.fraction() * 4)] ?? 'error';
            await site.go(id, to);
            if (to !== 'building') wanted.get(id)?.push(to);
            await site.clock.runFor(random.fraction() * 15_000);
            if (random.fraction() < 0.2) {
              const [victim] = alive.splice(Math.floor(random.fraction() * alive.length), 1);
              if (victim) await site.kill(victim);
              if (alive.length === 0 || random.fraction() < 0.7) alive.push(await site.replica(1000));
            }
          }
          site.mood = () => 200;
          if (alive.length === 0) alive.push(await site.replica(1000));
          await site.drained();
          for (const id of ids) {
            // twice is allowed (the id tells), missing or out of order is not
            const mine = site.received.filter((one) => one.node_uuid === id);
            const once = mine.filter((one, index) => mine.findIndex((other) => other.id === one.id) === index);
            expect(once.map(({ state }) => state)).toEqual(wanted.get(id));
          }
        } finally {
          await site.close();
        }
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 30) },
    );
  });
});
