/**
 * The histories again where they are lived in earnest: coordinated by a ZooKeeper that fails (its model) and by Leases of an API server that does, and with their records in SQLite and in a real
 * MariaDB, and as objects of a real Kubernetes API server. SEEDS gives the number of histories of each.
 */
import { randomBytes } from 'node:crypto';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { type KubernetesStore, MysqlStore, parseMysqlUrl, SqliteStore, type Store } from 'cdk8s-baremetal-runtime/store/index';
import type { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withoutCluster } from '../../support/cluster.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { type KubernetesPeer, kubernetesPeer } from '../store/kubernetes-peer.ts';
import { mariaDb, missingForMariaDb } from '../store/maria-db.ts';
import { liveHistory, type Place, type Told } from './history.ts';
import { LeaseGroup } from './lease-group.ts';
import { ZooKeeperGroup } from './world-group.ts';

const SEEDS = process.env.SEEDS === undefined ? undefined : Number(process.env.SEEDS);
const LONG_MS = 3_600_000;

async function live(count: number, place: Place): Promise<Told> {
  const states = new Set<string>();
  const verbs = new Set<string>();
  let deaths = 0;
  for (let seed = 0; seed < count; seed++) {
    const told = await liveHistory(seed, {}, place).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
    });
    for (const state of told.states) states.add(state);
    for (const verb of told.verbs) verbs.add(verb);
    deaths += told.deaths;
  }
  return { states, verbs, deaths };
}

const inZooKeeper: Place = {
  group: (clock) => new ZooKeeperGroup(clock),
  disturb: ({ coordination, clock }, below, members) => {
    if (!(coordination instanceof ZooKeeperGroup)) return;
    const { zookeeper } = coordination;
    const member = members[below(members.length + 1)];
    switch (below(8)) {
      case 0:
        return zookeeper.dropConnections();
      case 1:
        return zookeeper.loseAnswersToCreate(1 + below(3));
      case 2:
        return member === undefined ? undefined : coordination.expire(member);
      case 3:
        zookeeper.freeze();
        clock.after(below(60_000), () => zookeeper.thaw());
        return;
      case 4:
        return below(3) === 0 ? zookeeper.deleteAll('/bms') : undefined;
    }
  },
  calm: ({ coordination }) => {
    if (coordination instanceof ZooKeeperGroup) coordination.zookeeper.thaw();
  },
};

const byLeases: Place = {
  group: (clock) => new LeaseGroup(clock),
  disturb: ({ coordination, clock }, below, members) => {
    if (!(coordination instanceof LeaseGroup)) return;
    const { leases } = coordination;
    const member = members[below(members.length + 1)];
    switch (below(8)) {
      case 0:
        return leases.forget();
      case 1:
        leases.lost += 1 + below(3);
        return;
      case 2:
        return member === undefined ? undefined : coordination.expire(member);
      case 3:
        leases.away = true;
        clock.after(below(60_000), () => {
          leases.away = false;
        });
        return;
      case 4:
        if (below(3) === 0) for (const name of [...leases.objects.keys()]) leases.delete(name);
        return;
    }
  },
  calm: ({ coordination }) => {
    if (!(coordination instanceof LeaseGroup)) return;
    coordination.leases.away = false;
    coordination.leases.lost = 0;
  },
};

describe('histories coordinated by Leases', () => {
  const count = SEEDS ?? 100;

  it(
    `${count} of them, with answers that are lost, watches that are forgotten, an API server that is away and Leases that somebody deletes`,
    async () => {
      const { states, deaths } = await live(count, byLeases);
      if (count >= 100) {
        expect(deaths).toBeGreaterThan(count / 10);
        expect([...states]).toEqual(expect.arrayContaining(['deploying', 'error', 'rescue', 'cleaning']));
      }
    },
    LONG_MS,
  );
});

describe('histories coordinated by ZooKeeper', () => {
  const count = SEEDS ?? 100;

  it(
    `${count} of them, with connections that break, sessions that expire, a server that is stopped and a tree that is emptied`,
    async () => {
      const { states, deaths } = await live(count, inZooKeeper);
      if (count >= 100) {
        expect(deaths).toBeGreaterThan(count / 10);
        expect([...states]).toEqual(expect.arrayContaining(['deploying', 'error', 'rescue', 'cleaning']));
      }
    },
    LONG_MS,
  );
});

describe('histories whose records are in SQLite', () => {
  const folder = temporaryFolder();
  beforeAll(() => folder.create());
  afterAll(folder.remove);
  const count = SEEDS ?? 30;

  it(
    `${count} of them`,
    async () => {
      const store = (clock: VirtualClock): Store =>
        new SqliteStore({ path: folder.path(`${randomBytes(6).toString('hex')}.db`), clock, pollMs: 0 });
      expect((await live(count, { store })).states.size).toBeGreaterThan(10);
    },
    LONG_MS,
  );
});

const missing = missingForMariaDb();
if (missing !== undefined) console.warn(`SKIPPED: histories whose records are in MariaDB: ${missing}`);

describe.skipIf(missing !== undefined)('histories whose records are in MariaDB', () => {
  const server = mariaDb();
  const stores: Store[] = [];
  const count = SEEDS ?? 30;
  beforeAll(() => server.start('--innodb-flush-log-at-trx-commit=0'), 60_000);
  afterAll(async () => {
    for (const store of stores) await store.close();
    await server.remove();
  });

  it(
    `${count} of them`,
    async () => {
      const urls: string[] = [];
      const databases: string[] = [];
      for (let seed = 0; seed < count; seed++) {
        const url = await server.database();
        urls.push(url);
        databases.push(url.slice(url.lastIndexOf('/') + 1));
      }
      // Simulated time stands still while the server works.
      const store = (clock: VirtualClock): Store => {
        const address = parseMysqlUrl(urls.shift() ?? '', server.password);
        const real = new MysqlStore({ address, clock: nodeClock, random: nodeRandom, pollMs: 0, limit: 2 });
        stores.push(real);
        return heldStill(real, clock);
      };
      expect((await live(count, { store })).states.size).toBeGreaterThan(10);
      // Really there: the record of every history's machine, many versions on.
      for (const name of databases) {
        const [row] = await server.sql<{ version: number }>("SELECT version FROM records WHERE kind = 'node'", name);
        expect(row?.version).toBeGreaterThan(3);
      }
    },
    LONG_MS,
  );
});

describe.skipIf(withoutCluster('histories whose records are Kubernetes objects'))('histories whose records are Kubernetes objects', () => {
  let peer: KubernetesPeer | undefined;
  const stores: KubernetesStore[] = [];
  const count = SEEDS ?? 10;
  beforeAll(() => {
    peer = kubernetesPeer();
  }, 60_000);
  afterAll(async () => {
    for (const store of stores) await store.close();
    peer?.remove();
  });

  it(
    `${count} of them`,
    async () => {
      const store = (clock: VirtualClock): Store => {
        if (peer === undefined) throw new Error('no namespace');
        const real = peer.store();
        stores.push(real);
        return heldStill(real, clock);
      };
      expect((await live(count, { store })).states.size).toBeGreaterThan(5);
      const nodes = await Promise.all(stores.map((real) => real.list({ name: 'node', parse: (value) => value })));
      // Really there: the machine of every history, many changes of the cluster on.
      for (const [node] of nodes) expect(Number(node?.version.split('.')[0])).toBeGreaterThan(3);
    },
    LONG_MS,
  );
});

function heldStill(store: Store, clock: VirtualClock): Store {
  return new Proxy(store, {
    get: (object, name) => {
      const member: unknown = Reflect.get(object, name, object);
      if (typeof member !== 'function') return member;
      if (name === 'watch') return member.bind(object);
      return (...args: unknown[]) => clock.external(member.apply(object, args));
    },
  });
}
