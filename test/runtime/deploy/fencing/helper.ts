/**
 * A deploy-helper's writing part as a process of its own, to be stopped and killed: `node --import tsx helper.ts '{"port": …}'`. Whose the
 * machine is, and how far its image is, it reads from and writes to a file, as a replica does with the store. Prints a line at each step.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { Bandwidth } from 'cdk8s-baremetal-runtime/deploy/bandwidth';
import { ImageCache } from 'cdk8s-baremetal-runtime/deploy/image/cache/index';
import { IscsiDeployer } from 'cdk8s-baremetal-runtime/machine/iscsi-deployer';
import type { DeployTarget } from 'cdk8s-baremetal-runtime/machine/ports';

export interface HelperArguments {
  readonly name: string;
  readonly port: number;
  readonly iqn: string;
  readonly image: string;
  readonly cache: string;
  /** JSON: { owner, synced? }. */
  readonly record: string;
  /** 0: none. */
  readonly bytesPerSecond: number;
  readonly syncEveryBytes: number;
}

export interface JobRecord {
  readonly owner: string;
  readonly synced?: number;
}

const { name, port, iqn, image, cache, record, bytesPerSecond, syncEveryBytes }: HelperArguments = JSON.parse(process.argv[2] ?? '{}');
const readRecord = (): JobRecord => JSON.parse(readFileSync(record, 'utf8'));
const stillOurs = async (): Promise<void> => {
  const { owner } = readRecord();
  if (owner !== name) throw new Error(`the machine belongs to ${owner}`);
};
const signal = new AbortController().signal;
const shared = { network: nodeNetwork, clock: nodeClock, logger: silentLogger };
const images = new ImageCache({ ...shared, directory: cache, maxBytes: 1e9, sources: [] });
const deployer = new IscsiDeployer({
  ...shared,
  random: nodeRandom,
  initiatorName: 'iqn.2026-11.io.bms:deploy-helper',
  acquireImage: (_, opening) => images.acquire({ source: image, placed: true, format: 'raw' }, opening),
  bandwidth: new Bandwidth(nodeClock, bytesPerSecond),
  verify: 'all',
  syncEveryBytes,
});
const target: DeployTarget = {
  nodeUuid: 'node',
  deploymentId: 'deployment',
  generation: 1,
  epoch: 1,
  address: '127.0.0.1',
  port,
  lun: 1,
  iqn,
  chap: { username: 'deployment', secret: new Secret('secret-of-the-deployment') },
};
try {
  const disk = await deployer.identify(target, signal);
  const { synced } = readRecord();
  let told = 0;
  const hooks = {
    disk,
    stillOurs,
    ...(synced !== undefined && { resumeAt: synced }),
    onProgress: ({ bytes }: { bytes: number }) => {
      if (bytes - told < 1024 * 1024) return;
      told = bytes;
      process.stdout.write(`wrote ${bytes}\n`);
    },
    onSynced: async (chunks: number) => {
      await stillOurs();
      writeFileSync(`${record}.${name}`, JSON.stringify({ owner: name, synced: chunks }));
      renameSync(`${record}.${name}`, record);
      process.stdout.write(`synced ${chunks}\n`);
    },
  };
  const { sha256 } = await deployer.write(target, { imageId: 'image', image: { boot: 'local' } }, hooks, signal);
  await stillOurs();
  process.stdout.write(`done ${sha256}\n`);
} catch (error) {
  process.stdout.write(`failed ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 3;
}
