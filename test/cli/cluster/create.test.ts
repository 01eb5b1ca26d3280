import { writeFileSync } from 'node:fs';
import { Secret } from 'cdk8s-baremetal-contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CreateOptions, createCluster } from '../../../src/cli/cluster/create.ts';
import { readPassword } from '../../../src/cli/cluster/password.ts';
import type { KubeApi } from '../../../src/operator/engine/api.ts';
import { ApiError, statusError } from '../../../src/operator/engine/api-error.ts';
import { at } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { KEY, live, PASSWORD, refusal, world } from './world.ts';

const VERSION = 'v3.1.3-20200312.0';
const options = (change: Partial<CreateOptions> = {}): CreateOptions => ({
  key: KEY,
  version: VERSION,
  mysql: { host: '10.168.26.216' },
  password: { type: 'value', value: new Secret(PASSWORD), from: 'a test' },
  ...change,
});

describe('004-10: cluster create', () => {
  it('makes the namespace, the Secret and the cluster, which holds no password', async () => {
    const here = world();
    await createCluster(here.context, options({ region: 'region1', imageRepository: 'registry.example.net/yunionio' }));
    expect(live(here).spec).toEqual({
      mysql: { host: '10.168.26.216', passwordSecretRef: { name: 'default-mysql', key: 'password' } },
      version: VERSION,
      region: 'region1',
      imageRepository: 'registry.example.net/yunionio',
    });
    expect(at(here.api.peek('Namespace', 'onecloud'), 'metadata', 'labels')).toEqual({
      'pod-security.kubernetes.io/enforce': 'privileged',
    });
    const secret = here.api.peek('Secret', 'onecloud/default-mysql');
    expect(Buffer.from(String(at(secret, 'data', 'password')), 'base64').toString()).toBe(PASSWORD);
    expect(here.seen()).not.toContain(PASSWORD);
    expect(here.seen()).not.toContain(Buffer.from(PASSWORD).toString('base64'));
  });

  it('done twice, writes nothing the second time', async () => {
    const here = world();
    await createCluster(here.context, options());
    const writes = here.api.writes().length;
    await createCluster(here.context, options());
    expect(here.api.writes()).toHaveLength(writes);
    expect(here.printed.at(-1)).toContain('is there already');
  });

  it.each<[string, Partial<CreateOptions>, RegExp]>([
    ['another version', { version: 'v3.1.4' }, /spec\.version is v3\.1\.3-20200312\.0, not v3\.1\.4/],
    ['another database server', { mysql: { host: 'db2' } }, /spec\.mysql\.host is 10\.168\.26\.216, not db2/],
    ['a zone that is the default of neither', { zone: 'zone9' }, /spec\.zone is zone0, not zone9/],
    [
      'another Secret',
      { password: { type: 'secret', name: 'other', key: 'password' } },
      /passwordSecretRef is default-mysql\/password, not other/,
    ],
    [
      'another password',
      { password: { type: 'value', value: new Secret('another'), from: 'a test' } },
      /holds another password or none \(not shown\)/,
    ],
  ])('tells what differs from an existing one and changes nothing: %s', async (_, change, told) => {
    const here = world();
    await createCluster(here.context, options());
    const writes = here.api.writes().length;
    const error = await refusal(createCluster(here.context, options(change)));
    expect(error.code).toBe('CLUSTER_EXISTS_OTHERWISE');
    expect(error.message).toMatch(told);
    expect(String(error)).not.toMatch(/s3cr3t|another\b(?! password| one)/);
    expect(here.api.writes()).toHaveLength(writes);
  });

  it('compares when somebody else was first between its look and its write', async () => {
    const here = world();
    const late = world();
    await createCluster(late.context, options());
    let looked = false;
    const api: KubeApi = {
      list: here.api.list.bind(here.api),
      watch: here.api.watch.bind(here.api),
      replace: here.api.replace.bind(here.api),
      patch: here.api.patch.bind(here.api),
      apply: here.api.apply.bind(here.api),
      delete: here.api.delete.bind(here.api),
      get: async (type, key) => {
        if (type.kind === 'OnecloudCluster' && looked) return live(late);
        looked ||= type.kind === 'OnecloudCluster';
        return here.api.get(type, key);
      },
      create: async (type, object) => {
        if (type.kind === 'OnecloudCluster') throw statusError(409, { reason: 'AlreadyExists', message: 'exists' });
        return here.api.create(type, object);
      },
    };
    await createCluster(here.with({ api }), options());
    expect(here.printed.at(-1)).toContain('is there already');
  });

  it('finds a conflict with another cluster before it writes anything', async () => {
    const here = world();
    await createCluster(here.context, options());
    const writes = here.api.writes().length;
    const error = await refusal(createCluster(here.context, options({ key: { name: 'second', namespace: 'onecloud' } })));
    expect(error.code).toBe('CLUSTER_INVALID');
    expect(error.message).toContain('node port 30500 of onecloud/second keystone is already that of onecloud/default keystone');
    expect(here.api.writes()).toHaveLength(writes);
  });

  it("leaves a Secret alone that is somebody else's", async () => {
    const here = world();
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'default-mysql', namespace: 'onecloud' },
      data: { password: 'eA==' },
    };
    await here.api.create(resourceTypes.secrets, secret);
    const error = await refusal(createCluster(here.context, options()));
    expect(error.code).toBe('CLUSTER_SECRET_TAKEN');
    expect(at(here.api.peek('Secret', 'onecloud/default-mysql'), 'data', 'password')).toBe('eA==');
    expect(here.api.all('OnecloudCluster')).toEqual([]);
  });

  it.each<[string, Error, string]>([
    ['no API server', new ApiError('network', 'connect ECONNREFUSED 127.0.0.1:6443'), 'CLUSTER_API_UNREACHABLE'],
    ['an expired certificate', statusError(401, { message: 'Unauthorized' }), 'CLUSTER_UNAUTHORIZED'],
    ['no right', statusError(403, { message: 'onecloudclusters is forbidden: User "x" cannot get' }), 'CLUSTER_FORBIDDEN'],
    ['no such kind', statusError(404, { message: 'the server could not find the requested resource' }), 'CLUSTER_CRD_MISSING'],
    ['no such kind, as a page', statusError(404, undefined), 'CLUSTER_CRD_MISSING'],
    [
      'a field that the server refuses',
      statusError(422, { message: 'x', details: { causes: [{ field: 'spec.zone', message: 'bad' }] } }),
      'CLUSTER_REFUSED',
    ],
  ])('says in words: %s', async (_, fault, code) => {
    const here = world();
    here.api.fault = ({ kind }) => (kind === 'OnecloudCluster' ? fault : undefined);
    const error = await refusal(createCluster(here.context, options()));
    expect(error.code).toBe(code);
    expect(error.cure).not.toBe('');
    if (code === 'CLUSTER_CRD_MISSING') expect(error.cure).toContain('bmctl bundle | kubectl apply -f -');
  });
});

describe('where the password comes from', () => {
  const folder = temporaryFolder();
  beforeAll(() => {
    folder.create();
    writeFileSync(folder.path('password'), `${PASSWORD}\n`);
    writeFileSync(folder.path('empty'), '\n');
    writeFileSync(folder.path('two-lines'), `${PASSWORD}\nmore`);
  });
  afterAll(folder.remove);
  const around = (environment: Record<string, string> = {}, stdin = '') => ({ environment, readStdin: async () => stdin });

  it.each<[string, () => Parameters<typeof readPassword>]>([
    ['a file', () => [{ mysqlPasswordFile: folder.path('password') }, around()]],
    ['standard input', () => [{ mysqlPasswordStdin: true }, around({}, `${PASSWORD}\r\n`)]],
    ['the environment', () => [{}, around({ BMCTL_MYSQL_PASSWORD: PASSWORD })]],
    [
      'a file, although the environment has one',
      () => [{ mysqlPasswordFile: folder.path('password') }, around({ BMCTL_MYSQL_PASSWORD: 'older' })],
    ],
  ])('%s', async (_, args) => {
    const source = await readPassword(...args());
    expect(source?.type === 'value' && source.value.reveal()).toBe(PASSWORD);
    expect(JSON.stringify(source)).not.toContain(PASSWORD);
  });

  it('a Secret that is there', async () => {
    expect(await readPassword({ mysqlSecret: 'mysql-root/pw' }, around())).toEqual({ type: 'secret', name: 'mysql-root', key: 'pw' });
    expect(await readPassword({}, around())).toBeUndefined();
  });

  it.each<[string, () => Parameters<typeof readPassword>, string]>([
    ['a value on the command line', () => [{ mysqlPassword: PASSWORD }, around()], 'CLUSTER_PASSWORD_IN_ARGV'],
    ['two sources', () => [{ mysqlPasswordStdin: true, mysqlSecret: 'x' }, around()], 'CLUSTER_PASSWORD_SOURCES'],
    ['an empty file', () => [{ mysqlPasswordFile: folder.path('empty') }, around()], 'CLUSTER_PASSWORD_UNUSABLE'],
    ['two lines', () => [{ mysqlPasswordFile: folder.path('two-lines') }, around()], 'CLUSTER_PASSWORD_UNUSABLE'],
    ['no such file', () => [{ mysqlPasswordFile: folder.path('absent') }, around()], 'CLUSTER_FILE_UNREADABLE'],
  ])('refuses %s without showing it', async (_, args, code) => {
    const error = await refusal(readPassword(...args()));
    expect(error.code).toBe(code);
    expect(String(error)).not.toContain(PASSWORD);
  });
});
