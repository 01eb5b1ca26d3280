/** grub.cfg-01-<mac>, for UEFI. Paths start with "/": $root is the server that GRUB itself was loaded from, by TFTP or HTTP. */
import { dashedMac } from '../machine.ts';
import { commandLine, type LoaderContext, type LoaderEntry, type LoaderMenu } from './menu.ts';

/** Where an installed system leaves its loader on the EFI system partition; the removable-media path comes last, since it may be a rescue loader. */
const INSTALLED_LOADERS = [
  'debian/shim',
  'ubuntu/shim',
  'redhat/shim',
  'centos/shim',
  'rocky/shim',
  'almalinux/shim',
  'opensuse/shim',
  'debian/grub',
  'ubuntu/grub',
  'BOOT/BOOT',
];
/** $grub_cpu -> suffix of EFI programs (UEFI specification section 3.5.1.1). */
const EFI_SUFFIX = { x86_64: 'x64', i386: 'ia32', arm64: 'aa64', arm: 'arm' } as const;

export function renderGrub(menu: LoaderMenu, context: LoaderContext): string {
  if (menu.kind === 'local') return LOCAL;
  const entries = menu.entries.map((entry) => renderEntry(entry, context));
  return ['set timeout=0', `set default=${menu.entries[0].label}`, '', ...entries].join('\n');
}

function renderEntry(entry: LoaderEntry, context: LoaderContext): string {
  const args = commandLine(entry, 'grub', /(?!)/).map(quoted);
  const address = entry.tellAddress ? [`BOOTIF=01-${dashedMac(context.mac)}`, addressArgument(context)] : [];
  return [
    `menuentry ${entry.label} --id ${entry.label} {`,
    `  linux ${quoted(`/${entry.kernel}`)} ${[...args, ...address].join(' ')}`,
    `  initrd ${quoted(`/${entry.ramdisk}`)}`,
    '}',
    '',
  ].join('\n');
}

/** GRUB has no variable for gateway and netmask: the lease's own values where we gave it, else what GRUB knows. */
function addressArgument({ lease }: LoaderContext): string {
  if (!lease) return 'ip=$net_default_ip:$net_default_server::';
  return `ip=${lease.address}:${lease.server ?? '$net_default_server'}:${lease.gateway ?? ''}:${lease.netmask ?? ''}`;
}

/** A single-quoted word is literal in GRUB's language; commandLine has refused quotes inside. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_./:=,+-]+$/.test(word) ? word : `'${word}'`;
}

/**
 * N12. Plain `exit` is not enough: it reports success, after which EDK2 opens its setup menu instead of the next boot option. So GRUB starts the
 * installed loader itself, and says failure when it finds none.
 */
const LOCAL = [
  'set timeout=0',
  ...Object.entries(EFI_SUFFIX).map(([cpu, suffix]) => `if [ "$grub_cpu" = "${cpu}" ]; then set suffix=${suffix}; fi`),
  `for loader in ${INSTALLED_LOADERS.join(' ')}; do`,
  '  if search --no-floppy --set=esp --file "/EFI/$loader$suffix.efi"; then',
  '    chainloader "($esp)/EFI/$loader$suffix.efi"',
  '    boot',
  '  fi',
  'done',
  'exit 1',
  '',
].join('\n');
