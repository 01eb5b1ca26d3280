/** Row 002-8: ram, disk, cpu, cpu_arch, deploy_kernel_id, deploy_ramdisk_id; each of them does what it says. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { ImageCache } from 'cdk8s-baremetal-runtime/deploy/image/cache/index';
import { type FlavorRecord, flavorKind, imageKind, isPermanent, type NodeRecord, schedule } from 'cdk8s-baremetal-runtime/machine/index';
import { LocalImageCache } from 'cdk8s-baremetal-runtime/machine/local-image-cache';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { Harness } from '../api/harness.ts';

const FLAVOR = { id: 'f', cpus: 8, memoryMb: 16_384, localGb: 100, cpuArch: 'x86_64' };

describe('002-8: over the API', () => {
  it('a flavor is kept with every field, and shown as it was given', async () => {
    const harness = new Harness();
    const body = { ...FLAVOR, deployKernelId: 'vmlinuz', deployRamdiskId: 'initrd', swapMb: 512, ephemeralGb: 20 };
    expect((await harness.ask('POST', '/v1/flavors', { body })).status).toBe(201);
    expect((await harness.ask('GET', '/v1/flavors/f')).json).toEqual({ ...body, name: 'f' });
  });

  it.each([
    ['negative memory', { memoryMb: -1 }, 422, 'memoryMb'],
    ['half a processor', { cpus: 0.5 }, 422, 'cpus'],
    ['no disk at all', { localGb: undefined }, 422, 'localGb'],
    ['an empty architecture', { cpuArch: '' }, 422, 'cpuArch'],
    ['a deploy kernel without its ramdisk', { deployKernelId: 'k' }, 422, 'come together'],
    ['a deploy kernel out of another folder', { deployKernelId: '../../etc/passwd', deployRamdiskId: 'r' }, 422, 'deployKernelId'],
    ['an unknown key', { ram: 1 }, 422, 'ram'],
  ])('%s is refused by its field', async (_name, wrong, status, said) => {
    const answer = await new Harness().ask('POST', '/v1/flavors', { body: { ...FLAVOR, ...wrong } });
    expect([answer.status, answer.json.error.code, answer.text]).toEqual([status, 'API_INVALID', expect.stringContaining(said)]);
  });

  it.each([
    ['spawn', 'POST', '/v1/instances', { name: 'a', imageId: 'image-1', flavorId: 'nope', yes: true }],
    ['plan', 'POST', '/v1/plan', { verb: 'spawn', name: 'a', imageId: 'image-1', flavorId: 'nope' }],
    ['show', 'GET', '/v1/flavors/nope', undefined],
  ])('an unknown one is 404 for %s', async (_name, method, path, body) => {
    const harness = new Harness();
    await harness.image();
    const { status, json } = await harness.ask(method, path, body && { body });
    expect([status, json.error.code]).toEqual([404, 'API_NO_FLAVOR']);
  });
});

describe('002-8: what a machine must have', () => {
  it.each([
    ['memory', { memoryMb: 131_073 }, /memory/i],
    ['disk', { localGb: 481 }, /disk|GB/i],
    ['processors', { cpus: 33 }, /cpu/i],
    ['another architecture', { cpuArch: 'aarch64' }, /x86_64/],
  ])('one that lacks %s is refused with the reason', async (_name, more, reason) => {
    const harness = new Harness();
    const node = await harness.machine(1); // 32 CPUs, 128 GiB, 480 GB
    const exact = { id: 'f', name: 'f', cpus: 32, memoryMb: 131_072, localGb: 480, cpuArch: 'x86_64' };
    expect(schedule([node], { instanceUuid: 'i', flavor: exact }).candidates).toHaveLength(1);
    const { candidates, refusals } = schedule([node], { instanceUuid: 'i', flavor: { ...exact, ...more } });
    expect([candidates, refusals[0]?.reason]).toEqual([[], expect.stringMatching(reason)]);
  });
});

describe('002-8: deploy_kernel_id and deploy_ramdisk_id', () => {
  const folder = temporaryFolder();
  const signal = new AbortController().signal;
  let harness: Harness;
  let images: LocalImageCache;

  beforeEach(async () => {
    folder.create();
    for (const name of ['images', 'deploy', 'boot', 'cache']) mkdirSync(folder.path(name));
    for (const name of ['deploy_kernel', 'deploy_ramdisk']) writeFileSync(folder.path('deploy', name), `the site's ${name}`);
    for (const name of ['vmlinuz-arm', 'initrd-arm']) writeFileSync(folder.path('images', name), `the flavor's ${name}`);
    writeFileSync(folder.path('images/image-1'), Buffer.alloc(1024, 1));
    harness = new Harness();
    await harness.store.create(imageKind, 'image-1', { id: 'image-1', name: 'one', format: 'raw', boot: 'local' });
    const shared = new ImageCache({
      directory: folder.path('cache'),
      maxBytes: 1024 ** 3,
      sources: [folder.path('images')],
      network: nodeNetwork,
      clock: nodeClock,
      logger: silentLogger,
    });
    images = new LocalImageCache({
      store: harness.store,
      userImages: folder.path('images'),
      deployImages: folder.path('deploy'),
      bootRoot: folder.path('boot'),
      images: shared,
    });
  });
  afterEach(folder.remove);

  async function instanceOf(flavor: Partial<FlavorRecord> | undefined): Promise<NodeRecord> {
    if (flavor) await harness.store.create(flavorKind, 'f', { ...FLAVOR, name: 'f', ...flavor });
    const node = await harness.machine(1);
    return {
      ...node,
      instance: { uuid: 'inst', name: 'i', imageId: 'image-1', vifs: [], volumes: [], at: 0, ...(flavor && { flavorId: 'f' }) },
    };
  }
  const placed = (): string[] => ['deploy_kernel', 'deploy_ramdisk'].map((name) => readFileSync(folder.path('boot/inst', name), 'utf8'));

  it.each([
    [
      "a flavor's own win",
      { deployKernelId: 'vmlinuz-arm', deployRamdiskId: 'initrd-arm' },
      ["the flavor's vmlinuz-arm", "the flavor's initrd-arm"],
    ],
    ['a flavor without any has those of the site', {}, ["the site's deploy_kernel", "the site's deploy_ramdisk"]],
    ['no flavor either', undefined, ["the site's deploy_kernel", "the site's deploy_ramdisk"]],
  ])('%s, for the deployment and for a rescue', async (_name, flavor, files) => {
    const node = await instanceOf(flavor);
    await images.cache(node, signal);
    expect(placed()).toEqual(files);
    await images.release(node);
    await images.cacheRamdisk(node);
    expect(placed()).toEqual(files);
  });

  it('one that is not there fails for good, and is named', async () => {
    const node = await instanceOf({ deployKernelId: 'vmlinuz-arm', deployRamdiskId: 'gone' });
    const failure = await images.cache(node, signal).catch((error: unknown) => error);
    expect([isPermanent(failure), String(failure)]).toEqual([true, expect.stringContaining('images/gone')]);
  });
});
