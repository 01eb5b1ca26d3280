import { chapSecret, deployKeyName } from '../deploy-key.ts';
import { wrongDisk } from '../disk-guard.ts';
import { machineErrors } from '../errors.ts';
import type { Handler, HandlerContext } from '../handler.ts';
import type { Deployment, NodeRecord } from '../node-record.ts';
import type { DeployTarget } from '../ports.ts';
import { progressReporter } from '../progress.ts';
import { done, failed } from '../results.ts';

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

  const reporter = progressReporter(context, (latest, progress) => withDeployment(latest, { progress }));
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

function withDeployment(node: NodeRecord, part: Partial<Deployment>): NodeRecord {
  return node.deployment === undefined ? node : { ...node, deployment: { ...node.deployment, ...part } };
}
