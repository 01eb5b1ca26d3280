/** ZooKeeper's ways to fail, on the virtual clock; test/runtime/coordination/zookeeper.test.ts holds the model to the real one. */
import { ZooKeeperCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { type ConnectZooKeeper, ZooKeeperError } from 'cdk8s-baremetal-runtime/coordination/zookeeper/zookeeper-client';
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LEASE_MS, type ModelGroup, modelGroup } from './groups.ts';

const sessionOf = (id: string): string => /#([0-9a-f]{16})\./.exec(id)?.[1] ?? '';

describe('000-16: membership over a ZooKeeper that fails', () => {
  let group: ModelGroup;
  beforeEach(() => {
    group = modelGroup();
  });
  afterEach(() => group.close());
  const run = <T>(work: Promise<T>): Promise<T> => group.clock.run(work);
  const join = async (name: string) => {
    const replica = group.replica();
    return { replica, member: await run(replica.join(name)) };
  };

  it('makes the path of its URL, and leaves nothing but empty folders', async () => {
    const { replica, member } = await join('node-a');
    expect(group.zookeeper.paths()).toEqual(['/', '/site', '/site/bms', '/site/bms/members', `/site/bms/members/${member.id}`]);
    await run(replica.close());
    expect(group.zookeeper.paths()).toEqual(['/', '/site', '/site/bms', '/site/bms/members']);
    expect(group.zookeeper.sessions()).toEqual([]);
  });

  it('a quiet day: one session, one node, the membership stays', async () => {
    const { member } = await join('node-a');
    await group.clock.runFor(86_400_000);
    expect([member.lost.aborted, group.zookeeper.sessions().length]).toEqual([false, 1]);
  });

  it('the watchdog: a cut-off member stops by two thirds of the session, others count it dead at its end, never before', async () => {
    const [a, b] = [await join('node-a'), await join('node-b')];
    let gone: number | undefined;
    const start = group.clock.monotonic();
    b.replica.onChange(() => {
      gone ??= group.clock.monotonic() - start;
    });
    let stopped = 0;
    a.member.lost.addEventListener('abort', () => {
      stopped = group.clock.monotonic() - start;
    });
    group.zookeeper.partition(sessionOf(a.member.id));
    await group.clock.runFor(LEASE_MS + 100);
    expect(stopped).toBeGreaterThan(LEASE_MS / 3);
    expect(stopped).toBeLessThanOrEqual((LEASE_MS * 2) / 3);
    // What protects the machines: the third of a lease between the two, less what a question travels.
    expect((gone ?? 0) - stopped).toBeGreaterThanOrEqual(LEASE_MS / 3 - 10);
    expect(await run(b.replica.isAlive(a.member.id))).toBe(false);
    expect(b.member.lost.aborted).toBe(false);
  });

  it('after a partition it can join again, as another life', async () => {
    const { replica, member } = await join('node-a');
    group.zookeeper.partition(sessionOf(member.id));
    await group.clock.runFor(LEASE_MS);
    group.zookeeper.heal();
    const again = await run(replica.join('node-a'));
    expect([again.id === member.id, again.lost.aborted, await run(replica.isAlive(again.id))]).toEqual([false, false, true]);
  });

  it.each([
    { name: 'half of the session', share: 0.5, lost: false },
    { name: 'longer than two thirds of it', share: 0.7, lost: true },
    { name: 'three sessions', share: 3, lost: true },
  ])('a server that stops for $name and keeps its connections (SIGSTOP): lost $lost', async ({ share, lost }) => {
    const { member } = await join('node-a');
    group.zookeeper.freeze();
    await group.clock.runFor(LEASE_MS * share);
    expect(member.lost.aborted).toBe(lost);
    group.zookeeper.thaw();
    await group.clock.runFor(LEASE_MS * 2);
    expect(member.lost.aborted).toBe(lost);
  });

  it('a connection that breaks again and again keeps the session and the membership', async () => {
    const { replica, member } = await join('node-a');
    for (let i = 0; i < 20; i++) {
      group.zookeeper.dropConnections();
      await group.clock.runFor(777);
    }
    expect([member.lost.aborted, await run(replica.isAlive(member.id)), group.zookeeper.sessions().length]).toEqual([false, true, 1]);
  });

  it('an expired session ends the membership at the next word from the server', async () => {
    const [a, b] = [await join('node-a'), await join('node-b')];
    let changes = 0;
    b.replica.onChange(() => {
      changes += 1;
    });
    group.zookeeper.expire(sessionOf(a.member.id));
    await group.clock.runFor(LEASE_MS / 6 + 10);
    expect([a.member.lost.aborted, changes, await run(b.replica.isAlive(a.member.id))]).toEqual([true, 1, false]);
    await run(a.replica.join('node-a'));
    await group.clock.runFor(10);
    expect(changes).toBe(2);
  });

  it('changes are told again after the watcher itself lost its session', async () => {
    const [a, b] = [await join('node-a'), await join('node-b')];
    let changes = 0;
    b.replica.onChange(() => {
      changes += 1;
    });
    group.zookeeper.expire(sessionOf(b.member.id));
    await group.clock.runFor(LEASE_MS);
    const before = changes;
    await run(a.member.leave());
    await group.clock.runFor(10);
    expect([before, changes]).toEqual([1, 2]); // its own node went, then the other's
  });

  it('an operator who removes the node ends that life at once; who empties the tree, all of them, and it grows again', async () => {
    const [a, b] = [await join('node-a'), await join('node-b')];
    group.zookeeper.deleteAll(`/site/bms/members/${a.member.id}`);
    await group.clock.runFor(10);
    expect([a.member.lost.aborted, b.member.lost.aborted]).toEqual([true, false]);
    group.zookeeper.deleteAll('/site');
    await group.clock.runFor(10);
    expect(b.member.lost.aborted).toBe(true);
    const again = await run(b.replica.join('node-b'));
    expect(await run(a.replica.isAlive(again.id))).toBe(true);
  });

  it('an answer that gets lost after the node was made leaves one node, and it is ours', async () => {
    const { replica } = await join('node-b');
    group.zookeeper.loseAnswersToCreate(1);
    const member = await run(replica.join('node-a'));
    const nodes = group.zookeeper.paths().filter((path) => path.includes('node-a'));
    expect(nodes).toEqual([`/site/bms/members/${member.id}`]);
    expect(member.lost.aborted).toBe(false);
  });

  it('no server at all: join says so after two thirds of the session, and works when there is one', async () => {
    group.zookeeper.freeze();
    const replica = group.replica();
    await expect(run(replica.join('node-a'))).rejects.toMatchObject({ code: 'COORDINATION_UNREACHABLE' });
    expect(group.clock.monotonic()).toBeLessThanOrEqual((LEASE_MS * 2) / 3 + 1);
    group.zookeeper.thaw();
    expect((await run(replica.join('node-a'))).lost.aborted).toBe(false);
  });

  it('who heard that a member lives hears of its end, even if the watch never saw it', async () => {
    const a = group.replica();
    // A reading with a watch takes its time here; a question does not.
    const slow: ConnectZooKeeper = (options) => {
      const client = group.zookeeper.connect(options);
      const children = client.children.bind(client);
      client.children = async (path, onChange) => {
        if (onChange) await sleep(group.clock, 200);
        return children(path, onChange);
      };
      return client;
    };
    const b = new ZooKeeperCoordination({
      servers: [{ host: '127.0.0.1', port: 2181 }],
      path: '/site/bms',
      clock: group.clock,
      connect: slow,
    });
    let changes = 0;
    b.onChange(() => {
      changes += 1;
    });
    await run(b.isAlive('nobody'));
    await group.clock.runFor(1_000);
    const member = await run(a.join('node-a'));
    expect(await run(b.isAlive(member.id))).toBe(true);
    await run(member.leave());
    await group.clock.runFor(1_000);
    expect([await run(b.isAlive(member.id)), changes]).toEqual([false, 1]);
    await run(b.close());
  });

  it('who heard that a member lives before the watch has begun hears of its end with the beginning', async () => {
    const { replica: a, member } = await join('node-a');
    let failures = 1;
    const connect: ConnectZooKeeper = (options) => {
      const client = group.zookeeper.connect(options);
      const { children } = client;
      client.children = async (path, onChange) => {
        if (onChange !== undefined && failures-- > 0) throw new ZooKeeperError('OTHER', 'not now');
        return children.call(client, path, onChange);
      };
      return client;
    };
    const servers = [{ host: '127.0.0.1', port: 2181 }];
    const b = new ZooKeeperCoordination({ servers, path: '/site/bms', clock: group.clock, connect, sessionTimeoutMs: LEASE_MS });
    let changes = 0;
    b.onChange(() => {
      changes += 1;
    });
    await group.clock.runFor(100);
    expect(await run(b.isAlive(member.id))).toBe(true);
    await run(a.close());
    await group.clock.runFor(5_000);
    expect([changes, await run(b.isAlive(member.id))]).toEqual([1, false]);
    await run(b.close());
  });

  it('a dead owner of 10,000 machines costs one question', async () => {
    const { replica } = await join('node-a');
    await run(replica.isAlive('node-x#gone'));
    const before = group.clock.monotonic();
    const answers = await run(Promise.all(Array.from({ length: 10_000 }, () => replica.isAlive('node-x#gone'))));
    expect([answers.every((alive) => !alive), group.clock.monotonic() - before]).toEqual([true, 0]);
  });
});

describe('000-16: semaphores over a ZooKeeper that fails', () => {
  let group: ModelGroup;
  beforeEach(() => {
    group = modelGroup();
  });
  afterEach(() => group.close());
  const run = <T>(work: Promise<T>): Promise<T> => group.clock.run(work);

  it('a holder that dies frees its place when its session runs out, and has stopped a third of it before', async () => {
    const [a, b] = [group.replica(), group.replica()];
    const lease = await run(a.acquire('x', { limit: 1, timeoutMs: 1_000 }));
    const start = group.clock.monotonic();
    let stopped = 0;
    lease.lost.addEventListener('abort', () => {
      stopped = group.clock.monotonic() - start;
    });
    group.zookeeper.partition(group.zookeeper.sessions()[0] ?? '');
    await run(b.acquire('x', { limit: 1, timeoutMs: 60_000 }));
    expect(group.clock.monotonic() - start - stopped).toBeGreaterThanOrEqual(LEASE_MS / 3 - 10);
    expect(stopped).toBeGreaterThan(0);
  });

  it('one who waits and loses its session stands in line again, at its end, within its time', async () => {
    const [a, b] = [group.replica(), group.replica()];
    const held = await run(a.acquire('x', { limit: 1, timeoutMs: 1_000 }));
    const waiting = b.acquire('x', { limit: 1, timeoutMs: 60_000 });
    await group.clock.runFor(100);
    group.zookeeper.expire(group.zookeeper.sessions()[1] ?? '');
    await group.clock.runFor(LEASE_MS / 2);
    await run(held.release());
    expect((await run(waiting)).lost.aborted).toBe(false);
  });

  it('an answer that gets lost makes no place that nobody holds', async () => {
    const a = group.replica();
    group.zookeeper.loseAnswersToCreate(3);
    const lease = await run(a.acquire('x', { limit: 1, timeoutMs: 60_000 }));
    await run(lease.release());
    expect(group.zookeeper.paths().filter((path) => path.includes('/semaphores/x/'))).toEqual([]);
    await run(a.acquire('x', { limit: 1, timeoutMs: 100 }));
  });

  it('an answer that gets lost keeps the place in the line', async () => {
    const [a, b, c] = [group.replica(), group.replica(), group.replica()];
    const held = await run(a.acquire('x', { limit: 1, timeoutMs: 1_000 }));
    await run(Promise.all([b.isAlive('nobody'), c.isAlive('nobody')])); // both are connected
    const order: string[] = [];
    group.zookeeper.loseAnswersToCreate(1);
    const first = b.acquire('x', { limit: 1, timeoutMs: 60_000 }).then(async (lease) => {
      order.push('b');
      await lease.release();
    });
    const second = c.acquire('x', { limit: 1, timeoutMs: 60_000 }).then(() => order.push('c'));
    await group.clock.runFor(1_000);
    await run(held.release());
    await run(Promise.all([first, second]));
    expect(order).toEqual(['b', 'c']);
  });

  it('no server: the time-out still ends it', async () => {
    group.zookeeper.freeze();
    const waiting = run(group.replica().acquire('x', { limit: 1, timeoutMs: 40_000 }));
    await expect(waiting).rejects.toMatchObject({ code: 'COORDINATION_BUSY' });
    expect(group.clock.monotonic()).toBe(40_000);
  });
});
