/** What the boot plane needs to know of a machine, and the port through which it asks. The store behind it is none of its business. */
export interface BootMachine {
  /** The node's record, e.g. its number or name; goes into logs and explanations. */
  readonly id: string;
  /** Names the machine's directory in the boot tree: `<uuid>/kernel`, `<uuid>/config` … */
  readonly uuid: string;
  /** Every network interface that may boot. */
  readonly interfaces: readonly BootInterface[];
  /** What the record believes; the request's own word (option 93) wins. */
  readonly firmware?: 'bios' | 'uefi';
  readonly arch?: 'x86' | 'x86_64' | 'arm' | 'arm64';
  readonly boot: BootIntent;
  /** It enrolled itself by asking, and nobody has completed it: DHCP treats it as unknown. @default false */
  readonly incomplete?: boolean;
}

export interface BootInterface {
  readonly mac: string;
  /** The address that DHCP gives to this interface. @default one from the pool */
  readonly address?: string;
  readonly hostname?: string;
}

/** What the machine shall do at its next start. File names are paths below the boot root. */
export type BootIntent =
  /** Start the ramdisk that exports the disk to the deploy helper. */
  | {
      readonly kind: 'deploy';
      readonly kernel: string;
      readonly ramdisk: string;
      readonly iscsiTargetIqn: string;
      readonly deploymentId: string;
      /** The nonce that proves that the ramdisk was started by us. A secret: never logged. */
      readonly deploymentKey: string;
      readonly append?: string;
      /** The only source address that may fetch the key, besides having to hold the machine's lease. @default any lease of the machine */
      readonly allowedAddress?: string;
      /** Wall-clock milliseconds after which the key is not handed out any more. @default never */
      readonly keyExpiresAtMs?: number;
      /** What the machine boots over the network afterwards; rendered as the second, not chosen, entry. */
      readonly next?: { readonly kernel: string; readonly ramdisk: string; readonly root?: string; readonly append?: string };
    }
  /** Start the instance's own kernel over the network. */
  | { readonly kind: 'network'; readonly kernel: string; readonly ramdisk: string; readonly root: string; readonly append?: string }
  /** Start what is on the disk. */
  | { readonly kind: 'local-disk' }
  /** Nothing of ours: no boot file. */
  | { readonly kind: 'none'; readonly reason: string };

/** Rejects when the store does not answer; the request is then left unanswered and the client asks again. */
export interface BootMachines {
  /** `mac` as `aa:bb:cc:dd:ee:ff`. */
  findMachine(mac: string): Promise<BootMachine | undefined>;
  findMachineByUuid(uuid: string): Promise<BootMachine | undefined>;
  /** The interface that a record reserves the address for, once a machine was asked for. @default none is reserved for machines that do not ask */
  reservedFor?(address: string): string | undefined;
}

/** An address that a machine holds, as the DHCP service knows it. */
export interface BootLease {
  readonly mac: string;
  readonly address: string;
  /** Boot server. @default the one that the loader was told */
  readonly server?: string;
  readonly gateway?: string;
  readonly netmask?: string;
}

/** `aa:bb:cc:dd:ee:ff` of a MAC with colons, dashes or neither, in any case; undefined for anything else. */
export function normalizeMac(text: string): string | undefined {
  if (!/^([0-9a-f]{2})(:?[0-9a-f]{2}){5}$|^([0-9a-f]{2})(-[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return (text.replaceAll(/[:-]/g, '').toLowerCase().match(/../g) ?? []).join(':');
}

/** `aa-bb-cc-dd-ee-ff`, as pxelinux and GRUB write it. */
export function dashedMac(mac: string): string {
  return mac.replaceAll(':', '-');
}
