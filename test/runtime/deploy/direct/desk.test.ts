/** Who may pull an image by the `direct` method, when, and what becomes of what a ramdisk says: on records, over the real service and claim. */
import { createHash } from 'node:crypto';
import { type HttpRequest, silentLogger, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { type DirectServiceOptions, directService } from 'cdk8s-baremetal-runtime/deploy/direct/index';
import type { ClaimRequest } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import type { DiskImage, ImageManifest } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { decodeMbr } from 'cdk8s-baremetal-runtime/deploy/layout/index';
import { deployerByMethod } from 'cdk8s-baremetal-runtime/machine/direct-deployer';
import { directDesk } from 'cdk8s-baremetal-runtime/machine/direct-desk';
import { wrongDisk } from 'cdk8s-baremetal-runtime/machine/disk-guard';
import {
  claimDeployment,
  deployKeyHash,
  MemorySecretStore,
  type NodeRecord,
  newDeployKey,
  nodeKind,
  reservationKind,
} from 'cdk8s-baremetal-runtime/machine/index';
import type { Deployer, DeployHooks, DeployTarget } from 'cdk8s-baremetal-runtime/machine/ports';
import { MemoryStore, modify } from 'cdk8s-baremetal-runtime/store/index';
import { seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator';
import { describe, expect, it } from 'vitest';

const MIB = 1024 * 1024;
const ADDRESS = '10.0.0.5';
const IQN = 'iqn.2010-10.org.openstack.baremetal:d1';
const DISK = { sizeBytes: 64 * MIB, serial: 'S1' };
const UUID = 'b9a4c1de-7a1c-4a53-8a8d-3f6f2c0e9a11';

async function setup({ method = 'direct' as 'iscsi' | 'direct' | 'unsaid', imageMib = 2 } = {}) {
  const clock = new VirtualClock();
  const store = new MemoryStore();
  const random = seededRandom(7);
  const key = newDeployKey(random);
  const secrets = new MemorySecretStore();
  const content = new Uint8Array(imageMib * MIB).fill(1);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const chunk = createHash('sha256').update(content.subarray(0, MIB)).digest('hex');
  const manifest: ImageManifest = {
    format: 'bms-image-manifest/1',
    sizeBytes: content.length,
    chunkBytes: MIB,
    sha256,
    chunks: Array.from({ length: imageMib }, () => chunk),
  };
  const image = {
    format: 'raw',
    virtualSizeBytes: content.length,
    read: async (offset: number, length: number, into = new Uint8Array(length)) => {
      into.set(content.subarray(offset, offset + length));
      return into;
    },
    close: async () => undefined,
  } as unknown as DiskImage;
  const now = clock.now();
  const record = nodeKind.parse({
    uuid: UUID,
    name: 'm1',
    number: 7,
    interfaces: [{ mac: '52:54:00:00:00:01' }],
    properties: { cpus: 1, memoryMb: 1024, localGb: 1, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address: '10.0.0.9', username: 'admin', passwordRef: 'p' },
    state: 'prepared',
    stateSince: now,
    reason: 'waits',
    generation: 1,
    instance: { uuid: UUID, name: 'i1', imageId: 'the-image', at: now },
    deployment: {
      id: 'd1',
      iqn: IQN,
      generation: 1,
      imageId: 'the-image',
      image: { boot: 'local', sha256, ...(method !== 'unsaid' && { method }) },
      keyHash: deployKeyHash(key),
      allowedAddress: ADDRESS,
      expiresAt: now + 1_800_000,
    },
  });
  await store.create(nodeKind, UUID, record);
  await store.create(reservationKind, 'number.7', { nodeId: UUID, at: now });
  const change = (next: (node: NodeRecord) => NodeRecord) => modify(store, nodeKind, UUID, next);
  const deployment = async () => (await store.get(nodeKind, UUID))?.value.deployment;
  const claimFields: ClaimRequest = {
    id: 7,
    key: key.reveal(),
    address: ADDRESS,
    remoteAddress: ADDRESS,
    iqn: IQN,
    port: 3260,
    lun: 1,
    disk: DISK,
  };
  const claim = claimDeployment({ store, clock });
  /** As the handler of `deploying` does it once disk and record are compared. */
  const begin = () =>
    change((node) => ({ ...node, state: 'deploying', deployment: node.deployment && { ...node.deployment, disk: { ...DISK } } }));
  const acquireImage = async () => ({ path: '', manifest, open: async () => image, release: () => undefined });
  const serve = (acquire: DirectServiceOptions['acquireImage']) =>
    directService({ desk: directDesk({ store, clock, secrets }), acquireImage: acquire, random, logger: silentLogger, clock });
  const ready = serve(acquireImage);
  const token = createHash('sha256').update(`direct ${key.reveal()}`).digest('hex');
  const ask = async (what: string, more: Partial<HttpRequest> & { readonly range?: string } = {}, service = ready) => {
    const { range, ...rest } = more;
    const answer = await service({
      method: 'GET',
      path: `/v1/direct/7/${what}`,
      query: new URLSearchParams(),
      headers: { authorization: `Bearer ${token}`, ...(range && { range }) },
      body: new Uint8Array(),
      remote: { address: ADDRESS, port: 40_000 },
      local: { address: '10.0.0.1', port: 10_000 },
      signal: new AbortController().signal,
      ...rest,
    });
    const pieces: Buffer[] = [];
    if (typeof answer.body === 'string') pieces.push(Buffer.from(answer.body));
    else if (answer.body instanceof Uint8Array) pieces.push(Buffer.from(answer.body));
    else if (answer.body) for await (const piece of answer.body) pieces.push(Buffer.from(piece));
    return { status: answer.status, headers: answer.headers ?? {}, body: Buffer.concat(pieces) };
  };
  const tell = (what: string, body: string) => ask(what, { method: 'POST', body: Buffer.from(body) });
  return {
    clock,
    store,
    random,
    key,
    manifest,
    content,
    change,
    deployment,
    claimFields,
    claim,
    begin,
    acquireImage,
    serve,
    ask,
    tell,
    token,
    secrets,
  };
}

describe('the use of a key by a ramdisk that writes by itself', () => {
  it('notes the disk and what opens the image, and neither key nor token', async () => {
    const { claim, claimFields, deployment, key, token } = await setup();
    expect(await claim(claimFields)).toEqual({ kind: 'accepted' });
    const noted = await deployment();
    expect(noted).toMatchObject({ claim: { address: ADDRESS, port: 0, lun: 0, disk: DISK } });
    expect(noted?.direct?.tokenHash).toBe(createHash('sha256').update(token).digest('hex'));
    expect(JSON.stringify(noted)).not.toContain(key.reveal());
    expect(JSON.stringify(noted)).not.toContain(token);
    expect(await claim(claimFields)).toEqual({ kind: 'used' });
  });

  it.each([
    ['direct', undefined],
    ['iscsi', DISK],
    ['unsaid', DISK],
  ] as const)('is refused when the method is %s and the disk is %j', async (method, disk) => {
    const { claim, claimFields, deployment } = await setup({ method });
    const { disk: _, ...fields } = claimFields;
    expect(await claim(disk ? { ...fields, disk } : fields)).toEqual({
      kind: 'wrong-method',
      expected: method === 'direct' ? 'direct' : 'iscsi',
    });
    expect((await deployment())?.claim).toBeUndefined();
  });

  it('N1: an error is heard whatever the form', async () => {
    const { claim, claimFields, deployment } = await setup();
    const { disk: _, ...fields } = claimFields;
    expect(await claim({ ...fields, error: 'Could not find disk to use.' })).toEqual({ kind: 'accepted' });
    expect((await deployment())?.reportedError).toBe('Could not find disk to use.');
  });
});

describe('the image is given out', () => {
  it('only while the machine is deploying and its disk has been compared with the record', async () => {
    const { claim, claimFields, ask, begin, change } = await setup();
    expect((await ask('plan')).status).toBe(403);
    await claim(claimFields);
    for (const what of ['plan', 'manifest', 'image']) expect((await ask(what)).status).toBe(202);
    await begin();
    expect((await ask('plan')).body.toString()).toMatch(/^bms-direct-plan\/1\nmanifest [0-9a-f]{64}\nverify 16\nzero \d+ \d+\nimage 0\n$/);
    for (const state of ['deploy failed', 'deleting', 'active', 'available'] as const) {
      await change((node) => ({ ...node, state }));
      const { status, body } = await ask('image');
      expect([status, body.toString()]).toEqual([409, `the machine's disk is not to be written: it is ${state}`]);
    }
  });

  it.each([512, 4096])('with tables that count in the %i bytes of the disk’s blocks', async (blockBytes) => {
    const { claim, claimFields, ask, begin, change, deployment, content } = await setup();
    content.set([0x53, 0xef], 1024 + 56); // ext
    await claim({ ...claimFields, disk: { ...DISK, blockBytes } });
    const { disk } = (await deployment())?.claim ?? {};
    await begin();
    const image = { boot: 'local', layout: 'partition', partitions: { rootMb: 8, swapMb: 1, ephemeralMb: 0 } } as const;
    await change((node) => ({ ...node, deployment: node.deployment && { ...node.deployment, image, ...(disk && { disk }) } }));
    const plan = (await ask('plan')).body.toString();
    const table = Buffer.from(/\nbytes 0 (\S+)\n$/.exec(plan)?.[1] ?? '', 'base64');
    expect([plan.match(/^image .*/m)?.[0], table.length]).toEqual([`image ${MIB}`, blockBytes]);
    expect(decodeMbr(table)?.entries[0]).toMatchObject({ firstBlock: MIB / blockBytes, blocks: (8 * MIB) / blockBytes });
  });

  it('to the address that claimed it, with the token, and to nobody else', async () => {
    const { claim, claimFields, ask, begin, key } = await setup();
    await claim(claimFields);
    await begin();
    expect((await ask('plan', { remote: { address: '10.0.0.6', port: 1 } })).status).toBe(403);
    expect((await ask('plan', { headers: {} })).status).toBe(401);
    for (const wrong of ['0'.repeat(64), createHash('sha256').update(`chap ${key.reveal()}`).digest('hex')]) {
      expect((await ask('plan', { headers: { authorization: `Bearer ${wrong}` } })).status).toBe(403);
    }
    // an unknown machine is told the same as a wrong token
    expect(await ask('plan', { path: '/v1/direct/8/plan' })).toMatchObject({ status: 403, body: Buffer.from('the token is not valid') });
    expect((await ask('plan', { remote: { address: '::ffff:10.0.0.5', port: 1 } })).status).toBe(200);
  });

  it('by ranges', async () => {
    const { claim, claimFields, ask, begin, content } = await setup();
    await claim(claimFields);
    await begin();
    const { status, headers, body } = await ask('image', { range: `bytes=${MIB}-${MIB + 9}` });
    expect([status, headers['content-range'], headers['content-length']]).toEqual([206, `bytes ${MIB}-${MIB + 9}/${2 * MIB}`, '10']);
    expect(Buffer.compare(body, content.subarray(MIB, MIB + 10))).toBe(0);
    expect((await ask('image', { range: `bytes=${MIB}-` })).body.length).toBe(MIB);
    for (const range of [`bytes=${2 * MIB}-`, 'bytes=9-3', 'bytes=-5', 'lines=1-2'])
      expect((await ask('image', { range })).status).toBe(416);
  });

  it.each([
    ['as the manifest says: the cache keeps it', false],
    ['rotten: the ramdisk refuses it, and the cache makes it anew', true],
  ])('%s', async (_, rotten) => {
    const { claim, claimFields, ask, begin, serve, acquireImage } = await setup();
    await claim(claimFields);
    await begin();
    let distrusted = 0;
    const service = serve(async () => {
      const ready = await acquireImage();
      const image = await ready.open();
      const read = async (offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> => {
        const bytes = await image.read(offset, length, into);
        return rotten && offset >= MIB ? bytes.fill(2, 0, 1) : bytes;
      };
      return { ...ready, open: async () => ({ ...image, read }), distrust: async () => void distrusted++ };
    });
    expect((await ask('image', { range: `bytes=0-${MIB - 1}` }, service)).status).toBe(206);
    expect((await ask('image', { range: `bytes=0-9` }, service)).body.length).toBe(10);
    expect(distrusted).toBe(0);
    const { status, body } = await ask('image', { range: `bytes=0-${2 * MIB - 1}` }, service);
    expect([status, body.length]).toEqual([206, 2 * MIB]);
    expect(distrusted).toBe(rotten ? 1 : 0);
  });

  it.each([false, true])('rotten: %s, in chunks of more than one piece, as images above 64 GiB have them', async (rotten) => {
    const { claim, claimFields, ask, begin, serve, acquireImage, content, manifest } = await setup({ imageMib: 5 });
    await claim(claimFields);
    await begin();
    const chunkBytes = 2 * MIB;
    const digest = (number: number): string =>
      createHash('sha256')
        .update(content.subarray(number * chunkBytes, (number + 1) * chunkBytes))
        .digest('hex');
    const large = { ...manifest, chunkBytes, chunks: [0, 1, 2].map(digest) };
    if (rotten) content[3 * MIB] = 2;
    let distrusted = 0;
    const service = serve(async () => ({ ...(await acquireImage()), manifest: large, distrust: async () => void distrusted++ }));
    for (const range of [`bytes=0-${chunkBytes - 1}`, `bytes=${3 * MIB}-${4 * MIB - 1}`, `bytes=${4 * MIB}-`])
      expect((await ask('image', { range }, service)).status).toBe(206);
    expect(distrusted).toBe(0);
    const { status, body } = await ask('image', { range: `bytes=0-${5 * MIB - 1}` }, service);
    expect([status, Buffer.compare(body, content)]).toEqual([206, 0]);
    expect(distrusted).toBe(rotten ? 1 : 0);
  });

  it('never again after it was said to be written', async () => {
    const { claim, claimFields, ask, tell, begin, manifest, deployment } = await setup();
    await claim(claimFields);
    await begin();
    expect((await tell('done', `sha256=${manifest.sha256}`)).status).toBe(200);
    const before = await deployment();
    expect((await tell('done', `sha256=${'0'.repeat(64)}`)).status).toBe(200); // said twice: the first counts
    expect(await deployment()).toEqual(before);
    expect((await ask('image')).status).toBe(409);
  });

  it('though it takes longer to make ready here than a ramdisk waits for an answer; meanwhile the owner hears that it is there', async () => {
    const { claim, claimFields, ask, begin, clock, deployment, serve, acquireImage } = await setup();
    await claim(claimFields);
    await begin();
    let [users, begun, readyAt] = [0, 0, Number.POSITIVE_INFINITY];
    /** As the cache does it: one work for all who wait, and none for nobody. */
    const slow = serve(async (_image, signal) => {
      if (users++ === 0 && clock.now() < readyAt) {
        begun++;
        readyAt = clock.now() + 200_000;
      }
      await sleep(clock, Math.max(0, readyAt - clock.now()), signal).finally(() => users--);
      return acquireImage();
    });
    const answers: number[] = [];
    /** As the ramdisk asks. */
    const asking = (async () => {
      for (;;) {
        const gone = new AbortController();
        const timer = clock.after(60_000, () => gone.abort(new Error('the client closed the connection')));
        const status = await ask('plan', { signal: gone.signal }, slow).then(
          (answer) => answer.status,
          () => 0,
        );
        timer.cancel();
        answers.push(status);
        expect(clock.now() - ((await deployment())?.direct?.heardAt ?? clock.now())).toBeLessThan(60_000);
        if (status === 200 || answers.length === 30) return;
        await sleep(clock, 3_000);
      }
    })();
    await clock.run(asking);
    expect([answers.at(-1), begun]).toEqual([200, 1]);
    expect(new Set(answers)).toEqual(new Set([202, 200]));
    expect(await deployment()).toMatchObject({ direct: { bytes: 0 } });
  });

  it.each(['progress', 'done', 'error', 'nonsense'])(
    'nothing is noted of a %s that is not understood, or comes without the token',
    async (what) => {
      const { claim, claimFields, tell, begin, deployment, ask } = await setup();
      await claim(claimFields);
      await begin();
      const before = await deployment();
      if (what !== 'error') expect((await tell(what, 'bytes=-1&sha256=xyz')).status).toBe(400);
      const stranger = { method: 'POST', body: Buffer.from('bytes=1&e=x'), headers: { authorization: `Bearer ${'0'.repeat(64)}` } };
      expect((await ask(what, stranger)).status).toBeGreaterThanOrEqual(400);
      expect(await deployment()).toEqual(before);
    },
  );
});

describe('the deployer of the method', () => {
  const iscsi: Deployer = {
    identify: async () => ({ sizeBytes: 1 }),
    write: async () => ({ bytes: 0, sha256: 'by iSCSI' }),
    erase: async () => 0,
  };
  const target = { nodeUuid: UUID, deploymentId: 'd1' } as DeployTarget;

  /** `aheadMs`: how far the owner's wall clock is ahead of that of the replica that the ramdisk speaks to. */
  async function deploying(options: Parameters<typeof setup>[0] = {}, aheadMs = 0) {
    const world = await setup(options);
    const { store, random, acquireImage, claim, claimFields, begin, deployment } = world;
    await claim(claimFields);
    await begin();
    const clock = world.clock.skewed(aheadMs);
    const deployer = deployerByMethod({ store, clock, random, acquireImage, iscsi, silenceMs: 300_000 });
    const progress: number[] = [];
    const hooks: DeployHooks = {
      disk: DISK,
      onProgress: ({ bytes }) => progress.push(bytes),
      stillOurs: async () => undefined,
      onSynced: async () => undefined,
    };
    const image = await deployment();
    if (image === undefined) throw new Error('no deployment');
    const stop = new AbortController();
    const write = () => deployer.write(target, image, hooks, stop.signal);
    return { ...world, deployer, write, progress, stop };
  }

  it('waits for the ramdisk and passes on how far it is', async () => {
    const { clock, write, tell, manifest, progress } = await deploying();
    const done = write();
    await clock.run(tell('progress', `bytes=${MIB}`));
    await clock.runFor(6_000);
    await clock.run(tell('done', `sha256=${manifest.sha256}`));
    expect(await clock.run(done)).toEqual({ bytes: 2 * MIB, sha256: manifest.sha256 });
    expect(progress).toEqual([MIB]);
  });

  it.each([600_000, -600_000])('hears a ramdisk that speaks, and no other, where its own clock is ahead by %i ms', async (aheadMs) => {
    const { clock, write, tell } = await deploying({}, aheadMs);
    const done = write().catch((error: unknown) => error);
    let ended = false;
    void done.then(() => (ended = true));
    for (let bytes = 0; bytes < 10; bytes++) {
      await clock.run(tell('progress', `bytes=${bytes}`));
      await clock.runFor(60_000);
    }
    expect(ended).toBe(false);
    await clock.runFor(310_000);
    expect(String(await clock.run(done))).toMatch(/nothing was heard of it for 30\d s/);
  });

  it('a clock that is set right in between is no silence', async () => {
    const { clock, write, tell, manifest } = await deploying();
    const done = write();
    await clock.runFor(10_000);
    clock.stepWall(3_600_000);
    await clock.runFor(10_000);
    await clock.run(tell('done', `sha256=${manifest.sha256}`));
    expect((await clock.run(done)).sha256).toBe(manifest.sha256);
  });

  it('finds the disk as the ramdisk named it', async () => {
    const { clock, deployer, stop } = await deploying();
    expect(await clock.run(deployer.identify(target, stop.signal))).toEqual(DISK);
  });

  it('passes on that the disk is not empty: another one than was planned is somebody’s', async () => {
    const { clock, store, random, acquireImage, claim, claimFields, deployment } = await setup();
    await claim({ ...claimFields, disk: { ...DISK, holds: 'data' } });
    const deployer = deployerByMethod({ store, clock, random, acquireImage, iscsi });
    const disk = await deployer.identify(target, new AbortController().signal);
    const record = await deployment();
    const node = { rootDiskSerial: undefined, installed: { disk: { serial: 'S0', sizeBytes: 64 * MIB } } } as NodeRecord;
    if (record === undefined) throw new Error('no deployment');
    expect(wrongDisk(node, record, disk)).toMatch(/the disk S1 of 67108864 bytes, not S0 as planned, and holds data; nothing was written/);
  });

  it('an owner that takes over after the last word needs no other', async () => {
    const { clock, write, tell, manifest } = await deploying();
    await clock.run(tell('done', `sha256=${manifest.sha256}`));
    expect((await clock.run(write())).sha256).toBe(manifest.sha256);
  });

  it.each<[string, (world: Awaited<ReturnType<typeof deploying>>) => Promise<unknown>, RegExp]>([
    [
      'the ramdisk reports an error',
      ({ tell }) => tell('error', 'e=chunk+3:+it+is+not+what+the+manifest+says'),
      /chunk 3: it is not what the manifest says/,
    ],
    ['the ramdisk falls silent', ({ clock }) => clock.runFor(310_000), /nothing was heard of it for 30\d s; is the machine still on\?/],
    ['it wrote another image', ({ tell }) => tell('done', `sha256=${'ab'.repeat(32)}`), /has SHA-256 abab/],
    ['the deployment is gone', ({ change }) => change((node) => ({ ...node, deployment: undefined })), /the deployment is gone/],
  ])('fails for good when %s', async (_, happens, reason) => {
    const world = await deploying();
    const failure = world.write().then(
      () => undefined,
      (error: unknown) => error,
    );
    await happens(world);
    await world.clock.runFor(10_000);
    const error = await world.clock.run(failure);
    expect(error).toMatchObject({ permanent: true });
    expect(String(error)).toMatch(reason);
  });

  it('fails at once when the image does not fit, and stops when it is told to', async () => {
    const small = await deploying({ imageMib: 65 });
    await expect(small.clock.run(small.write())).rejects.toMatchObject({ code: 'IMAGE_DISK_TOO_SMALL', permanent: true });
    const { clock, write, stop } = await deploying();
    const writing = write().catch((error: unknown) => error);
    await clock.runFor(1_000);
    stop.abort(new Error('destroyed'));
    expect(String(await clock.run(writing))).toContain('destroyed');
  });

  it('leaves deployments of the other method to iSCSI', async () => {
    const { store, clock, random, acquireImage, deployment } = await setup({ method: 'unsaid' });
    const deployer = deployerByMethod({ store, clock, random, acquireImage, iscsi });
    const image = await deployment();
    if (image === undefined) throw new Error('no deployment');
    expect(await deployer.identify(target, new AbortController().signal)).toEqual({ sizeBytes: 1 });
    expect(await deployer.write(target, image, {} as DeployHooks, new AbortController().signal)).toMatchObject({ sha256: 'by iSCSI' });
  });
});
