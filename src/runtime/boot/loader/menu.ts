/** What every loader is told, before it is written in the loader's own language. */
import type { BootIntent, BootLease } from '../machine.ts';
import { loaderErrors } from './errors.ts';

export type LoaderFormat = 'pxelinux' | 'grub' | 'ipxe';

export interface LoaderEntry {
  readonly label: 'deploy' | 'boot';
  /** Path below the boot root. */
  readonly kernel: string;
  readonly ramdisk: string;
  readonly args: readonly string[];
  /** The ramdisk wants BOOTIF=01-<mac> and ip=client:server:gateway:netmask, as pxelinux adds them for `ipappend 3`. */
  readonly tellAddress: boolean;
}

export type LoaderMenu =
  /** The first entry is the one that starts. */
  { readonly kind: 'entries'; readonly entries: readonly [LoaderEntry, ...LoaderEntry[]] } | { readonly kind: 'local' };

export interface LoaderContext {
  /** The interface that boots. */
  readonly mac: string;
  /** The address that it holds, where the DHCP service knows. */
  readonly lease?: BootLease;
  /** How pxelinux leaves: back to the BIOS, or by syslinux's chain.c32 where the BIOS hangs on the former. */
  readonly pxelinuxLocal: 'localboot' | 'chain';
}

/** Device names below /dev in the order in which the ramdisk tries them, as in the seed's template. */
const DISKS = ['cciss/c0d0', 'sda', 'hda', 'vda'];
/** The seed's placeholder for the root device before the deployment knows it. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: the literal text
const UNKNOWN_ROOT = '${ROOT}';
const LONGEST_COMMAND_LINE = 2047; // x86 COMMAND_LINE_SIZE 2048 with its NUL; other architectures have the same or more

/** Undefined where the machine is not to be given a configuration at all. */
export function menuOf(uuid: string, boot: BootIntent): LoaderMenu | undefined {
  switch (boot.kind) {
    case 'deploy': {
      const deploy: LoaderEntry = {
        label: 'deploy',
        kernel: `${uuid}/deploy_kernel`,
        ramdisk: `${uuid}/deploy_ramdisk`,
        args: [
          'selinux=0',
          `disk=${DISKS.join(',')}`,
          `iscsi_target_iqn=${required('iscsiTargetIqn', boot.iscsiTargetIqn)}`,
          `deployment_id=${required('deploymentId', boot.deploymentId)}`,
          `deployment_key=${required('deploymentKey', boot.deploymentKey)}`,
          'troubleshoot=0',
          ...words(boot.append),
        ],
        tellAddress: true,
      };
      if (!boot.next) return { kind: 'entries', entries: [deploy] };
      return { kind: 'entries', entries: [deploy, ownKernel(uuid, boot.next.root ?? UNKNOWN_ROOT, boot.next.append)] };
    }
    case 'network':
      return { kind: 'entries', entries: [ownKernel(uuid, required('root', boot.root), boot.append)] };
    case 'local-disk':
      return { kind: 'local' };
    case 'none':
      return undefined;
  }
}

/** Refuses what would end the line or the word, then joins. Field names only in the error. */
export function commandLine(entry: LoaderEntry, loader: LoaderFormat, forbidden: RegExp, extra: readonly string[] = []): readonly string[] {
  const args = [...entry.args, ...extra];
  for (const arg of [entry.kernel, entry.ramdisk, ...args]) {
    const character = /[^\x20-\x7e]/.exec(arg) ?? /['"\\`]/.exec(arg) ?? forbidden.exec(arg) ?? / /.exec(arg);
    if (character) throw loaderErrors.LOADER_BAD_VALUE({ field: fieldOf(arg), character: show(character[0]), loader });
  }
  const bytes = args.join(' ').length;
  if (bytes > LONGEST_COMMAND_LINE)
    throw loaderErrors.LOADER_COMMAND_LINE_TOO_LONG({ label: entry.label, bytes, limit: LONGEST_COMMAND_LINE });
  return args;
}

function ownKernel(uuid: string, root: string, append: string | undefined): LoaderEntry {
  return {
    label: 'boot',
    kernel: `${uuid}/kernel`,
    ramdisk: `${uuid}/ramdisk`,
    args: [`root=${root}`, 'ro', ...words(append)],
    tellAddress: false,
  };
}

/** Splits at spaces only: a line break must stay visible, so that it is refused and not smoothed over. */
function words(append: string | undefined): readonly string[] {
  return (append ?? '').split(/ +/).filter((word) => word !== '');
}

function required(field: string, value: string): string {
  if (value === '') throw loaderErrors.LOADER_EMPTY_VALUE({ field });
  return value;
}

function fieldOf(arg: string): string {
  const name = /^([A-Za-z0-9_.-]{1,40})=/.exec(arg)?.[1];
  return name ? `the value of ${name}` : 'a kernel argument';
}

function show(character: string): string {
  if (character === '\n' || character === '\r') return 'a line break';
  if (character === ' ') return 'a space';
  return /^[\x21-\x7e]+$/.test(character)
    ? `"${character}"`
    : `the character U+${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`;
}
