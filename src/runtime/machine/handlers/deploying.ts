import { chapSecret, chapUser, deployKeyName } from '../deploy-key.ts';
import type { Deployment, DiskIdentity } from '../deployment-record.ts';
import { wrongDisk } from '../disk-guard.ts';
import { machineErrors } from '../errors.ts';
import type { Handler, HandlerContext } from '../handler.ts';
import type { NodeRecord } from '../node-record.ts';
import { completeDrive } from '../phone-home.ts';
import type { DeployHooks, DeployTarget } from '../ports.ts';
import { progressReporter } from '../progress.ts';
import { done, failed, type StepResult } from '../results.ts';
import { whileOn } from '../while-on.ts';

/**
 * Writes the image. A run that was cut short goes on at the last chunk that the disk has for good: the ramdisk still waits, and each chunk is
 * checked against the image's manifest on its way. Nothing else in the system writes to a disk.
 */
export const deploying: Handler = async (context) => {
  const { node, ports, signal, logger } = context;
  try {
    return await whileOn(context, (either, moved) => write({ ...context, signal: either }, moved));
  } catch (error) {
    if (signal.aborted) throw error;
    // A ramdisk that is gone does not come back with its target: a machine without power is not waited for.
    const power = await ports.power.status(node, signal).catch((unknown: unknown) => {
      logger.warn({ error: String(unknown) }, 'whether the machine is still on could not be asked');
      return 'not known';
    });
    signal.throwIfAborted();
    if (power !== 'off') throw error;
    const { message } = machineErrors.MACHINE_WENT_OFF(
      { reason: error instanceof Error ? error.message : String(error) },
      { cause: error },
    );
    const at = context.clock.now();
    return failed(message, (latest) => ({ ...latest, power: { state: 'off', at } }));
  }
};

async function write(context: HandlerContext, moved: () => void): Promise<StepResult> {
  const { node, ports, signal, clock } = context;
  const { deployment } = node;
  if (deployment?.claim === undefined) return failed('the deployment is gone');
  const target = await targetOf(context, deployment, deployment.claim);

  const disk = await ports.deployer.identify(target, signal);
  const wrong = wrongDisk(node, deployment, disk);
  if (wrong !== undefined) return failed(wrong);
  const expected = deployment.image;
  const earlier = deployment.synced;
  const resumable = earlier !== undefined && earlier.sha256 === expected.sha256 && sameDisk(deployment.disk, disk);
  const synced = resumable ? earlier : undefined;
  // What was on the disk is what the first run found: a later one finds what that wrote.
  const noted = resumable && deployment.disk?.holds !== undefined ? { ...disk, holds: deployment.disk.holds } : disk;
  // Also the fence: whoever lost the machine to another replica stops here, before the first byte.
  await context.report((latest) => withDeployment(latest, { disk: noted, progress: undefined, synced, written: undefined }));

  const reporter = progressReporter(context, (latest, progress) => withDeployment(latest, { progress }));
  const hooks: DeployHooks = {
    disk,
    onProgress: (progress) => {
      moved();
      reporter.tell(progress);
    },
    stillOurs: async () => {
      await context.report((latest) => latest);
    },
    ...(synced && { resumeAt: synced.chunks }),
    onSynced: async (chunks) => {
      const { sha256 } = expected;
      if (sha256 === undefined) return; // of an image that nobody knows the content of, nothing can be resumed
      await context.report((latest) => withDeployment(latest, { synced: { sha256, chunks, at: clock.now() } }));
    },
  };
  const configDrive = await completeDrive(deployment, context.secret);
  const image = { ...deployment.image, ...(configDrive && { configDrive }) };
  const written = await ports.deployer.write(target, { ...deployment, image }, hooks, signal).finally(reporter.settled);
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
}

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
    chap: { username: chapUser(deployment.id), secret: chapSecret(key) },
  };
}

function sameDisk(before: DiskIdentity | undefined, now: DiskIdentity): boolean {
  return before !== undefined && before.serial === now.serial && before.sizeBytes === now.sizeBytes;
}

function withDeployment(node: NodeRecord, part: Partial<Deployment>): NodeRecord {
  return node.deployment === undefined ? node : { ...node, deployment: { ...node.deployment, ...part } };
}
