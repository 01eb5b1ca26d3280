/** What can be wrong with an image, a disk or a target, each with its own code; and whether trying again could help. */
import { createHash } from 'node:crypto';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { ImageCache, type ImageWanted, type ReadyImage } from 'cdk8s-baremetal-runtime/deploy/image/cache/index';
import { ChapSecret } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { OP } from 'cdk8s-baremetal-runtime/deploy/iscsi/scsi';
import { encodeGpt } from 'cdk8s-baremetal-runtime/deploy/layout/index';
import type { Deployment } from 'cdk8s-baremetal-runtime/machine/index';
import { IscsiDeployer } from 'cdk8s-baremetal-runtime/machine/iscsi-deployer';
import type { DeployHooks, DeployTarget, WrittenImage } from 'cdk8s-baremetal-runtime/machine/ports';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { diskContent } from '../image/support.ts';
import { Lab, type LabOptions, MIB, TARGET_NAME } from '../iscsi/lab.ts';

const CONTENT = diskContent(4 * MIB, 21).fill(0x5a, 0, 4096);
const SECRET = 'secret-of-the-deployment';
const WRITES = new Set<number>([OP.write10, OP.write16, OP.writeSame16]);

interface Case {
  readonly lab?: LabOptions;
  readonly content?: Uint8Array;
  readonly wanted?: Partial<ImageWanted>;
  readonly target?: Partial<DeployTarget>;
  readonly hooks?: Partial<DeployHooks>;
  /** When the disk has been looked at, and the image is at hand. */
  readonly spoil?: (lab: Lab, imagePath: string) => void;
  /** May be called at each progress. */
  readonly meanwhile?: (lab: Lab) => void;
}

describe('002-12: each bad input has its own error', () => {
  const folder = temporaryFolder();
  let cases = 0;
  let distrusted = 0;
  beforeAll(() => folder.create());
  afterAll(() => folder.remove());

  const deploy = (given: Case): Promise<WrittenImage> =>
    among(given, (deployer, at, hooks, signal) => deployer.write(at, { imageId: 'image', image: { boot: 'local' } }, hooks, signal));

  async function among<T>(
    { lab: options = {}, content = CONTENT, wanted = {}, target = {}, hooks = {}, spoil, meanwhile }: Case,
    work: (deployer: IscsiDeployer, at: DeployTarget, hooks: DeployHooks, signal: AbortSignal, lab: Lab) => Promise<T>,
  ): Promise<T> {
    const path = folder.path(`image-${++cases}`);
    writeFileSync(path, content);
    const cacheFolder = folder.path(`cache-${cases}`);
    mkdirSync(cacheFolder);
    const lab = new Lab({
      sizeBytes: 8 * MIB,
      ...options,
      target: { chap: { user: 'deployment', secret: new ChapSecret(SECRET) }, ...options.target },
    });
    return lab.run(async () => {
      const { network, clock, random } = lab.base();
      const images = new ImageCache({ directory: cacheFolder, maxBytes: 1e9, sources: [], network, clock, logger: silentLogger });
      let ready: ReadyImage | undefined;
      const deployer = new IscsiDeployer({
        network,
        clock,
        random,
        logger: silentLogger,
        initiatorName: 'iqn.2026-11.io.bms:deploy-helper',
        acquireImage: async (_, signal) => {
          ready = await images.acquire({ source: path, placed: true, format: 'raw', ...wanted }, signal);
          spoil?.(lab, path);
          return { ...ready, distrust: async () => void distrusted++ };
        },
        verify: 'all',
      });
      const at: DeployTarget = {
        nodeUuid: 'node',
        deploymentId: 'deployment',
        generation: 1,
        epoch: 1,
        address: '192.0.2.7',
        port: 3260,
        lun: 1,
        iqn: TARGET_NAME,
        chap: { username: 'deployment', secret: new Secret(SECRET) },
        ...target,
      };
      const { signal } = new AbortController();
      const disk = await deployer.identify(at, signal);
      const all: DeployHooks = {
        disk,
        onProgress: () => meanwhile?.(lab),
        stillOurs: async () => undefined,
        onSynced: async () => undefined,
        ...hooks,
      };
      return work(deployer, at, all, signal, lab);
    });
  }

  it('nothing is wrong: the image is written', async () => {
    expect(await deploy({})).toEqual({ bytes: CONTENT.length, sha256: createHash('sha256').update(CONTENT).digest('hex') });
  });

  const permanent: Readonly<Record<string, readonly [string, Case]>> = {
    'an image with another checksum': ['IMAGE_DIGEST_MISMATCH', { wanted: { sha256: 'a'.repeat(64) } }],
    'an image larger than the disk': ['IMAGE_DISK_TOO_SMALL', { lab: { sizeBytes: 2 * MIB } }],
    'a disk that is read-only': ['ISCSI_SCSI_DATA_PROTECT', { lab: { unit: { readOnly: true } } }],
    'a wrong CHAP secret': [
      'ISCSI_AUTHENTICATION_FAILED',
      { target: { chap: { username: 'deployment', secret: new Secret('some-other-secret') } } },
    ],
    'another disk than before': ['ISCSI_DISK_CHANGED', { hooks: { disk: { serial: 'ANOTHER', sizeBytes: 8 * MIB } } }],
    'a portal elsewhere': ['ISCSI_REDIRECTED', { lab: { target: { redirect: { address: '198.51.100.1:3260,1', permanent: false } } } }],
    'a disk that keeps something else than it was given': [
      'IMAGE_READ_BACK_MISMATCH',
      {
        spoil: ({ disk }) => {
          const keep = disk.write.bind(disk);
          disk.write = (offset, data) => keep(offset, offset === 2 * MIB ? data.map((byte) => byte ^ 1) : data);
        },
      },
    ],
    'a LUN without a disk': ['ISCSI_NOT_A_DISK', { target: { lun: 5 } }],
  };
  it.each(Object.entries(permanent))('%s: and trying again is of no use', async (_, [code, given]) => {
    await expect(deploy(given)).rejects.toMatchObject({ code, permanent: true });
  });

  const passing: Readonly<Record<string, readonly [string, Case]>> = {
    'an image that rots on its way': [
      'IMAGE_CHUNK_MISMATCH',
      {
        spoil: (_, path) => {
          const rotten = Buffer.from(CONTENT);
          rotten[2 * MIB + 5] = (rotten[2 * MIB + 5] ?? 0) ^ 1;
          writeFileSync(path, rotten);
        },
      },
    ],
    'an image that is cut off on its way': ['IMAGE_MANIFEST', { spoil: (_, path) => truncateSync(path, MIB) }],
    'storage behind the disk that is full': [
      'ISCSI_SCSI_SPACE',
      {
        spoil: ({ target }) => {
          target.faults.onCommand = ({ opcode }) => (WRITES.has(opcode) ? { sense: [7, 0x27, 7] } : undefined);
        },
      },
    ],
    'a medium error': [
      'ISCSI_SCSI_MEDIUM_ERROR',
      {
        spoil: ({ target }) => {
          target.faults.onCommand = ({ opcode }) => (WRITES.has(opcode) ? { sense: [3, 0x0c, 0] } : undefined);
        },
      },
    ],
    'a disk that is gone for good': ['ISCSI_UNREACHABLE', { meanwhile: ({ target }) => void target.close() }],
    'a target of another name': ['ISCSI_TARGET_NOT_FOUND', { target: { iqn: 'iqn.2026-11.io.bms:another' } }],
    'a machine that has another owner by now': [
      'MACHINE_LOST',
      { hooks: { stillOurs: () => Promise.reject(Object.assign(new Error('it is not ours'), { code: 'MACHINE_LOST' })) } },
    ],
  };
  it.each(Object.entries(passing))('%s: the machine’s own retries decide', async (_, [code, given]) => {
    const error = await deploy(given).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code });
    expect(error).not.toHaveProperty('permanent');
  });

  it.each<[string, Partial<Deployment['image']>, string]>([
    ['a config drive beside an image without a table', { configDrive: { label: 'config-2', files: [] } }, 'LAYOUT_CONFIG_DRIVE'],
    ['a partition image without a root file system', { layout: 'partition' }, 'LAYOUT_NO_ROOT'],
  ])('%s: refused before anything is written', async (_, image, code) => {
    await among({}, async (deployer, at, hooks, signal, lab) => {
      const before = lab.disk.sha256();
      const writing = deployer.write(at, { imageId: 'image', image: { boot: 'local', ...image } }, hooks, signal);
      await expect(writing).rejects.toMatchObject({ code, permanent: true });
      expect(lab.disk.sha256()).toBe(before);
    });
  });

  it('an image whose table counts in other blocks than the disk has: refused before anything is written', async () => {
    const other = (blockBytes: number): Uint8Array => {
      const [disk, content] = [{ blockBytes, diskBlocks: (4 * MIB) / blockBytes }, Uint8Array.from(CONTENT)];
      content.set(encodeGpt({ diskGuid: '6f1a4f3e-0000-4000-8000-00000000000f', entries: [] }, disk).primary);
      return content;
    };
    for (const [made, blockBytes, code] of [
      [512, 4096, 'LAYOUT_BLOCKS'],
      [4096, 512, 'LAYOUT_BLOCKS'],
      [4096, 4096, undefined],
    ] as const) {
      await among({ lab: { blockBytes }, content: other(made) }, async (deployer, at, hooks, signal, lab) => {
        const before = lab.disk.sha256();
        const writing = deployer.write(at, { imageId: 'image', image: { boot: 'local' } }, hooks, signal);
        if (code === undefined) return expect(await writing).toMatchObject({ bytes: 4 * MIB });
        await expect(writing).rejects.toMatchObject({ code, permanent: true });
        expect(lab.disk.sha256()).toBe(before);
      });
    }
  });

  it('of a cached image that rotted the cache is told; of others it is not', async () => {
    distrusted = 0;
    await expect(deploy(passing['a medium error']?.[1] ?? {})).rejects.toThrow();
    expect(distrusted).toBe(0);
    await expect(deploy(passing['an image that rots on its way']?.[1] ?? {})).rejects.toThrow();
    expect(distrusted).toBe(1);
  });

  describe('an erasure', () => {
    const used = new Uint8Array(MIB).fill(0xa5);
    it.each([
      [
        'of a machine that has another owner by now',
        'MACHINE_LOST',
        { stillOurs: () => Promise.reject(Object.assign(new Error('not ours'), { code: 'MACHINE_LOST' })) },
      ],
      ['of another disk than was looked at', 'ISCSI_DISK_CHANGED', { disk: { serial: 'ANOTHER', sizeBytes: 8 * MIB } }],
    ] as const)('%s leaves every byte where it is', async (_, code, hooks) => {
      await among({ hooks }, async (deployer, at, all, signal, lab) => {
        await lab.disk.write(0, used);
        await expect(deployer.erase(at, 'full', all, signal)).rejects.toMatchObject({ code });
        expect(Buffer.compare(await lab.disk.read(0, MIB), used)).toBe(0);
      });
    });
    it('of the right one, which is still ours, leaves none', async () => {
      await among({}, async (deployer, at, all, signal, lab) => {
        await lab.disk.write(0, used);
        expect(await deployer.erase(at, 'full', all, signal)).toBe(8 * MIB);
        expect((await lab.disk.read(0, MIB)).every((byte) => byte === 0)).toBe(true);
      });
    });
  });
});
