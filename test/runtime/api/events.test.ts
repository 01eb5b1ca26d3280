/** Server-sent events: what is told, resuming, falling behind, heartbeats, the end. */
import { type ApiEvent, apiEvent } from 'cdk8s-baremetal-contract/api/index';
import { describe, expect, it } from 'vitest';
import { EventHub } from '../../../src/runtime/api/event-hub.ts';
import { Harness } from './harness.ts';

interface Told {
  readonly id: string | undefined;
  readonly event: ApiEvent;
}

/** As the HTML standard reads a stream: blocks of fields, ids remembered. */
class Listener {
  readonly told: Told[] = [];
  readonly comments: string[] = [];
  lastId: string | undefined;
  ended = false;
  readonly #controller = new AbortController();

  static async open(harness: Harness, query = '', lastEventId?: string): Promise<Listener> {
    const listener = new Listener();
    const headers: Record<string, string> = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
    const response = await harness.send('GET', `/v1/events${query}`, { headers, signal: listener.#controller.signal });
    expect(response.status).toBe(200);
    void listener.#read(response.body as AsyncIterable<string>);
    await settled();
    return listener;
  }

  close(): void {
    this.#controller.abort();
  }

  types(): string[] {
    return this.told.map(({ event }) => event.type);
  }

  async #read(body: AsyncIterable<string>): Promise<void> {
    for await (const chunk of body) {
      for (const block of chunk.split('\n\n').filter((one) => one !== '')) {
        let data = '';
        for (const line of block.split('\n')) {
          const [, field = '', value = ''] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
          if (field === '') this.comments.push(value);
          if (field === 'id') this.lastId = value;
          if (field === 'data') data = value;
        }
        if (data !== '') this.told.push({ id: this.lastId, event: apiEvent.parse(JSON.parse(data)) });
      }
    }
    this.ended = true;
  }
}

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
};

async function transition(harness: Harness, uuid: string, to: 'active' | 'error'): Promise<void> {
  await harness.clock.runFor(1);
  await harness.change(uuid, (node) => ({
    ...node,
    state: to,
    reason: `now ${to}`,
    history: [...node.history, { from: node.state, to, reason: `now ${to}`, at: harness.clock.now(), durationMs: 5 }],
    timeline: [...node.timeline, { at: harness.clock.now(), type: 'power on', count: 1 }],
  }));
  await settled();
}

describe('events', () => {
  it('begin with every machine as it is, and go on with what happens', async () => {
    const harness = new Harness();
    const { uuid } = await harness.machine(1);
    await harness.machine(2);
    const listener = await Listener.open(harness);
    expect(listener.told.map(({ event }) => event.type === 'node' && event.node.name)).toEqual(['bm-1', 'bm-2']);
    await transition(harness, uuid, 'active');
    expect(listener.types().slice(2)).toEqual(['seen', 'transition', 'node']);
    expect(listener.told[3]?.event).toMatchObject({ from: 'available', to: 'active', reason: 'now active', node: { name: 'bm-1' } });
    await harness.ask('DELETE', '/v1/nodes/bm-2');
    await settled();
    expect(listener.told.at(-1)?.event).toMatchObject({ type: 'removed', node: { name: 'bm-2' } });
    // bookkeeping is nobody's news
    const { length } = listener.told;
    await harness.change(uuid, (node) => ({ ...node, epoch: node.epoch + 1 }));
    await settled();
    expect(listener.told).toHaveLength(length);
    listener.close();
    await settled();
    expect(listener.ended).toBe(true);
    expect(await harness.metrics()).toContain('bms_event_streams 0');
  });

  it('resume after the last one that was heard: nothing twice, nothing missing', async () => {
    const harness = new Harness();
    const { uuid } = await harness.machine(1);
    const first = await Listener.open(harness);
    await transition(harness, uuid, 'active');
    const { lastId } = first;
    first.close();
    await transition(harness, uuid, 'error');
    await transition(harness, uuid, 'active');
    const second = await Listener.open(harness, '', lastId);
    expect(second.types()).toEqual(['seen', 'transition', 'node', 'seen', 'transition', 'node']);
    const all = await Listener.open(harness, '', first.told[0]?.id);
    expect(all.told.filter(({ event }) => event.type === 'transition')).toHaveLength(3);
    // in the middle of what one change said
    const [, one] = second.told;
    expect((await Listener.open(harness, '', one?.id)).types()).toEqual(['node', 'seen', 'transition', 'node']);
  });

  it.each(['nonsense', 'other-life.3', '', 'x.y.z'])('an id that is not known gets a reset and the present state: %j', async (id) => {
    const harness = new Harness();
    await harness.machine(1);
    const listener = await Listener.open(harness, '', id);
    expect(listener.types()).toEqual(['reset', 'node']);
    const again = await Listener.open(harness, '', listener.lastId);
    expect(again.types()).toEqual([]);
  });

  it('a daemon that was started again resets', async () => {
    const harness = new Harness();
    await harness.machine(1);
    const { lastId } = await Listener.open(harness);
    const other = new Harness({ store: harness.store, random: { bytes: (length) => new Uint8Array(length).fill(9) } });
    expect((await Listener.open(other, '', lastId)).types()).toEqual(['reset', 'node']);
  });

  it('of one machine only', async () => {
    const harness = new Harness();
    const { uuid } = await harness.machine(1);
    const second = await harness.machine(2);
    const listener = await Listener.open(harness, '?node=bm-1');
    await transition(harness, second.uuid, 'active');
    await transition(harness, uuid, 'active');
    expect(listener.told.every(({ event }) => event.type !== 'reset' && event.node.name === 'bm-1')).toBe(true);
    expect(listener.types()).toEqual(['node', 'seen', 'transition', 'node']);
  });

  it('heartbeats keep a quiet stream open, and carry the place in it', async () => {
    const harness = new Harness();
    const { uuid } = await harness.machine(1);
    const listener = await Listener.open(harness, '?node=bm-1');
    const other = await harness.machine(2);
    // what happens to others does not put them off
    for (let second = 0; second < 46; second++) {
      await transition(harness, other.uuid, 'active');
      await harness.clock.runFor(1_000);
    }
    expect(listener.comments).toEqual(['heartbeat', 'heartbeat', 'heartbeat']);
    await transition(harness, uuid, 'active');
    listener.close();
    expect((await Listener.open(harness, '', listener.lastId)).types()).toEqual([]);
  });

  it('once: the present state and the end; with an id, what comes next and the end', async () => {
    const harness = new Harness();
    const { uuid } = await harness.machine(1);
    const first = await Listener.open(harness, '?once=true');
    expect([first.ended, first.types()]).toEqual([true, ['node']]);
    const second = await Listener.open(harness, '?once=true', first.lastId);
    expect(second.ended).toBe(false);
    await transition(harness, uuid, 'active');
    expect(second.ended).toBe(true);
    expect(second.types()).toContain('transition');
    const third = await Listener.open(harness, '?once=true', second.lastId);
    await harness.clock.runFor(15_000);
    expect([third.ended, third.types()]).toEqual([true, []]);
  });

  it('a reader that falls too far behind is told so and gets the present state', () => {
    const hub = new EventHub('life');
    for (let sequence = 0; sequence < 9_000; sequence++) hub.publish('n', { type: 'removed', node: { uuid: 'n', name: 'n' } });
    expect(hub.after(0, 10)).toBeUndefined();
    expect(hub.after(hub.last - 5, 10)).toHaveLength(5);
    expect(hub.after(hub.last, 10)).toEqual([]);
    expect(hub.after(hub.last + 1, 10)).toBeUndefined();
  });

  it('streams end with the daemon, and are no more than so many', async () => {
    const harness = new Harness();
    const listeners = await Promise.all(Array.from({ length: 256 }, () => Listener.open(harness)));
    expect((await harness.ask('GET', '/v1/events')).json.error.code).toBe('API_STREAMS');
    harness.api.close();
    await settled();
    expect(listeners.every(({ ended }) => ended)).toBe(true);
  });
});

describe('metrics', () => {
  it('count what happens, in the text format of Prometheus', async () => {
    const harness = new Harness();
    const { uuid } = await harness.machine(1);
    await harness.machine(2);
    await harness.api.start();
    await transition(harness, uuid, 'active');
    await harness.ask('GET', '/v1/nodes/nowhere');
    const text = await harness.metrics();
    expect(text).toContain('bms_nodes{state="active"} 1\nbms_nodes{state="available"} 1\n');
    expect(text).toContain('bms_node_transitions_total{from="available",to="active"} 1');
    expect(text).toContain('bms_node_state_seconds_bucket{state="available",le="1"} 1');
    expect(text).toContain('bms_http_requests_total{operation="showNode",status="404"} 1');
    for (const line of text.trimEnd().split('\n'))
      expect(line).toMatch(/^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? -?[\d.e+-]+)$/);
    const names = text.match(/^# TYPE \S+/gm) ?? [];
    expect(new Set(names).size).toBe(names.length);
  });

  it('are given also while the store is away, whether it refuses or is silent', async () => {
    for (const state of [() => Promise.reject(new Error('the store is away')), () => new Promise<never>(() => undefined)]) {
      const desk = { callback: 'http://control.test', state, retry: () => Promise.resolve(false), drop: () => Promise.resolve(false) };
      const harness = new Harness({ notifications: desk });
      await harness.machine(1);
      await harness.api.start();
      expect(await harness.clock.run(harness.metrics(), { limitMs: 5_000 })).toContain('bms_nodes{state="available"} 1\n');
    }
  });
});
