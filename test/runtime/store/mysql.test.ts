/** The MySQL store against MariaDB itself: replicas, lost answers, restarts, hangs, schema, TLS. */
import { spawnSync } from 'node:child_process';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from 'cdk8s-baremetal-contract';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import {
  exportRecords,
  importRecords,
  type Kind,
  MysqlStore,
  type MysqlStoreOptions,
  modify,
  openStore,
  parseMysqlUrl,
  schemaVersion,
  syncSchema,
} from 'cdk8s-baremetal-runtime/store/index';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findProgram } from '../../support/netns.ts';
import { type MariaDb, mariaDb, missingForMariaDb } from './maria-db.ts';
import { sampleNode } from './sample-node.ts';

const missing = missingForMariaDb();
if (missing !== undefined) console.warn(`SKIPPED: the MySQL store: ${missing}`);

const word: Kind<string> = { name: 'word', parse: (value) => String(value) };
const count: Kind<number> = { name: 'count', parse: (value) => Number(value) };
const databaseOf = (url: string): string => url.slice(url.lastIndexOf('/') + 1);
const collect = async (lines: AsyncIterable<string>): Promise<string[]> => {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
};
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
};

describe.skipIf(missing !== undefined)('002-6: the MySQL store', () => {
  let server: MariaDb;
  const opened: { close(): Promise<void> }[] = [];
  beforeAll(async () => {
    server = mariaDb();
    await server.start();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
  });
  afterAll(() => server?.remove());

  const open = (url: string, options: Partial<MysqlStoreOptions> = {}): MysqlStore => {
    const address = parseMysqlUrl(url, server.password);
    const store = new MysqlStore({ address, clock: nodeClock, random: nodeRandom, pollMs: 50, ...options });
    opened.push(store);
    return store;
  };

  it('two replicas: what one writes, the other hears of, as it happens and once', async () => {
    const url = await server.database();
    const [a, b] = [open(url), open(url)];
    await a.create(word, 'before', 'x');
    const heard: string[] = [];
    b.watch(word, (event) => heard.push(event.type === 'put' ? `${event.record.id}=${event.record.value}` : `${event.type} ${event.id}`));
    expect((await b.list(word)).map(({ id }) => id)).toEqual(['before']);
    const made = await a.create(word, 'a', 'one');
    if (made.outcome !== 'stored') throw new Error();
    await until(() => heard.length === 1);
    await b.update(word, { id: 'a', value: 'two' }, made.record.version); // its own, told at once
    await Promise.resolve();
    expect(heard).toEqual(['a=one', 'a=two']);
    const latest = await a.get(word, 'a');
    await a.delete(word, { id: 'a' }, latest?.version ?? '');
    await until(() => heard.length === 3);
    await a.create(word, 'a', 'again');
    await until(() => heard.length === 4);
    expect(heard).toEqual(['a=one', 'a=two', 'delete a', 'a=again']);
  });

  it('writes of its own that meet the first reading of a watch are told, each once', async () => {
    const url = await server.database();
    for (let round = 0; round < 10; round++) {
      const store = open(url);
      const heard: string[] = [];
      store.watch(word, (event) => heard.push(`${event.type} ${event.type === 'put' ? event.record.id : event.id}`));
      const ids = Array.from({ length: 10 }, (_, index) => `${round}-${index}`);
      await Promise.all(ids.map((id) => store.create(word, id, 'x')));
      await Promise.resolve();
      expect(heard.toSorted()).toEqual(ids.map((id) => `put ${id}`));
    }
  });

  it('the feed does not depend on time stamps: late ones, and rows changed or removed by hand, are told', async () => {
    const url = await server.database();
    const store = open(url);
    for (const id of ['a', 'b', 'c']) await store.create(word, id, 'old');
    const heard: string[] = [];
    store.watch(word, (event) =>
      heard.push(event.type === 'put' ? `${event.record.id}=${event.record.value}` : `${event.type} ${event.id}`),
    );
    await store.list(word);
    const old = `changed_at = '2001-01-01 00:00:00'`;
    await server.sql(`UPDATE records SET value = '"late"', version = version + 1, ${old} WHERE id = 'b'`, databaseOf(url));
    await until(() => heard.length === 1);
    await server.sql(`DELETE FROM records WHERE id = 'c'`, databaseOf(url));
    await until(() => heard.length === 2);
    await store.create(word, 'd', 'new');
    await until(() => heard.length === 3);
    expect(heard).toEqual(['b=late', 'delete c', 'd=new']);
  });

  it('answers that get lost after the deed: every write is counted once, none is called a conflict', async () => {
    const url = await server.database();
    const cable = await relay(server.port);
    try {
      const store = open(url.replace(`:${server.port}/`, `:${cable.port}/`));
      await store.create(count, 'n', 0);
      let made = 0;
      let conflicts = 0;
      for (let i = 0; i < 60; i++) {
        const current = await store.get(count, 'n');
        if (i % 3 !== 0) cable.loseNextAnswer();
        const result = await store.update(count, { id: 'n', value: (current?.value ?? 0) + 1 }, current?.version ?? '');
        if (result.outcome === 'stored') made += 1;
        else conflicts += 1;
        if (i % 3 !== 0) cable.loseNextAnswer();
        const id = `made-${i}`;
        expect((await store.create(count, id, i)).outcome).toBe('stored');
        if (i % 3 !== 0) cable.loseNextAnswer();
        expect((await store.delete(count, { id }, '1')).outcome).toBe('deleted');
        if (i % 3 !== 0) cable.loseNextAnswer();
        const again = await store.create(count, id, i); // over the row that the deletion left
        expect(again).toMatchObject({ outcome: 'stored', record: { version: '3' } });
      }
      expect([made, conflicts, (await store.get(count, 'n'))?.value]).toEqual([60, 0, 60]);
      expect(cable.lost).toBeGreaterThan(100);
    } finally {
      cable.close();
    }
  });

  it('an answer that gets lost, and another writer before we ask again: still ours, with the version that it made', async () => {
    const url = await server.database();
    const cable = await relay(server.port);
    try {
      const [ours, theirs] = [open(url.replace(`:${server.port}/`, `:${cable.port}/`)), open(url)];
      const first = await ours.create(word, 'a', 'x');
      if (first.outcome !== 'stored') throw new Error();
      let between: Promise<unknown> | undefined;
      cable.loseNextAnswer(async () => {
        between = theirs.update(word, { id: 'a', value: 'theirs' }, '2');
        await between;
      });
      expect(await ours.update(word, { id: 'a', value: 'ours' }, '1')).toEqual({
        outcome: 'stored',
        record: { id: 'a', version: '2', value: 'ours' },
      });
      expect(await between).toMatchObject({ outcome: 'stored' });
      expect(await ours.update(word, { id: 'a', value: 'late' }, '2')).toMatchObject({ outcome: 'conflict', current: { value: 'theirs' } });
      // More writers than the record has marks for: nobody can say any more.
      cable.loseNextAnswer(async () => {
        for (let i = 4; i < 40; i++) await theirs.update(word, { id: 'a', value: 'theirs' }, String(i));
      });
      await expect(ours.update(word, { id: 'a', value: 'ours' }, '3')).rejects.toMatchObject({ code: 'STORE_OUTCOME_UNKNOWN' });
    } finally {
      cable.close();
    }
  });

  it('the server is killed and started in the middle of writes: every increment arrives once', async () => {
    const url = await server.database();
    const stores = [open(url), open(url)];
    let done = 0;
    const shared = { done: 0, unknown: 0 };
    await stores[0]?.create(count, 'shared', 0);
    const worker = async (store: MysqlStore, own: string): Promise<void> => {
      await store.create(count, own, 0);
      for (let i = 0; i < 60; i++) {
        if ((await modify(store, count, own, (value) => value + 1)).outcome === 'stored') done += 1;
        try {
          await modify(store, count, 'shared', (value) => value + 1);
          shared.done += 1;
        } catch (error) {
          // While this one was away, the others wrote more often than the record has marks.
          expect(error).toMatchObject({ code: 'STORE_OUTCOME_UNKNOWN' });
          shared.unknown += 1;
        }
      }
    };
    const workers = Promise.all(stores.flatMap((store, s) => [worker(store, `own-${s}-1`), worker(store, `own-${s}-2`)]));
    for (const after of [20, 120]) {
      await Promise.race([until(() => done >= after), workers]);
      await server.stop('SIGKILL');
      await server.start();
    }
    await workers;
    const values = new Map((await stores[0]?.list(count))?.map(({ id, value }) => [id, value]));
    expect([...values].filter(([id]) => id !== 'shared').map(([, value]) => value)).toEqual([60, 60, 60, 60]);
    expect(values.get('shared')).toBeGreaterThanOrEqual(shared.done);
    expect(values.get('shared')).toBeLessThanOrEqual(shared.done + shared.unknown);
    expect(shared.done + shared.unknown).toBe(240);
  });

  it('a server that hangs (SIGSTOP) costs time, not the call; a connection that it closed for idling costs nothing', async () => {
    const store = open(await server.database(), { answerMs: 300 });
    await store.create(word, 'a', 'x');
    server.signal('SIGSTOP');
    const call = store.update(word, { id: 'a', value: 'y' }, '1');
    await new Promise((resolve) => setTimeout(resolve, 700));
    server.signal('SIGCONT');
    expect(await call).toMatchObject({ outcome: 'stored', record: { version: '2', value: 'y' } });
    const own = await server.sql<{ id: number }>('SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()');
    for (const { id } of own) await server.sql(`KILL ${id}`).catch(() => undefined);
    expect((await store.get(word, 'a'))?.value).toBe('y');
  });

  it('a row that another holds for a while is waited for', async () => {
    const url = await server.database();
    const store = open(url);
    await store.create(word, 'a', 'x');
    const holder = server.sql(
      `BEGIN NOT ATOMIC START TRANSACTION; SELECT id FROM records WHERE id = 'a' FOR UPDATE; DO SLEEP(0.4); COMMIT; END`,
      databaseOf(url),
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await store.update(word, { id: 'a', value: 'y' }, '1')).outcome).toBe('stored');
    await holder;
  });

  it.each([
    { name: 'a deadlock', errno: 1213, state: '40001' },
    { name: 'a lock wait that timed out', errno: 1205, state: 'HY000' },
    { name: 'a fail-over (read-only)', errno: 1290, state: 'HY000' },
  ])('$name, three times in a row, is a delay', async ({ errno, state }) => {
    const url = await server.database();
    const store = open(url);
    await store.create(word, 'a', 'x');
    // A table that keeps its changes when the statement is rolled back counts the failures down.
    await server.sql('CREATE TABLE failures (n INT) ENGINE = MyISAM', databaseOf(url));
    await server.sql('INSERT INTO failures VALUES (3)', databaseOf(url));
    await server.sql(
      `CREATE TRIGGER fail BEFORE UPDATE ON records FOR EACH ROW BEGIN
         IF (SELECT n FROM failures) > 0 THEN
           UPDATE failures SET n = n - 1;
           SIGNAL SQLSTATE '${state}' SET MYSQL_ERRNO = ${errno}, MESSAGE_TEXT = 'as ordered';
         END IF;
       END`,
      databaseOf(url),
    );
    expect(await store.update(word, { id: 'a', value: 'y' }, '1')).toMatchObject({ outcome: 'stored', record: { version: '2' } });
    expect(await server.sql('SELECT n FROM failures', databaseOf(url))).toEqual([{ n: 0 }]);
  });

  it('text of any language and ids that differ in case only; what does not fit is refused and not cut', async () => {
    const store = open(await server.database());
    const text = 'Grüße 写入 🚀 \u0000 "\\ \n';
    for (const id of ['a', 'A', 'ä']) expect((await store.create(word, id, `${text}${id}`)).outcome).toBe('stored');
    expect((await store.list(word)).map(({ value }) => value)).toEqual(['A', 'a', 'ä'].map((id) => `${text}${id}`));
    await expect(store.create(word, 'x'.repeat(256), 'long')).rejects.toMatchObject({ code: 'STORE_IO' });
    expect(await store.list(word)).toHaveLength(3);
  });

  it('a version of another store fits no record', async () => {
    const store = open(await server.database());
    await store.create(word, 'a', 'x');
    for (const version of ['', '1 OR 1=1', '0', '-1', '1e0', '99']) {
      expect(await store.update(word, { id: 'a', value: 'y' }, version)).toMatchObject({ outcome: 'conflict', current: { value: 'x' } });
    }
  });

  describe('schema', () => {
    it('db sync makes it, again changes nothing, and db version tells; eight that start at once run each step once', async () => {
      const url = await server.database();
      const context = { clock: nodeClock, password: server.password };
      expect((await schemaVersion(url, context)).found).toBe(0);
      const results = await Promise.all(Array.from({ length: 8 }, () => syncSchema(url, context)));
      expect(results.every(({ found, newest }) => found === newest && found > 0)).toBe(true);
      expect(await schemaVersion(url, context)).toEqual(results[0]);
      const rows = await server.sql<{ version: number }>('SELECT version FROM migrations ORDER BY version', databaseOf(url));
      expect(rows.map(({ version }) => version)).toEqual(Array.from({ length: results[0]?.newest ?? 0 }, (_, i) => i + 1));
    });

    it('another replica that migrates is waited for, for longer than one answer may take', async () => {
      const url = await server.database();
      const lock = `'bms_schema_${databaseOf(url)}'`;
      const holder = server.sql(`BEGIN NOT ATOMIC DO GET_LOCK(${lock}, 0); DO SLEEP(3); DO RELEASE_LOCK(${lock}); END`);
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(await open(url, { answerMs: 2_000, patienceMs: 500 }).get(word, 'a')).toBeUndefined();
      await holder;
    });

    it('a step that stopped half way is run again', async () => {
      const url = await server.database();
      const context = { clock: nodeClock, password: server.password };
      const { newest } = await syncSchema(url, context);
      await server.sql(`DELETE FROM migrations WHERE version > 1`, databaseOf(url)); // its statements ran, its row was not written
      expect(await syncSchema(url, context)).toEqual({ found: newest, newest });
    });

    it('a newer schema, and a database of another program, are refused and left alone', async () => {
      const [newer, other] = [await server.database(), await server.database()];
      await syncSchema(newer, { clock: nodeClock, password: server.password });
      await server.sql(`INSERT INTO migrations VALUES (99, 'future', 'later')`, databaseOf(newer));
      await expect(open(newer).get(word, 'a')).rejects.toMatchObject({ code: 'STORE_NEWER_SCHEMA' });
      await server.sql('CREATE TABLE precious (x INT)', databaseOf(other));
      await expect(open(other).get(word, 'a')).rejects.toMatchObject({ code: 'STORE_FOREIGN' });
      expect(await server.sql('SHOW TABLES', databaseOf(other))).toHaveLength(1);
    });
  });

  it('people can ask: bm_nodes, bm_interfaces and bm_deployments, with the same columns in SQLite', async () => {
    const url = await server.database();
    const store = open(url);
    for (const number of [1, 2]) await store.create(nodeKind, `node-${number}`, sampleNode(number));
    const [node] = await server.sql<Record<string, unknown>>('SELECT * FROM bm_nodes ORDER BY id', databaseOf(url));
    expect(node).toMatchObject({
      id: 1,
      name: 'node-1',
      service_host: 'management-1',
      instance_uuid: 'instance-1',
      memory_mb: 262_144,
      pm_address: '10.2.0.1',
      pm_user: 'admin',
      task_state: 'deploying',
      reason: 'der Ramdisk ist da – 写入',
      maintenance: 0,
    });
    const interfaces = await server.sql<Record<string, unknown>>(
      'SELECT * FROM bm_interfaces ORDER BY bm_node_id, position',
      databaseOf(url),
    );
    expect(interfaces).toHaveLength(4);
    expect(interfaces[0]).toEqual({
      bm_node_id: 1,
      node_name: 'node-1',
      position: 1,
      address: '52:54:00:00:01:00',
      ip_address: '10.1.0.1',
      vif_uuid: 'vif-1',
    });
    const deployments = await server.sql<Record<string, unknown>>('SELECT * FROM bm_deployments ORDER BY bm_node_id', databaseOf(url));
    expect(deployments[1]).toMatchObject({ id: 'deployment-2', total_bytes: 2_361_393_152, ramdisk_address: '10.1.0.9' });

    const { DatabaseSync } = await import('node:sqlite');
    const path = join(tmpdir(), `views-${process.pid}.db`);
    const sqlite = openStore(`sqlite://${path}`, { clock: nodeClock });
    try {
      for (const number of [1, 2]) await sqlite.create(nodeKind, `node-${number}`, sampleNode(number));
      const db = new DatabaseSync(path);
      const { updated_at: _, state_since: __, version: ___, ...shared } = node ?? {};
      expect(db.prepare('SELECT * FROM bm_nodes ORDER BY id').get()).toMatchObject(shared);
      expect(db.prepare('SELECT * FROM bm_interfaces ORDER BY bm_node_id, position').all()).toEqual(interfaces);
      const { expires_at: ____, ...deployment } = deployments[1] ?? {};
      expect(db.prepare('SELECT * FROM bm_deployments WHERE bm_node_id = 2').get()).toMatchObject(deployment);
      db.close();
    } finally {
      await sqlite.close();
      const { rmSync } = await import('node:fs');
      for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    }
  });

  it('a backup goes into another store and comes back as it was', async () => {
    const [first, second] = [open(await server.database()), open(await server.database())];
    for (let number = 1; number <= 30; number++) await first.create(nodeKind, `node-${number}`, sampleNode(number));
    await first.create(word, 'deleted', 'x');
    await first.delete(word, { id: 'deleted' }, '1');
    const lines = await collect(exportRecords(first, { clock: nodeClock }));
    expect(await importRecords(second, lines)).toEqual({ created: 30, overwritten: 0, unchanged: 0 });
    expect(await importRecords(second, lines)).toEqual({ created: 0, overwritten: 0, unchanged: 30 });
    expect((await collect(exportRecords(second, { clock: nodeClock }))).slice(1)).toEqual(lines.slice(1));
  });

  describe('what keeps it from opening is said, without the password', () => {
    it.each([
      { name: 'a wrong password', change: (url: string) => url, password: new Secret('wrong-s3cret'), code: 'STORE_REFUSED' },
      { name: 'a database that is not there', change: (url: string) => `${url}_none`, password: undefined, code: 'STORE_REFUSED' },
      { name: 'nobody there', change: (url: string) => url.replace(/:\d+\//, ':1/'), password: undefined, code: 'STORE_UNREACHABLE' },
      {
        name: 'a server without TLS',
        change: (url: string) => `${url.replace('127.0.0.1', 'localhost')}?tls=on`,
        password: undefined,
        code: 'STORE_REFUSED',
      },
    ])('$name: $code', async ({ change, password, code }) => {
      const url = change(await server.database());
      const address = parseMysqlUrl(url, password ?? server.password);
      const store = new MysqlStore({ address, clock: nodeClock, random: nodeRandom, patienceMs: 300 });
      opened.push(store);
      const error: unknown = await store.get(word, 'a').catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code });
      const text = `${String(error)} ${JSON.stringify(error)} ${error instanceof Error ? error.stack : ''}`;
      for (const secret of ['wrong-s3cret', server.password.reveal()]) expect(text).not.toContain(secret);
    });

    it('closing ends calls that wait for a server that hangs', async () => {
      const store = open(await server.database());
      await store.create(word, 'a', 'x');
      server.signal('SIGSTOP');
      const call = expect(store.get(word, 'a')).rejects.toMatchObject({ code: 'STORE_CLOSED' });
      await new Promise((resolve) => setTimeout(resolve, 50));
      await store.close();
      await call;
      server.signal('SIGCONT');
    });
  });

  it.skipIf(findProgram('openssl') === undefined)(
    'TLS: a certificate of an authority that we know, for the name that we called',
    async () => {
      await server.stop();
      const file = (name: string): string => join(server.folder, name);
      const openssl = (...args: string[]): void => {
        const result = spawnSync('openssl', args);
        if (result.status !== 0) throw new Error(String(result.stderr));
      };
      const subject = ['-subj', '/CN=test', '-days', '2', '-nodes', '-newkey', 'rsa:2048', '-x509'];
      for (const [name, host] of [
        ['cert', 'localhost'],
        ['elsewhere', 'db.elsewhere.test'],
      ]) {
        openssl(
          'req',
          ...subject,
          '-addext',
          `subjectAltName=DNS:${host}`,
          '-keyout',
          file(`${name}-key.pem`),
          '-out',
          file(`${name}.pem`),
        );
      }
      const start = (name: string) => server.start(`--ssl-cert=${file(`${name}.pem`)}`, `--ssl-key=${file(`${name}-key.pem`)}`);
      await start('cert');
      const url = (await server.database()).replace('127.0.0.1', 'localhost');
      const withCa = (name: string): string => `${url}?tls=on&ca=${encodeURIComponent(file(`${name}.pem`))}`;
      const refused = async (target: string): Promise<void> => {
        await expect(open(target, { patienceMs: 300 }).get(word, 'a')).rejects.toMatchObject({ code: 'STORE_REFUSED' });
      };
      expect((await open(withCa('cert')).create(word, 'a', 'x')).outcome).toBe('stored');
      await refused(withCa('elsewhere')); // another authority
      await refused(`${url}?tls=on`); // none that Node knows
      await server.stop();
      await start('elsewhere');
      await refused(withCa('elsewhere')); // the right authority, another name
    },
  );
});

describe('002-6: mysql:// URLs', () => {
  it.each([
    ['mysql://bms@db/nova_bm', { host: 'db', port: 3306, user: 'bms', database: 'nova_bm', shown: 'mysql://bms@db:3306/nova_bm' }],
    ['mysql://db.site:3307/nova_bm?tls=off', { host: 'db.site', port: 3307, user: 'bms', database: 'nova_bm' }],
    ['mysql://a%40b@[fd00::1]/x', { host: 'fd00::1', port: 3306, user: 'a@b', database: 'x' }],
  ])('%s', (url, expected) => {
    expect(parseMysqlUrl(url, undefined)).toMatchObject(expected);
  });

  it.each([
    'mysql://',
    'mysql://db',
    'mysql://db/',
    'mysql://db:0/x',
    'mysql://db/x?tls=maybe',
    'mysql://db/x?ca=/ca.pem',
    'mysql://db/x?charset=latin1',
    'mysql://db/x?tls=on&ca=%2Fnowhere.pem',
    'mysql://u%@db/x',
    'mysql://10.0.0.1/x?tls=on',
    'mysql://bms:s3cret@db/x',
    'mysql://bms:s3c@ret@db/x',
  ])('refuses %s', (url) => {
    let caught: unknown;
    try {
      openStore(url, { clock: nodeClock });
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({ code: 'STORE_URL' });
    expect(String(caught)).not.toMatch(/s3c|ret@/);
  });
});

/** A cable to the server that can lose one answer: the statement arrives, then the connection breaks. */
async function relay(port: number) {
  const sockets = new Set<Socket>();
  let armed: (() => Promise<void>) | undefined;
  let lost = 0;
  const listener = createServer((near) => {
    const far = createConnection({ host: '127.0.0.1', port });
    let losing = false;
    let meanwhile: (() => Promise<void>) | undefined;
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
    }
    near.on('data', (data) => {
      // COM_STMT_EXECUTE is 0x17, after three bytes of length and one of sequence.
      if (armed !== undefined && data[4] === 0x17) {
        losing = true;
        meanwhile = armed;
        armed = undefined;
      }
      far.write(data);
    });
    far.on('data', (data) => {
      if (!losing) {
        near.write(data);
        return;
      }
      losing = false;
      lost += 1;
      void meanwhile?.().then(() => near.destroy());
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return {
    port: (listener.address() as { port: number }).port,
    /** `meanwhile` runs after the statement was carried out and before the client learns that its connection is gone. */
    loseNextAnswer: (meanwhile: () => Promise<void> = async () => undefined) => {
      armed = meanwhile;
    },
    get lost() {
      return lost;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      listener.close();
    },
  };
}
