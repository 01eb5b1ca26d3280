/** pxelinux.cfg/01-<mac>: the seed's template, label by label. pxelinux takes everything up to the end of the line as it is. */
import { commandLine, type LoaderContext, type LoaderEntry, type LoaderMenu } from './menu.ts';

export function renderPxelinux(menu: LoaderMenu, { pxelinuxLocal }: LoaderContext): string {
  if (menu.kind === 'local') {
    // N12: localboot 0 unloads PXE and calls INT 18h, so that the BIOS goes on with its next device
    const leave = pxelinuxLocal === 'localboot' ? ['localboot 0'] : ['kernel chain.c32', 'append hd0 0'];
    return `${['default local', '', 'label local', ...leave].join('\n')}\n`;
  }
  const labels = menu.entries.map((entry) => `label ${entry.label}\n${renderEntry(entry)}\n`);
  return [`default ${menu.entries[0].label}\n`, ...labels].join('\n');
}

function renderEntry(entry: LoaderEntry): string {
  const args = commandLine(entry, 'pxelinux', /(?!)/);
  return [
    `kernel ${entry.kernel}`,
    `append initrd=${entry.ramdisk} ${args.join(' ')}`,
    ...(entry.tellAddress ? ['ipappend 3'] : []), // 1: ip=client:server:gateway:netmask, 2: BOOTIF=01-<mac>
  ].join('\n');
}
