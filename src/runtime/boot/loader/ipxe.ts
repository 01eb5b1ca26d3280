/** <mac>.ipxe. Names without a scheme are relative to the script's own address, so one text serves TFTP and HTTP. */
import { dashedMac } from '../machine.ts';
import { commandLine, type LoaderContext, type LoaderMenu } from './menu.ts';

export function renderIpxe(menu: LoaderMenu, context: LoaderContext): string {
  if (menu.kind === 'local') return LOCAL;
  const [entry] = menu.entries; // a script has no menu to choose from: the entry that starts is the script
  const name = entry.ramdisk.slice(entry.ramdisk.lastIndexOf('/') + 1);
  // `$` starts an expansion and cannot be escaped; `&&`, `||`, `;` and `#` are read as syntax
  const args = commandLine(entry, 'ipxe', /\$|&&|\|\||;|#/);
  const address = entry.tellAddress ? [`BOOTIF=01-${dashedMac(context.mac)}`, IPXE_ADDRESS] : [];
  return [
    '#!ipxe',
    // initrd= with the image's name: the kernel's EFI stub finds its ramdisk by it
    `kernel ${entry.kernel} ${[`initrd=${name}`, ...args, ...address].join(' ')} || goto failed`,
    `initrd ${entry.ramdisk} || goto failed`,
    'boot || goto failed',
    ':failed',
    `echo The ${entry.label} kernel could not be started; trying again in 10 seconds.`,
    'sleep 10',
    'reboot',
    '',
  ].join('\n');
}

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: expanded by iPXE
/** N12. UEFI goes on with its next boot option when a program fails; a BIOS disk is started from here. */
const LOCAL = ['#!ipxe', 'iseq ${platform} efi && exit 1 ||', 'sanboot --no-describe --drive 0x80 || exit 1', ''].join('\n');

const IPXE_ADDRESS = 'ip=${ip}:${next-server}:${gateway}:${netmask}';
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: expanded by iPXE
