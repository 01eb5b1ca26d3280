/** The boot loader of a machine, as files: what it boots follows from its record (boot-view.ts); here only the loader has to exist. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LOADERS, loaderErrors } from '../boot/index.ts';
import { bootArch } from './boot-view.ts';
import type { NodeRecord } from './node-record.ts';
import type { Bootloader } from './ports.ts';

export interface BootTreeOptions {
  /** [tftp] root. */
  readonly bootRoot: string;
  /** [tftp] loader_dir: what is not below the root is given from there. */
  readonly loaderFolder: string;
}

export function bootTree({ bootRoot, loaderFolder }: BootTreeOptions): Bootloader {
  return {
    async activate(node) {
      const files = loadersOf(node);
      if (files.some((file) => existsSync(join(bootRoot, file)) || existsSync(join(loaderFolder, file)))) return;
      const error = loaderErrors.LOADER_FILES_MISSING({ firmware: node.properties.cpuArch, files, root: bootRoot });
      throw Object.assign(error, { permanent: true });
    },
    // decided by the record's state at each request: nothing to write, nothing that could be left behind
    switchToBoot: () => Promise.resolve(),
    deactivate: () => Promise.resolve(),
  };
}

/** One of them is what it will ask for: BIOS or UEFI is known only when its firmware asks. */
function loadersOf({ properties }: NodeRecord): readonly string[] {
  const arch = bootArch(properties.cpuArch);
  const fitting = LOADERS.filter(({ cpu, firmware }) => arch === undefined || cpu === arch || (firmware === 'bios' && arch === 'x86'));
  return [...new Set(fitting.map(({ file }) => file))];
}
