/** Coordination by Leases on a real API server, in real time: Leases are short, and what the fake's author believes of the server is looked at here. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LEASE_VERBS } from 'cdk8s-baremetal-contract';
import type { Coordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { kubectl, withoutCluster } from '../../support/cluster.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { type KubernetesPeer, kubernetesPeer } from '../store/kubernetes-peer.ts';
import { openLeaseSource, openLeases } from './open-leases.ts';

const LEASE_MS = 3_000;

describe.skipIf(withoutCluster('coordination by Leases on a real API server'))('000-16: Leases on a real API server', () => {
  let peer: KubernetesPeer;
  const folder = temporaryFolder();
  const opened: Coordination[] = [];
  const children: ChildProcess[] = [];
  let scopes = 0;
  let url: string;
  beforeAll(() => {
    folder.create();
    peer = kubernetesPeer({ rules: [{ apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: [...LEASE_VERBS] }] });
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await Promise.all(opened.splice(0).map((replica) => replica.close()));
  });
  afterAll(() => {
    peer.remove();
    folder.remove();
  });

  const scope = (): void => {
    scopes += 1;
    url = `kubernetes:///pod${scopes}-wuxi2`;
  };
  const open = (): Coordination => {
    const replica = openLeases(url, peer.access(), LEASE_MS);
    opened.push(replica);
    return replica;
  };
  const program = (...args: string[]): ChildProcess => {
    const file = fileURLToPath(new URL('./member-process.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', file, url, `${LEASE_MS}`, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...peer.container.env, SERVICE_ACCOUNT_DIRECTORY: peer.container.directory },
    });
    children.push(child);
    return child;
  };
  const joined = async (child: ChildProcess): Promise<string> => {
    for await (const text of child.stdout ?? []) return String(text).trim();
    throw new Error('it did not join');
  };
  const ended = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => child.once('exit', resolve));
  const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
    while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 50));
  };
  const leases = (): string[] =>
    kubectl('get', 'leases', '-n', peer.namespace, '-l', `baremetal.bms.io/scope=${url.split('/').at(-1)}`, '-o', 'name')
      .split('\n')
      .filter(Boolean);

  it('two replicas: join, see each other, join again, leave; closing leaves no Lease', async () => {
    scope();
    const [a, b] = [open(), open()];
    let changes = 0;
    b.onChange(() => {
      changes += 1;
    });
    await b.isAlive('nobody');
    const [memberA, memberB] = [await a.join('mgmt-pod45-wuxi2-1'), await b.join('no/de')];
    expect([await b.isAlive(memberA.id), await a.isAlive(memberB.id), await a.isAlive('mgmt-pod45-wuxi2-1#0')]).toEqual([
      true,
      true,
      false,
    ]);
    const again = await b.join('mgmt-pod45-wuxi2-1');
    await until(() => memberA.lost.aborted);
    expect([again.lost.aborted, await a.isAlive(memberA.id), await a.isAlive(again.id)]).toEqual([false, false, true]);
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS * 1.5)); // renewals are accepted
    expect([again.lost.aborted, memberB.lost.aborted]).toEqual([false, false]);
    await again.leave();
    await until(() => changes >= 4);
    await Promise.all([a.close(), b.close()]);
    expect(leases()).toEqual([]);
  });

  it('a member that is killed is gone for the others when its Lease has run out, and its Lease with it', async () => {
    scope();
    const group = open();
    const child = program('join', 'node-x');
    const id = await joined(child);
    expect(await group.isAlive(id)).toBe(true);
    const before = performance.now();
    child.kill('SIGKILL');
    await until(async () => !(await group.isAlive(id)));
    expect(performance.now() - before).toBeGreaterThan(LEASE_MS / 2);
    expect(leases()).toEqual([]);
  });

  it('a member that is stopped and goes on later finds that its life is over', async () => {
    scope();
    const group = open();
    const child = program('join', 'node-y');
    const id = await joined(child);
    const end = ended(child);
    await group.isAlive(id);
    child.kill('SIGSTOP');
    await until(async () => !(await group.isAlive(id)));
    child.kill('SIGCONT');
    expect(await end).toBe(0); // it ends by itself once its membership is lost
    expect(await group.isAlive(id)).toBe(false);
  });

  it('six processes, four places: never more holders', async () => {
    scope();
    const journal = folder.path('journal');
    writeFileSync(journal, '');
    const workers = Array.from({ length: 6 }, () => program('hold', 'switch 10.0.0.1', '5', journal));
    const codes = workers.map(ended);
    const group = open();
    const held = await group.acquire('switch 10.0.0.1', { limit: 4, timeoutMs: 30_000 });
    expect(await Promise.all(codes)).toEqual([0, 0, 0, 0, 0, 0]);
    let holders = 1;
    let most = 0;
    const text = readFileSync(journal, 'utf8');
    expect(text).not.toContain('lost');
    for (const mark of text) {
      holders += mark === '+' ? 1 : -1;
      most = Math.max(most, holders);
    }
    expect([holders, most <= 4, text.length]).toEqual([1, true, 60]);
    await held.release();
  });

  it('a try-out finds every right, and leaves nothing', async () => {
    scope();
    const source = openLeaseSource(url, peer.access(), LEASE_MS);
    await source.tryOut();
    expect(leases()).toEqual([]);
    const member = await open().join('node-z'); // and beside what is there
    await source.tryOut();
    expect(member.lost.aborted).toBe(false);
    source.close();
  });

  it('without rights it says which', async () => {
    const bare = kubernetesPeer();
    const reader = kubernetesPeer({
      rules: [{ apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'list', 'watch'] }],
    });
    try {
      for (const [{ access }, verbs] of [
        [bare, 'get, list, watch, create, update, delete'],
        [reader, 'create, update, delete'],
      ] as const) {
        const source = openLeaseSource('kubernetes:///pod45-wuxi2', access(), LEASE_MS);
        const message = expect.stringContaining(`: ${verbs} refused (`);
        await expect(source.tryOut()).rejects.toMatchObject({ code: 'COORDINATION_FORBIDDEN', message });
        source.close();
      }
      const replica = openLeases('kubernetes:///pod45-wuxi2', bare.access(), LEASE_MS);
      await expect(replica.join('node-a')).rejects.toMatchObject({ code: 'COORDINATION_FORBIDDEN' });
      await replica.close();
    } finally {
      bare.remove();
      reader.remove();
    }
  });
});
