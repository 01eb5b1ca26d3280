/**
 * What every power driver can do, for the machine's life cycle: IPMI, and in the same shape Redfish, iBoot and VirtualPower.
 *
 * Every command is absolute: "be on", "be off", never "toggle" and never "cycle". Two management nodes may for a moment both believe that they
 * own a machine, since a BMC cannot check an owner's epoch. A repeated, late or stale absolute command does bounded harm: it
 * puts the machine into a state that somebody asked for, and the owner's next poll corrects it. A stale toggle does the
 * opposite of what anybody asked for.
 */
import type { Secret } from 'cdk8s-baremetal-contract/secret';

export type PowerState = 'on' | 'off';

/** `none` removes the override, so that the firmware's own order counts. */
export type BootDevice = 'pxe' | 'disk' | 'cdrom' | 'bios' | 'none';

export interface BootDeviceOptions {
  /** Keep the override after the next boot. */
  readonly persistent: boolean;
  /** Ask for a UEFI boot. Default: legacy, what the machine's firmware makes of an unset bit. */
  readonly efi?: boolean;
}

export interface PowerManager {
  status(signal?: AbortSignal): Promise<PowerState>;
  /** Asks for power; resolves when the driver accepted, which may be seconds before the state shows it. */
  on(signal?: AbortSignal): Promise<void>;
  /** Cuts the power, whatever the operating system is doing. */
  off(signal?: AbortSignal): Promise<void>;
  /** Asks the operating system to shut down; it may not listen. */
  softOff(signal?: AbortSignal): Promise<void>;
  setBootDevice(device: BootDevice, options: BootDeviceOptions, signal?: AbortSignal): Promise<void>;
  /** Lets go of sessions and sockets held for this machine alone. The manager may be used again afterwards. */
  close(): Promise<void>;
}

export type Privilege = 'user' | 'operator' | 'administrator';

/** How to reach one BMC. */
export interface BmcAccess {
  /** IPv4 or IPv6 address. Names are resolved by whoever stores them: answers are matched by address. */
  readonly address: string;
  /** Default 623. */
  readonly port?: number;
  /** At most 16 bytes; empty is the null user. */
  readonly username: string;
  /** At most 20 bytes. */
  readonly password: Secret;
  /** Default: 17 (HMAC-SHA256), then 3 (HMAC-SHA1). Naming one rules out a downgrade by someone on the path. 0 to 2 are weak and never a default. */
  readonly cipherSuite?: 0 | 1 | 2 | 3 | 17;
  /** Session privilege. Default operator: the least that may switch power and set the boot device. */
  readonly privilege?: Privilege;
}

/** How a configuration names a driver. */
export type PowerDriverName = 'ipmi' | 'redfish' | 'iboot' | 'virtual';

/** What a driver's module offers to the composition root. */
export type PowerManagerFactory = (access: BmcAccess) => PowerManager;
