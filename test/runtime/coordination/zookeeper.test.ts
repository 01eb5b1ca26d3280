/** The client, our watchdog and the recipes against ZooKeeper itself, in real time: sessions are short, and the limits are the protocol's own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Coordination, openCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { missingForZooKeeper, type ZooKeeperProcess, zooKeeperServers } from './zookeeper-server.ts';

const missing = missingForZooKeeper();
if (missing !== undefined) console.warn(`SKIPPED: coordination against ZooKeeper itself: ${missing}`);

const SESSION_MS = 3_000;
const folder = temporaryFolder();
const opened: Coordination[] = [];
const children: ChildProcess[] = [];

const open = (servers: readonly { port: number }[], path = '', sessionTimeoutMs = SESSION_MS): Coordination => {
  const hosts = servers.map(({ port }) => `127.0.0.1:${port}`).join(',');
  const group = openCoordination(`kazoo://${hosts}${path}`, { clock: nodeClock, sessionTimeoutMs });
  opened.push(group);
  return group;
};
const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve(), { once: true })));
const until = async (condition: () => Promise<boolean>): Promise<void> => {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 50));
};
const replicaProcess = (...args: string[]): ChildProcess => {
  const program = fileURLToPath(new URL('./member-process.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return child;
};

/** A cable to the server that can be cut. */
const relay = async (port: number) => {
  const sockets = new Set<Socket>();
  let whole = true;
  const listener = createServer((near) => {
    if (!whole) {
      near.destroy();
      return;
    }
    const far = createConnection({ host: '127.0.0.1', port });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    whole = false;
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (listener.address() as { port: number }).port,
    cut,
    mend: () => {
      whole = true;
    },
    close: () => {
      cut();
      listener.close();
    },
  };
};

afterEach(async () => {
  await Promise.all(opened.splice(0).map((group) => group.close()));
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

describe.skipIf(missing !== undefined)('000-16: coordination on one ZooKeeper', () => {
  let server: ZooKeeperProcess;
  beforeAll(async () => {
    folder.create();
    [server] = (await zooKeeperServers(1, folder.path())) as [ZooKeeperProcess];
    await server.start();
  });
  afterAll(async () => {
    await server?.kill();
    folder.remove();
  });
  const url = (path = '') => `kazoo://127.0.0.1:${server.port}${path}`;

  it('two replicas: join, see each other, leave; closing leaves no socket', async () => {
    const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = sockets();
    const [a, b] = [open([server], '/site/one'), open([server], '/site/one')];
    let changes = 0;
    b.onChange(() => {
      changes += 1;
    });
    const memberB = await b.join('node-b');
    const memberA = await a.join('node-a');
    expect([await b.isAlive(memberA.id), await a.isAlive(memberB.id), await a.isAlive('node-a#0')]).toEqual([true, true, false]);
    await memberA.leave();
    await until(async () => !(await b.isAlive(memberA.id))); // its watch has to come round
    const [again, other] = [await a.join('node-a'), await b.join('node-a')];
    await aborted(again.lost);
    expect([other.lost.aborted, memberB.lost.aborted]).toEqual([false, false]);
    await until(async () => changes >= 4);
    await Promise.all([a.close(), b.close()]);
    await until(async () => sockets() === before);
  });

  it('a member that is killed is gone for the others when its session has run out', async () => {
    const group = open([server]);
    const child = replicaProcess(url(), String(SESSION_MS), 'join', 'node-a');
    const id = await new Promise<string>((resolve) => child.stdout?.once('data', (data) => resolve(String(data).trim())));
    expect(await group.isAlive(id)).toBe(true);
    const gone = new Promise<void>((resolve) => group.onChange(resolve));
    child.kill('SIGKILL');
    await gone;
    expect(await group.isAlive(id)).toBe(false);
  });

  it('a server that stops with its connections open (SIGSTOP): the membership is lost, and found again when it goes on', async () => {
    const group = open([server]);
    const member = await group.join('node-a');
    const lease = await group.acquire('switch', { limit: 4, timeoutMs: 1_000 });
    server.signal('SIGSTOP');
    const stoppedAt = nodeClock.monotonic();
    try {
      await Promise.all([aborted(member.lost), aborted(lease.lost)]);
      expect(member.lost.reason).toMatchObject({ code: 'COORDINATION_LOST', message: expect.stringContaining('two thirds') });
      expect(nodeClock.monotonic() - stoppedAt).toBeLessThan(SESSION_MS);
    } finally {
      server.signal('SIGCONT');
    }
    const again = await group.join('node-a');
    expect([again.id === member.id, again.lost.aborted]).toEqual([false, false]);
  });

  it('a server that stops for a moment costs nothing', async () => {
    const member = await open([server]).join('node-a');
    server.signal('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, SESSION_MS / 6));
    server.signal('SIGCONT');
    await new Promise((resolve) => setTimeout(resolve, SESSION_MS));
    expect(member.lost.aborted).toBe(false);
  });

  it('a server that is killed and started on its data: the life goes on, or ends and another begins', async () => {
    const group = open([server], '', 10_000);
    const member = await group.join('node-a');
    await server.kill();
    await server.start();
    const again = member.lost.aborted ? await group.join('node-a') : member;
    expect(await group.isAlive(again.id)).toBe(true);
    expect(again).toBe(member); // two thirds of 10 s is long enough for a restart
  });

  it('a session that ran out at the server ends the life at the next connection, even if our watchdog was late', async () => {
    const sessionMs = 2_000;
    const slow: Clock = {
      ...nodeClock,
      monotonic: () => nodeClock.monotonic() / 3,
      after: (ms, callback) => nodeClock.after(ms * 3, callback),
    };
    const cable = await relay(server.port);
    try {
      const group = openCoordination(`kazoo://127.0.0.1:${cable.port}`, { clock: slow, sessionTimeoutMs: sessionMs });
      opened.push(group);
      const member = await group.join('node-a');
      const watcher = open([server]);
      const gone = new Promise<void>((resolve) => watcher.onChange(resolve));
      expect(await watcher.isAlive(member.id)).toBe(true);
      cable.cut();
      await gone;
      expect([await watcher.isAlive(member.id), member.lost.aborted]).toEqual([false, false]);
      cable.mend();
      await aborted(member.lost);
      expect(member.lost.reason).toMatchObject({ message: expect.stringContaining('the session expired') });
      expect((await group.join('node-a')).lost.aborted).toBe(false);
    } finally {
      cable.close();
    }
  });

  it('eight processes, four places: never a fifth holder, and everybody gets its turn', async () => {
    const journal = folder.path('journal');
    const rounds = 5;
    const ends = Array.from({ length: 8 }, () => replicaProcess(url('/line'), '10000', 'hold', 'switch 10.0.0.1', String(rounds), journal));
    const codes = await Promise.all(ends.map((child) => new Promise((resolve) => child.once('exit', resolve))));
    expect(codes).toEqual(Array(8).fill(0));
    const marks = existsSync(journal) ? readFileSync(journal, 'utf8') : '';
    expect([marks.includes('lost'), marks.length]).toEqual([false, 8 * rounds * 2]);
    let holders = 0;
    let most = 0;
    for (const mark of marks) {
      holders += mark === '+' ? 1 : -1;
      most = Math.max(most, holders);
    }
    expect(most).toBe(4);
  });
});

describe.skipIf(missing !== undefined)('000-16: coordination on an ensemble of three', () => {
  let servers: ZooKeeperProcess[] = [];
  beforeAll(async () => {
    folder.create();
    servers = await zooKeeperServers(3, folder.path());
    await Promise.all(servers.map((server) => server.start()));
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.kill()));
    folder.remove();
  });
  const withRole = async (role: string): Promise<ZooKeeperProcess> => {
    for (const server of servers) if ((await server.role()) === role) return server;
    throw new Error(`no ${role}`);
  };

  it('a server that freezes is left for another within the session; the leader dies: lives and leases go on', async () => {
    const [a, b] = [open(servers, '', 9_000), open(servers, '', 9_000)];
    const [memberA, memberB] = [await a.join('node-a'), await b.join('node-b')];
    const lease = await a.acquire('switch', { limit: 1, timeoutMs: 5_000 });
    const frozen = await withRole('follower');
    frozen.signal('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 6_500)); // past two thirds: without moving on, a third of the clients would be lost
    expect([memberA.lost.aborted, memberB.lost.aborted, lease.lost.aborted]).toEqual([false, false, false]);
    frozen.signal('SIGCONT');
    await until(async () => (await frozen.role()) === 'follower');
    await (await withRole('leader')).kill();
    const memberC = await b.join('node-c');
    expect(await a.isAlive(memberC.id)).toBe(true);
    expect([memberA.lost.aborted, memberB.lost.aborted, lease.lost.aborted]).toEqual([false, false, false]);
    const waiting = b.acquire('switch', { limit: 1, timeoutMs: 10_000 });
    await lease.release();
    expect((await waiting).lost.aborted).toBe(false);
  });
});

describe('000-16: what stands at the other end of the URL is no ZooKeeper', () => {
  it.each([
    { name: 'accepts and says nothing', answer: undefined },
    { name: 'answers with rubbish', answer: Buffer.alloc(64, 0xff) },
    { name: 'answers with a length and half a message', answer: Buffer.from('0000002500000000', 'hex') },
    { name: 'answers as a web server', answer: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') },
  ])('$name', async ({ answer }) => {
    const sockets = new Set<{ destroy(): void }>();
    const stranger = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
      socket.resume();
      if (answer !== undefined) socket.once('data', () => socket.write(answer));
    });
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
    try {
      const group = open([{ port: (stranger.address() as { port: number }).port }], '', 600);
      await expect(group.join('node-a')).rejects.toMatchObject({ code: 'COORDINATION_UNREACHABLE' });
      await group.close();
      await until(async () => sockets.size === 0);
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => stranger.close(resolve));
    }
  });

  it('nobody listens', async () => {
    await expect(open([{ port: 1 }], '', 600).join('node-a')).rejects.toMatchObject({ code: 'COORDINATION_UNREACHABLE' });
  });
});
