/** The boot loader of a machine, as files: what it boots follows from its record (boot-view.ts); here only the loader has to exist. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { machineImageErrors } from './image-errors.ts';
import type { Bootloader } from './ports.ts';

export interface BootTreeOptions {
  /** [tftp] root. */
  readonly bootRoot: string;
  /** A loader that must be there before a machine is sent to it. */
  readonly loader?: string;
}

export function bootTree({ bootRoot, loader = 'pxelinux.0' }: BootTreeOptions): Bootloader {
  return {
    async activate() {
      const path = join(bootRoot, loader);
      if (existsSync(path)) return;
      throw Object.assign(machineImageErrors.MACHINE_IMAGE({ image: path, reason: 'the boot loader is missing' }), { permanent: true });
    },
    // decided by the record's state at each request: nothing to write, nothing that could be left behind
    switchToBoot: () => Promise.resolve(),
    deactivate: () => Promise.resolve(),
  };
}
