/**
 * How the stores compare with a site's worth of machines: `node --import tsx bench/store.ts [machines] [--quick]` (10,000 by default, 1,000). Prints a table; MariaDB is
 * left out, aloud, where it is not installed, Kubernetes where KUBECONFIG and BMS_TEST_CLUSTER=1 name no API server. Each machine's record is the 1.6 kB of one in the middle of its deployment.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { type NodeRecord, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { modify, openStore, type Store } from 'cdk8s-baremetal-runtime/store/index';
import { kubernetesPeer } from '../test/runtime/store/kubernetes-peer.ts';
import { mariaDb, missingForMariaDb } from '../test/runtime/store/maria-db.ts';
import { sampleNode } from '../test/runtime/store/sample-node.ts';
import { withoutCluster } from '../test/support/cluster.ts';

const site = Number(process.argv.slice(2).find((word) => /^\d+$/.test(word)) ?? (process.argv.includes('--quick') ? 1_000 : 10_000));
const PARALLEL = 32;

const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
};

/** `total` calls, `width` at a time. */
const spread = async (total: number, width: number, call: (index: number) => Promise<unknown>): Promise<void> => {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < total; index = next++) await call(index);
  };
  await Promise.all(Array.from({ length: width }, worker));
};

type Figures = Record<string, string>;

async function measure(name: string, store: Store, machines: number): Promise<Figures> {
  const id = (index: number): string => `node-${index % machines}`;
  const creating = await seconds(() => spread(machines, PARALLEL, (i) => store.create(nodeKind, id(i), sampleNode((i % 65_000) + 1))));
  await store.list(nodeKind);
  const listing = await seconds(() => store.list(nodeKind));
  const claims = Math.min(2_000, machines);
  const claim = async (index: number): Promise<void> => {
    const record = await store.get(nodeKind, id(index));
    if (record === undefined) throw new Error('a record is gone');
    const value: NodeRecord = { ...record.value, owner: 'management-2#1', epoch: record.value.epoch + 1 };
    const result = await store.update(nodeKind, { id: record.id, value }, record.version);
    if (result.outcome !== 'stored') throw new Error('a claim failed');
  };
  const serial = await seconds(() => spread(Math.min(500, claims), 1, claim));
  const parallel = await seconds(() => spread(claims, PARALLEL, claim));
  const transitions = await seconds(() =>
    spread(claims, PARALLEL, (index) =>
      modify(store, nodeKind, id(index), (node): NodeRecord => {
        const transition = { from: node.state, to: 'deploy complete', reason: 'written', at: nodeClock.now(), durationMs: 1 } as const;
        return { ...node, state: transition.to, history: [...node.history, transition] };
      }),
    ),
  );
  const perSecond = (count: number, took: number): string => Math.round(count / took).toLocaleString('en');
  return {
    '': name,
    'created/s': perSecond(machines, creating),
    [`list ${machines.toLocaleString('en')}`]: `${Math.round(listing * 1000)} ms`,
    'claims/s, one after the other': perSecond(Math.min(500, claims), serial),
    [`claims/s, ${PARALLEL} at once`]: perSecond(claims, parallel),
    [`transitions/s, ${PARALLEL} at once`]: perSecond(claims, transitions),
  };
}

const folder = mkdtempSync(join(tmpdir(), 'bench-store-'));
const missing = missingForMariaDb();
const server = missing === undefined ? mariaDb() : undefined;
try {
  const rows: Figures[] = [];
  const run = async (name: string, url: string): Promise<void> => {
    const store = openStore(url, { clock: nodeClock, ...(server && { password: server.password }) });
    rows.push(await measure(name, store, site));
    await store.close();
  };
  await measure('warm-up', openStore('memory://', { clock: nodeClock }), 500);
  await run('memory', 'memory://');
  await run('SQLite', `sqlite://${join(folder, 'state.db')}`);
  if (server === undefined) console.warn(`MariaDB left out: ${missing}`);
  else {
    await server.start();
    const url = await server.database();
    await run('MariaDB', url);
    // What a replica pays every 500 ms while nothing changes.
    const database = url.slice(url.lastIndexOf('/') + 1);
    const poll = await seconds(() => spread(100, 1, () => server.sql('SELECT SUM(version), MAX(changed_at) FROM records', database)));
    const connect = await seconds(() => spread(100, 1, () => server.sql('SELECT 1')));
    console.info(`MariaDB: an idle poll of ${site} machines takes ${((poll - connect) * 10).toFixed(2)} ms at the server`);
  }
  if (!withoutCluster('Kubernetes')) {
    const peer = kubernetesPeer();
    try {
      const store = peer.store();
      rows.push(await measure('Kubernetes', store, site));
      await store.close();
    } finally {
      peer.remove();
    }
  }
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const heads = Object.keys(rows[0] ?? {});
  console.log([line(heads), line(heads.map(() => '---')), ...rows.map((row) => line(Object.values(row)))].join('\n'));
  console.log();
} finally {
  await server?.remove();
  rmSync(folder, { recursive: true, force: true });
}
