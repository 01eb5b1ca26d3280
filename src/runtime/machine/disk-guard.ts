/** Which disk may be written: the one on record, and never one that a later deployment has written. */

import type { Deployment, DiskIdentity } from './deployment-record.ts';
import { machineErrors } from './errors.ts';
import type { NodeRecord } from './node-record.ts';
import { reasonOf } from './reason-of.ts';

/** Why this disk must not be touched at all; undefined when it may. */
function wrongRootDisk(node: NodeRecord, disk: DiskIdentity): string | undefined {
  if (node.rootDiskSerial === undefined || disk.serial === node.rootDiskSerial) return undefined;
  return reasonOf(machineErrors.MACHINE_WRONG_DISK({ found: found(disk), wanted: `the root disk ${node.rootDiskSerial}` }));
}

/**
 * Why this disk must not be erased; undefined when it may. The last instance's data would stay on a machine that counts as cleaned, and somebody else's would go.
 */
export function wrongDiskToErase(node: NodeRecord, disk: DiskIdentity): string | undefined {
  const lastUsed = node.installed?.disk?.serial;
  if (node.rootDiskSerial !== undefined || lastUsed === undefined || disk.serial === lastUsed) return wrongRootDisk(node, disk);
  return reasonOf(machineErrors.MACHINE_WRONG_DISK({ found: found(disk), wanted: `${lastUsed}, which the last instance was on` }));
}

/** Why this deployment must not write this disk; undefined when it may. */
export function wrongDisk(node: NodeRecord, deployment: Deployment, disk: DiskIdentity): string | undefined {
  const wrong = wrongRootDisk(node, disk) ?? foreignDisk(node, deployment, disk);
  if (wrong !== undefined) return wrong;
  const carried = disk.generation;
  const ownEarlierTry = carried === deployment.generation && disk.deploymentId === deployment.id;
  if (carried !== undefined && carried >= deployment.generation && !ownEarlierTry) {
    const wanted = `one older than install generation ${deployment.generation}`;
    return reasonOf(machineErrors.MACHINE_WRONG_DISK({ found: `${found(disk)}, installed by generation ${carried}`, wanted }));
  }
  if (deployment.image.sizeBytes !== undefined && disk.sizeBytes < deployment.image.sizeBytes) {
    return reasonOf(
      machineErrors.MACHINE_WRONG_DISK({ found: found(disk), wanted: `one of at least ${deployment.image.sizeBytes} bytes` }),
    );
  }
  return undefined;
}

/**
 * The plan that was agreed to named the disk that the last deployment wrote. Another one may be a replacement, if it is empty; one that holds
 * something is somebody's.
 */
function foreignDisk(node: NodeRecord, deployment: Deployment, disk: DiskIdentity): string | undefined {
  const known = node.rootDiskSerial ?? node.installed?.disk?.serial;
  const ownEarlierTry = deployment.disk?.serial === disk.serial && deployment.disk?.sizeBytes === disk.sizeBytes;
  if (known === undefined || known === disk.serial || disk.holds === undefined || ownEarlierTry) return undefined;
  return reasonOf(machineErrors.MACHINE_FOREIGN_DISK({ found: found(disk), holds: disk.holds, wanted: known }));
}

function found(disk: DiskIdentity): string {
  return `the disk ${disk.serial ?? 'without a serial number'} of ${disk.sizeBytes} bytes`;
}
