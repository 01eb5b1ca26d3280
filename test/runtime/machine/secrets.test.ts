/** Secrets that replicas share: the same contract as the files', and what a stolen or forged database gives. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import {
  FileSecretStore,
  MemorySecretStore,
  MountedCredentials,
  mountedRef,
  SecretKeyFile,
  type SecretStore,
  SharedSecretStore,
} from 'cdk8s-baremetal-runtime/machine/index';
import { open, rewrap, seal, secretKey, secretKind } from 'cdk8s-baremetal-runtime/machine/secrets/sealed-secret';
import { startSecrets } from 'cdk8s-baremetal-runtime/roles/secrets';
import { MemoryStore, modify, openStore, type Store } from 'cdk8s-baremetal-runtime/store/index';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { mariaDb, missingForMariaDb } from '../store/maria-db.ts';

const folder = temporaryFolder();
beforeEach(() => folder.create());
afterEach(folder.remove);

const newKey = (): string => Buffer.from(nodeRandom.bytes(32)).toString('base64');
function keyFile(...keys: string[]): string {
  const path = folder.path('key');
  writeFileSync(path, `# for the tests\n${keys.join('\n')}\n`, { mode: 0o600 });
  chmodSync(path, 0o600);
  return path;
}
const shared = (store: Store, path: string): SharedSecretStore =>
  new SharedSecretStore({ store, keys: new SecretKeyFile(path), random: nodeRandom });

const missing = missingForMariaDb();
if (missing !== undefined) console.warn(`SKIPPED: secrets shared through a real MariaDB: ${missing}`);
const server = mariaDb();
beforeAll(async () => {
  if (missing === undefined) await server.start();
}, 60_000);
afterAll(() => server.remove());

const kinds: { name: string; skip?: boolean; create: () => Promise<{ secrets: SecretStore; close: () => unknown }> }[] = [
  { name: 'memory', create: async () => ({ secrets: new MemorySecretStore(), close: () => undefined }) },
  { name: 'files', create: async () => ({ secrets: new FileSecretStore(folder.path('secrets')), close: () => undefined }) },
  {
    name: 'shared, in memory',
    create: async () => {
      const secrets = shared(new MemoryStore(), keyFile(newKey()));
      return { secrets, close: () => secrets.close() };
    },
  },
  {
    name: 'shared, in MariaDB',
    skip: missing !== undefined,
    create: async () => {
      const store = openStore(await server.database(), { clock: nodeClock, password: server.password });
      const secrets = shared(store, keyFile(newKey()));
      return {
        secrets,
        close: async () => {
          secrets.close();
          await store.close();
        },
      };
    },
  },
  {
    name: 'behind mounted ones',
    create: async () => ({ secrets: new MountedCredentials(folder.path('mounted'), new MemorySecretStore()), close: () => undefined }),
  },
];

describe.each(kinds)('secrets: $name', ({ skip = false, create }) => {
  it.skipIf(skip)('keeps what is written, replaces it whole, forgets what is removed, and refuses names that are paths', async () => {
    const { secrets, close } = await create();
    try {
      await expect(secrets.read('bmc.1')).rejects.toMatchObject({ code: 'SECRET_UNKNOWN' });
      await secrets.write('bmc.1', new Secret('a långt lösenord, with "quotes" and $'));
      expect((await secrets.read('bmc.1')).reveal()).toBe('a långt lösenord, with "quotes" and $');
      await secrets.write('bmc.1', new Secret('short'));
      expect((await secrets.read('bmc.1')).reveal()).toBe('short');
      await secrets.write('bmc.empty', new Secret(''));
      expect((await secrets.read('bmc.empty')).reveal()).toBe('');
      await secrets.remove('bmc.1');
      await secrets.remove('bmc.1');
      await expect(secrets.read('bmc.1')).rejects.toMatchObject({ code: 'SECRET_UNKNOWN' });
      for (const name of ['../etc/shadow', '', '.hidden', 'a b']) {
        await expect(secrets.read(name)).rejects.toMatchObject({ code: 'SECRET_NAME' });
        await expect(secrets.write(name, new Secret('x'))).rejects.toMatchObject({ code: 'SECRET_NAME' });
        await expect(secrets.remove(name)).rejects.toMatchObject({ code: 'SECRET_NAME' });
      }
    } finally {
      await close();
    }
  });
});

describe('a sealed secret', () => {
  const key = secretKey(nodeRandom.bytes(32));

  it('any value comes back, under its name and key and no other, also after its key was changed', () => {
    const other = secretKey(nodeRandom.bytes(32));
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.string({ minLength: 1 }),
        fc.string({ minLength: 1 }),
        (value, name, else_) => {
          const record = seal(name, new Secret(value), key, nodeRandom);
          expect(open(name, record, key).reveal()).toBe(value);
          const again = rewrap(name, record, key, other, nodeRandom);
          expect([again.value, again.keyId, open(name, again, other).reveal()]).toEqual([record.value, other.id, value]);
          expect(() => open(name, record, other)).toThrow(expect.objectContaining({ code: 'SECRET_DAMAGED' }));
          if (else_ !== name) expect(() => open(else_, record, key)).toThrow(expect.objectContaining({ code: 'SECRET_DAMAGED' }));
          // in the text shorter ones may stand by chance, in any base64 or in the name of a field
          if (value.length > 12) expect(JSON.stringify(record)).not.toContain(value);
          if (value.length > 3)
            for (const sealed of [record.value, record.wrapped]) expect(Buffer.from(sealed, 'base64').includes(value)).toBe(false);
        },
      ),
    );
  });

  it('any changed byte, and any cut, is noticed and named, and never shows the value', () => {
    const record = seal('bmc.1', new Secret('hunter2hunter2'), key, nodeRandom);
    fc.assert(
      fc.property(
        fc.constantFrom('wrapped', 'value') as fc.Arbitrary<'wrapped' | 'value'>,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        (part, at, bits, cut) => {
          const bytes = Buffer.from(record[part], 'base64');
          const index = at % bytes.length;
          bytes[index] = (bytes[index] ?? 0) ^ bits;
          const changed = cut ? bytes.subarray(0, index) : bytes;
          const forged = { ...record, [part]: changed.toString('base64') };
          try {
            open('bmc.1', forged, key);
            expect.unreachable();
          } catch (error) {
            expect(error).toMatchObject({ code: 'SECRET_DAMAGED' });
            expect(String(error)).not.toContain('hunter2');
          }
        },
      ),
    );
  });

  it('the same value twice looks different', () => {
    const [one, two] = [seal('n', new Secret('v'), key, nodeRandom), seal('n', new Secret('v'), key, nodeRandom)];
    expect(one.value).not.toBe(two.value);
    expect(one.wrapped).not.toBe(two.wrapped);
  });
});

describe('secrets shared by replicas', () => {
  it('the database holds no password in the clear, and one machine’s record is no use under another’s name', async () => {
    const store = new MemoryStore();
    const secrets = shared(store, keyFile(newKey()));
    await secrets.write('bmc.1', new Secret('correct horse'));
    await secrets.write('bmc.2', new Secret('battery staple'));
    let dump = '';
    for await (const record of store.dump()) dump += JSON.stringify(record);
    expect(dump).toContain('bmc.1');
    for (const text of ['correct horse', 'battery staple']) {
      expect(dump).not.toContain(text);
      expect(dump).not.toContain(Buffer.from(text).toString('base64'));
    }
    const one = await store.get(secretKind, 'bmc.1');
    await modify(store, secretKind, 'bmc.2', () => one?.value);
    await expect(secrets.read('bmc.2')).rejects.toMatchObject({ code: 'SECRET_DAMAGED' });
    secrets.close();
  });

  it('what one replica writes, the other reads: at once where it was never read, and after the watch where it was', async () => {
    const store = new MemoryStore();
    const path = keyFile(newKey());
    const [first, second] = [shared(store, path), shared(store, path)];
    await first.write('bmc.1', new Secret('old'));
    expect((await second.read('bmc.1')).reveal()).toBe('old');
    await first.write('bmc.1', new Secret('new'));
    await new Promise((resolve) => setImmediate(resolve));
    expect((await second.read('bmc.1')).reveal()).toBe('new');
    await second.remove('bmc.1');
    await new Promise((resolve) => setImmediate(resolve));
    await expect(first.read('bmc.1')).rejects.toMatchObject({ code: 'SECRET_UNKNOWN' });
    for (const secrets of [first, second]) secrets.close();
  });

  it('a password costs the store one question, a deployment key one each time', async () => {
    const store = new MemoryStore();
    let gets = 0;
    const counted = new Proxy(store, {
      get: (object, name) => {
        if (name === 'get') gets += 1;
        return Reflect.get(object, name, object).bind(object);
      },
    });
    const secrets = shared(counted, keyFile(newKey()));
    for (const name of ['bmc.1', 'deploy-key.1']) await secrets.write(name, new Secret('x'));
    await new Promise((resolve) => setImmediate(resolve));
    gets = 0;
    for (let look = 0; look < 5; look++) await secrets.read('bmc.1');
    expect(gets).toBe(1);
    for (let look = 0; look < 5; look++) await secrets.read('deploy-key.1');
    expect(gets).toBe(6);
    secrets.close();
  });

  it('a key is changed without a gap: the new one read by all, then written by one, then the old one away', async () => {
    const store = new MemoryStore();
    const [old, fresh] = [newKey(), newKey()];
    const path = keyFile(old);
    const secrets = shared(store, path);
    await secrets.write('bmc.1', new Secret('one'));
    keyFile(old, fresh);
    await secrets.write('bmc.2', new Secret('two'));
    const late = shared(store, path); // the other replica, which has both keys by now
    keyFile(fresh, old);
    expect(await secrets.rewrapAll(new AbortController().signal)).toBe(2);
    expect(await secrets.rewrapAll(new AbortController().signal)).toBe(0);
    for (const reader of [secrets, late]) expect((await reader.read('bmc.1')).reveal()).toBe('one');
    keyFile(fresh);
    const restarted = shared(store, path);
    expect(await restarted.checkKeys()).toEqual({ secrets: 2, missing: new Map() });
    expect((await restarted.read('bmc.2')).reveal()).toBe('two');
    for (const one of [secrets, late, restarted]) one.close();
  });

  it.each([
    ['is not there', () => folder.path('nowhere'), /ENOENT/],
    ['is empty', () => keyFile(), /holds no key/],
    ['holds something else', () => keyFile('hunter2'), /line 2 is not 32 bytes in base64/],
    ['holds a shorter key', () => keyFile(Buffer.alloc(16, 1).toString('base64')), /line 2/],
    [
      'may be read by others',
      () => {
        const path = keyFile(newKey());
        chmodSync(path, 0o644);
        return path;
      },
      /mode 644/,
    ],
  ])('a key file that %s is refused with SECRET_KEY_FILE, without its content', (_, path, says) => {
    const name = path();
    expect(() => new SecretKeyFile(name)).toThrow(
      expect.objectContaining({ code: 'SECRET_KEY_FILE', message: expect.stringMatching(says) }),
    );
    try {
      new SecretKeyFile(name);
    } catch (error) {
      expect(String(error)).not.toContain('hunter2');
    }
  });
});

describe('bms-core and its secrets', () => {
  const start = (settings: Record<string, string>, store: Store = new MemoryStore()) => {
    const env = { BMS_SW_COORDINATION__BACKEND_URL: 'kazoo://10.0.0.1', BMS_STORE__URL: 'mysql://bms@db/bms', ...settings };
    const config = bmsCoreConfig.parse('', { env });
    return startSecrets({ config, store, stateDirectory: folder.path('state'), random: nodeRandom, logger: silentLogger });
  };

  it('replicas that share a database but have no key file are refused at the start; one alone, or SQLite, keeps files', async () => {
    await expect(start({})).rejects.toMatchObject({ code: 'SECRET_KEY_MISSING' });
    const alone: Record<string, string>[] = [
      { BMS_SW_COORDINATION__BACKEND_URL: 'memory://' },
      { BMS_STORE__URL: 'sqlite:////var/lib/bms.db' },
    ];
    for (const settings of alone) {
      const { secrets, close } = await start(settings);
      await secrets.write('bmc.1', new Secret('x'));
      expect((await new FileSecretStore(folder.path('state/secrets')).read('bmc.1')).reveal()).toBe('x');
      await close();
    }
  });

  it('starts with the right key, puts what an older one wrote under it, and is refused with a wrong one', async () => {
    const store = new MemoryStore();
    const [old, fresh] = [newKey(), newKey()];
    const first = await start({ BMS_STORE__SECRETS_KEY_FILE: keyFile(old) }, store);
    await first.secrets.write('bmc.1', new Secret('kept'));
    await first.close();
    await expect(start({ BMS_STORE__SECRETS_KEY_FILE: keyFile(fresh) }, store)).rejects.toMatchObject({ code: 'SECRET_KEY_WRONG' });
    const both = await start({ BMS_STORE__SECRETS_KEY_FILE: keyFile(fresh, old) }, store);
    while ((await store.get(secretKind, 'bmc.1'))?.value.keyId === secretKey(Buffer.from(old, 'base64')).id)
      await new Promise(setImmediate);
    expect((await both.secrets.read('bmc.1')).reveal()).toBe('kept');
    await both.close();
    const last = await start({ BMS_STORE__SECRETS_KEY_FILE: keyFile(fresh) }, store);
    expect((await last.secrets.read('bmc.1')).reveal()).toBe('kept');
    await last.close();
  });

  it('takes over what was files before there was a key file, once; what the store has already is newer', async () => {
    const store = new MemoryStore();
    const alone = await start({ BMS_SW_COORDINATION__BACKEND_URL: 'memory://' }, store);
    for (const name of ['bmc.1', 'bmc.2']) await alone.secrets.write(name, new Secret(`${name} of the file`));
    await alone.close();
    const path = keyFile(newKey());
    const before = shared(store, path);
    await before.write('bmc.2', new Secret('newer'));
    before.close();
    const together = await start({ BMS_STORE__SECRETS_KEY_FILE: path }, store);
    expect((await together.secrets.read('bmc.1')).reveal()).toBe('bmc.1 of the file');
    expect((await together.secrets.read('bmc.2')).reveal()).toBe('newer');
    expect(new FileSecretStore(folder.path('state/secrets')).names()).toEqual([]);
    await together.secrets.remove('bmc.1');
    await together.close();
    const again = await start({ BMS_STORE__SECRETS_KEY_FILE: path }, store);
    await expect(again.secrets.read('bmc.1')).rejects.toMatchObject({ code: 'SECRET_UNKNOWN' });
    await again.close();
  });

  it('reads the BMC credentials that Kubernetes mounts, also after they were replaced, and never writes them', async () => {
    const mounted = folder.path('mounted');
    mkdirSync(folder.path('mounted/pod45-bmc'), { recursive: true });
    writeFileSync(folder.path('mounted/pod45-bmc/username'), 'root\n');
    writeFileSync(folder.path('mounted/pod45-bmc/password'), 'calvin\n');
    const { secrets, close } = await start({ BMS_SW_COORDINATION__BACKEND_URL: 'memory://', BMS_IPMI__CREDENTIALS_DIR: mounted });
    const name = mountedRef('pod45-bmc');
    expect((await secrets.read(name)).reveal()).toBe('calvin');
    if (secrets instanceof MountedCredentials) expect(await secrets.username(name)).toBe('root');
    writeFileSync(folder.path('mounted/pod45-bmc/password'), 'changed');
    expect((await secrets.read(name)).reveal()).toBe('changed');
    await expect(secrets.read(mountedRef('other'))).rejects.toMatchObject({ code: 'SECRET_UNKNOWN' });
    await expect(secrets.write(name, new Secret('x'))).rejects.toMatchObject({ code: 'SECRET_MOUNTED' });
    await secrets.remove(name);
    expect((await secrets.read(name)).reveal()).toBe('changed');
    await close();
  });
});
