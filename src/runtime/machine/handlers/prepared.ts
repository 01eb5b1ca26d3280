import type { Handler } from '../handler.ts';
import { done, failed, waitFor } from '../results.ts';
import { keepPowered } from './network-boot.ts';

/** Waits for the ramdisk's POST, which any replica accepts into the record. The deadline is the state's. */
export const prepared: Handler = async (context) => {
  const { deployment } = context.node;
  if (deployment === undefined) return failed('the deployment is gone');
  if (deployment.reportedError !== undefined) return failed(`the deploy ramdisk reported: ${deployment.reportedError}`); // N1
  if (deployment.claim === undefined) return waitFor(await keepPowered(context));
  const { address, port, lun, disk } = deployment.claim;
  if (disk !== undefined)
    return done('deploying', `the deploy ramdisk at ${address} pulls the image for its disk ${disk.serial ?? 'without a serial number'}`);
  return done('deploying', `the deploy ramdisk exports its disk at ${address}:${port}, LUN ${lun}`);
};
