import { Secret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import type { Deployment, DiskIdentity } from 'cdk8s-baremetal-runtime/machine/deployment-record';
import type { HandlerContext } from 'cdk8s-baremetal-runtime/machine/handler';
import { deploying } from 'cdk8s-baremetal-runtime/machine/handlers/deploying';
import type { NodeRecord } from 'cdk8s-baremetal-runtime/machine/node-record';
import type { DeployHooks, MachinePorts } from 'cdk8s-baremetal-runtime/machine/ports';
import { VirtualClock } from 'cdk8s-baremetal-simulator/index';
import { describe, expect, it } from 'vitest';

const SHA = 'a'.repeat(64);
const DISK: DiskIdentity = { serial: 'S1', sizeBytes: 2 ** 30 };
const DEPLOYMENT = {
  id: 'd1',
  generation: 1,
  imageId: 'image',
  image: { boot: 'local', sha256: SHA, sizeBytes: 2 ** 20 },
  iqn: 'iqn.2026-11.io.bms:d1',
  expiresAt: 1e15,
  claim: { address: '192.0.2.7', port: 3260, lun: 1, at: 0 },
} satisfies Deployment;

/** Runs the handler on a record, and gives what it told the writer, and the record as it left it. */
async function run(part: Partial<Deployment>, found: DiskIdentity, write: (hooks: DeployHooks) => Promise<void> = async () => undefined) {
  let node = { name: 'bm-1', uuid: 'u', epoch: 1, deployment: { ...DEPLOYMENT, ...part } } as unknown as NodeRecord;
  let told: DeployHooks | undefined;
  const deployer: Pick<MachinePorts['deployer'], 'identify' | 'write'> = {
    identify: async () => found,
    write: async (_target, _image, hooks) => {
      told = hooks;
      await write(hooks);
      return { bytes: 2 ** 20, sha256: SHA };
    },
  };
  const context = {
    node,
    clock: new VirtualClock(),
    logger: silentLogger,
    signal: new AbortController().signal,
    ports: { deployer },
    secret: async () => new Secret('KEY'),
    report: async (change: (latest: NodeRecord) => NodeRecord) => {
      node = change(node);
      return node;
    },
  } as unknown as HandlerContext;
  const result = await deploying(context);
  return { result, told, deployment: node.deployment };
}

describe('N8: a deployment that was cut short', () => {
  const synced = { sha256: SHA, chunks: 40, at: 1 };
  it.each<[string, Partial<Deployment>, DiskIdentity, number | undefined]>([
    ['goes on where its disk had everything for good', { disk: DISK, synced }, DISK, 40],
    ['begins anew on another disk', { disk: { ...DISK, serial: 'S0' }, synced }, DISK, undefined],
    ['begins anew with another image', { disk: DISK, synced: { ...synced, sha256: 'b'.repeat(64) } }, DISK, undefined],
    ['begins at the beginning the first time', {}, DISK, undefined],
  ])('%s', async (_, part, found, resumeAt) => {
    const { told, result } = await run(part, found);
    expect(told?.resumeAt).toBe(resumeAt);
    expect(told?.disk).toEqual(found);
    expect(result).toMatchObject({ kind: 'done', next: 'deploy complete' });
  });

  it('has on record how far its disk is, and what that held before', async () => {
    const before = { ...DISK, holds: 'the ext4 file system "data"' };
    const first = await run({}, before, (hooks) => hooks.onSynced(7));
    expect(first.deployment?.synced).toMatchObject({ sha256: SHA, chunks: 7 });
    const second = await run({ disk: before, synced }, { ...DISK, holds: 'data of a kind that is not known here' });
    expect(second.deployment?.disk?.holds).toBe(before.holds);
  });
});
