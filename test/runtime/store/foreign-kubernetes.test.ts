/** The Kubernetes store on a real API server, beyond the contract of stores: what the fake's author believes of it is looked at here. */

import { writeFileSync } from 'node:fs';
import { Secret } from 'cdk8s-baremetal-contract';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { SecretKeyFile, SharedSecretStore } from 'cdk8s-baremetal-runtime/machine/index';
import { type Kind, modify, openStore, syncSchema, type WatchEvent } from 'cdk8s-baremetal-runtime/store/index';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kubectl, withoutCluster } from '../../support/cluster.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { type KubernetesPeer, kubernetesPeer } from './kubernetes-peer.ts';

const any: Kind<unknown> = { name: 'thing', parse: (value) => value };

describe.skipIf(withoutCluster('the Kubernetes store on a real API server'))('002-6: the Kubernetes store on a real API server', () => {
  let peer: KubernetesPeer;
  const folder = temporaryFolder();
  beforeAll(() => {
    folder.create();
    peer = kubernetesPeer();
  });
  afterAll(() => {
    peer.remove();
    folder.remove();
  });

  const until = async (what: () => boolean): Promise<void> => {
    for (const end = performance.now() + 20_000; !what(); ) {
      if (performance.now() > end) throw new Error('it did not come about');
      await new Promise<void>((resolve) => nodeClock.after(10, resolve));
    }
  };

  it('any value and any id come back as they were', async () => {
    const store = peer.store();
    let count = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.string({ minLength: 1, maxLength: 40 }).filter((id) => id.isWellFormed()),
        fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })),
        async (text, value) => {
          const id = `${count++}${text}`;
          const kept = JSON.parse(JSON.stringify(value));
          await store.create(any, id, kept);
          const found = await store.get(any, id);
          expect([found?.id, found?.value]).toEqual([id, kept]);
        },
      ),
      { numRuns: 100 },
    );
    expect(await store.list(any)).toHaveLength(count);
    await store.close();
  });

  it('two replicas see each other’s changes; many writers lose none', async () => {
    const scope = 'pod45-wuxi2';
    const [one, two] = [peer.store({ scope }), peer.store({ scope })];
    const events: string[] = [];
    const show = (event: WatchEvent<unknown>): string =>
      event.type === 'put' ? `put ${event.record.id} ${JSON.stringify(event.record.value)}` : `${event.type} ${event.id}`;
    two.watch(any, (event) => events.push(show(event)));
    expect(await two.list(any)).toEqual([]);
    const made = await one.create(any, 'a', { n: 0 });
    await Promise.all(
      [one, two].flatMap((store) =>
        Array.from({ length: 10 }, () => modify(store, any, 'a', (value) => ({ n: Number((value as { n: number }).n) + 1 }))),
      ),
    );
    const last = await one.get(any, 'a');
    expect(last?.value).toEqual({ n: 20 });
    if (made.outcome !== 'stored' || last === undefined) throw new Error('there was one');
    await one.delete(any, last, last.version);
    await until(() => events.at(-1) === 'delete a');
    expect(events.filter((event) => event.startsWith('delete'))).toHaveLength(1);
    const numbers = events.filter((event) => event.startsWith('put')).map((event) => Number(/\d+/.exec(event)?.[0]));
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(numbers.at(-1)).toBe(20);
    await Promise.all([one.close(), two.close()]);
  });

  it('what people do with kubectl is told, and shown to them', async () => {
    const store = peer.store({ scope: 'by-hand' });
    const events: string[] = [];
    store.watch(any, (event) => events.push(event.type));
    await store.list(any);
    await store.create(any, 'node-1', { state: 'ready' });
    const list = kubectl('get', 'bmsrecords', '-n', peer.namespace, '-l', 'baremetal.bms.io/scope=by-hand');
    expect(list).toMatch(/NAME +KIND +ID +AGE\nby-hand\.thing\.node-1 +thing +node-1 /);
    kubectl(
      'patch',
      'bmsrecord',
      'by-hand.thing.node-1',
      '-n',
      peer.namespace,
      '--type=merge',
      '-p',
      '{"spec":{"value":{"state":"rescue"}}}',
    );
    await until(() => events.length === 2);
    const found = await store.get(any, 'node-1');
    expect(found?.value).toEqual({ state: 'rescue' });
    await store.update(any, { id: 'node-1', value: { state: 'ready' } }, found?.version ?? '');
    const written = JSON.parse(
      kubectl('get', 'bmsrecord', 'by-hand.thing.node-1', '-n', peer.namespace, '-o', 'json', '--show-managed-fields'),
    );
    expect(written.metadata.managedFields).toBeUndefined(); // books that nobody would read
    kubectl('delete', 'bmsrecord', 'by-hand.thing.node-1', '-n', peer.namespace);
    await until(() => events.length === 4);
    expect(events).toEqual(['put', 'put', 'put', 'delete']);
    await store.close();
  });

  it('lists of more than a page are whole', async () => {
    const store = peer.store();
    await Promise.all(Array.from({ length: 620 }, (_, n) => store.create(any, `r${n}`, { n })));
    expect(new Set((await store.list(any)).map(({ id }) => id)).size).toBe(620);
    await store.close();
  });

  it('refuses what is too large for etcd, and takes what just fits', async () => {
    const store = peer.store();
    expect((await store.create(any, 'large', { text: 'x'.repeat(1_550_000) })).outcome).toBe('stored');
    await expect(store.create(any, 'larger', { text: 'x'.repeat(1_560_000) })).rejects.toMatchObject({
      code: 'STORE_KUBERNETES_TOO_LARGE',
    });
    await store.close();
  });

  it('002-9: secrets are encrypted in what kubectl shows, and the other replica reads them', async () => {
    const key = folder.path('key');
    writeFileSync(key, `${Buffer.alloc(32, 7).toString('base64')}\n`, { mode: 0o400 });
    const scope = 'with-secrets';
    const [one, two] = [peer.store({ scope }), peer.store({ scope })];
    const secrets = [one, two].map((store) => new SharedSecretStore({ store, keys: new SecretKeyFile(key), random: nodeRandom }));
    await secrets[0]?.write('bmc.node-1', new Secret('correct horse battery'));
    expect((await secrets[1]?.read('bmc.node-1'))?.reveal()).toBe('correct horse battery');
    const shown = kubectl('get', 'bmsrecords', '-n', peer.namespace, '-l', `baremetal.bms.io/scope=${scope}`, '-o', 'yaml');
    expect(shown).toContain('kind: secret');
    expect(shown).not.toContain('horse');
    for (const secret of secrets) secret.close();
    await Promise.all([one.close(), two.close()]);
  });

  it('000-12: without the Role it says which right is missing; the URL alone opens it inside a container', async () => {
    const powerless = kubernetesPeer({ rules: [] });
    try {
      const store = powerless.store();
      const error = await store.list(any).catch((caught: unknown) => caught);
      expect(String(error)).toMatch(/STORE_KUBERNETES_FORBIDDEN: the service account may not list bmsrecords .*Apply the Role/s);
      await store.close();
    } finally {
      powerless.remove();
    }
    const outside = { clock: nodeClock, env: {} };
    expect(() => openStore('kubernetes://', outside)).toThrow(expect.objectContaining({ code: 'STORE_KUBERNETES_OUTSIDE' }));
    await expect(syncSchema('kubernetes://', outside)).rejects.toMatchObject({ code: 'STORE_KUBERNETES_OUTSIDE' });
  });
});
