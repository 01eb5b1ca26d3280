import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { machineErrors } from '../errors.ts';

/** Volumes as files, or links to block devices, in one folder, named by their ids. */
export function volumeFolder(folder: string): (volume: string) => Promise<string> {
  return async (volume) => {
    const refuse = (reason: string): Error => Object.assign(machineErrors.MACHINE_VOLUME({ volume, reason }), { permanent: true });
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/.test(volume))
      throw refuse('it is not a name of letters, digits, dots, dashes and underscores');
    const path = join(folder, volume);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) throw refuse(`${path} does not exist`);
    if (!found.isFile() && !found.isBlockDevice()) throw refuse(`${path} is neither a file nor a block device`);
    return path;
  };
}
