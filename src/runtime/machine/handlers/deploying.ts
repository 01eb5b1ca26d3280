import { chapSecret, deployKeyName } from '../deploy-key.ts';
import { machineErrors } from '../errors.ts';
import type { Handler, HandlerContext } from '../handler.ts';
import type { Deployment, DiskIdentity, NodeRecord } from '../node-record.ts';
import type { DeployProgress, DeployTarget } from '../ports.ts';
import { done, failed } from '../results.ts';

/** Progress is for people: more often than this it is not worth a write that is synced to the disk. */
const PROGRESS_INTERVAL_MS = 5_000;

/**
 * Writes the image. A run that was cut short starts again from the first byte: the ramdisk still waits, the disk still carries this deployment's
 * generation at most, and the image's checksum is the proof at the end. Nothing else in the system writes to a disk.
 */
export const deploying: Handler = async (context) => {
  const { node, ports, signal, clock } = context;
  const { deployment } = node;
  if (deployment?.claim === undefined) return failed('the deployment is gone');
  const target = await targetOf(context, deployment, deployment.claim);

  const disk = await ports.deployer.identify(target, signal);
  const wrong = wrongDisk(node, deployment, disk);
  if (wrong !== undefined) return failed(wrong);
  // Also the fence: whoever lost the machine to another replica stops here, before the first byte.
  await context.report((latest) => withDeployment(latest, { disk, progress: undefined, written: undefined }));

  const reporter = progressReporter(context);
  const written = await ports.deployer.write(target, deployment, reporter.tell, signal).finally(reporter.settled);
  const expected = deployment.image;
  if (expected.sha256 !== undefined && written.sha256 !== expected.sha256) {
    throw machineErrors.MACHINE_CHECKSUM({ written: written.sha256, expected: expected.sha256 });
  }
  if (expected.sizeBytes !== undefined && written.bytes !== expected.sizeBytes) {
    return failed(`${written.bytes} bytes were written of an image of ${expected.sizeBytes}`);
  }
  if (expected.boot === 'kernel' && written.root === undefined) {
    return failed('no root file system was found on the written disk, but the instance boots by a kernel that needs one'); // N14
  }
  const at = clock.now();
  const { generation, id, imageId } = deployment;
  return done('deploy complete', `${written.bytes} bytes written, SHA-256 ${written.sha256}`, (latest) => ({
    ...withDeployment(latest, { written: { ...written, at }, progress: { bytes: written.bytes, totalBytes: written.bytes, at } }),
    installed: { generation, deploymentId: id, imageId, sha256: written.sha256, disk, at },
  }));
};

async function targetOf(context: HandlerContext, deployment: Deployment, claim: NonNullable<Deployment['claim']>): Promise<DeployTarget> {
  const key = await context.secret(deployKeyName(deployment.id));
  return {
    nodeUuid: context.node.uuid,
    deploymentId: deployment.id,
    generation: deployment.generation,
    epoch: context.node.epoch,
    address: claim.address,
    port: claim.port,
    lun: claim.lun,
    iqn: deployment.iqn,
    chap: { username: deployment.id, secret: chapSecret(key) },
  };
}

/** Why this disk must not be written; undefined when it may. */
function wrongDisk(node: NodeRecord, deployment: Deployment, disk: DiskIdentity): string | undefined {
  const found = `the disk ${disk.serial ?? 'without a serial number'} of ${disk.sizeBytes} bytes`;
  if (node.rootDiskSerial !== undefined && disk.serial !== node.rootDiskSerial) {
    return machineErrors.MACHINE_WRONG_DISK({ found, wanted: `the root disk ${node.rootDiskSerial}` }).message;
  }
  const carried = disk.generation;
  const ownEarlierTry = carried === deployment.generation && disk.deploymentId === deployment.id;
  if (carried !== undefined && carried >= deployment.generation && !ownEarlierTry) {
    const wanted = `one older than install generation ${deployment.generation}`;
    return machineErrors.MACHINE_WRONG_DISK({ found: `${found}, installed by generation ${carried}`, wanted }).message;
  }
  if (deployment.image.sizeBytes !== undefined && disk.sizeBytes < deployment.image.sizeBytes) {
    return machineErrors.MACHINE_WRONG_DISK({ found, wanted: `one of at least ${deployment.image.sizeBytes} bytes` }).message;
  }
  return undefined;
}

function withDeployment(node: NodeRecord, part: Partial<Deployment>): NodeRecord {
  return node.deployment === undefined ? node : { ...node, deployment: { ...node.deployment, ...part } };
}

/** Writes progress down now and then. A report that fails is not the image's fault: the next compare-and-swap will show why. */
function progressReporter(context: HandlerContext): { tell: (progress: DeployProgress) => void; settled: () => Promise<void> } {
  let lastAt = Number.NEGATIVE_INFINITY;
  let pending: Promise<unknown> = Promise.resolve();
  return {
    tell: (progress) => {
      const monotonic = context.clock.monotonic();
      if (monotonic - lastAt < PROGRESS_INTERVAL_MS) return;
      lastAt = monotonic;
      const at = context.clock.now();
      pending = pending
        .then(() => context.report((latest) => withDeployment(latest, { progress: { ...progress, at } })))
        .catch((error) => context.logger.debug({ error: String(error) }, 'progress was not recorded'));
    },
    settled: async () => {
      await pending;
    },
  };
}
