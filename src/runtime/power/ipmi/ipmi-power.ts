/** The PowerManager of machines with an IPMI 2.0 BMC. Cheap to make: sessions and sockets belong to the gateway. */
import { codeOf, powerErrors } from '../errors.ts';
import type { BmcAccess, BootDevice, BootDeviceOptions, PowerManager, PowerState } from '../power-manager.ts';
import { type CheckedAccess, checkAccess } from './access.ts';
import {
  ACKNOWLEDGE_BIOS,
  type BootFlags,
  BootParameter,
  BootSelector,
  decodeBootFlags,
  encodeBootFlags,
  KEEP_ON_TIMEOUT,
} from './boot-options.ts';
import {
  chassisControl,
  type DeviceId,
  getBootOption,
  getChassisStatus,
  getDeviceId,
  type IpmiCommand,
  setBootOption,
} from './commands.ts';
import type { IpmiGateway } from './gateway.ts';
import { quirksOf } from './quirks.ts';
import { unlessAborted } from './turnstile.ts';

export class IpmiPower implements PowerManager {
  readonly #gateway: IpmiGateway;
  readonly #access: CheckedAccess;
  #device: DeviceId | undefined;

  /** Throws POWER_ACCESS_INVALID. */
  constructor(gateway: IpmiGateway, access: BmcAccess) {
    this.#gateway = gateway;
    this.#access = checkAccess(access);
  }

  async status(signal?: AbortSignal): Promise<PowerState> {
    const { powerOn } = await this.#run(getChassisStatus, signal);
    return powerOn ? 'on' : 'off';
  }

  async on(signal?: AbortSignal): Promise<void> {
    await this.#control('on', 'on', signal);
  }

  async off(signal?: AbortSignal): Promise<void> {
    await this.#control('off', 'off', signal);
  }

  async softOff(signal?: AbortSignal): Promise<void> {
    await this.#control('softOff', 'off', signal);
  }

  /**
   * What `ipmitool chassis bootdev` and careful firmware ask for, in this order: claim the parameters, keep the flags beyond 60 s, mark them
   * unread by the BIOS, write them, release the claim. Only the flags themselves must succeed: the others are
   * optional in the specification and missing in many BMCs.
   */
  async setBootDevice(device: BootDevice, options: BootDeviceOptions, signal?: AbortSignal): Promise<void> {
    let claimed: boolean | undefined;
    try {
      claimed = await this.#optional(setBootOption(BootParameter.setInProgress, Uint8Array.of(1)), signal);
      await this.#optional(setBootOption(BootParameter.validBitClearing, Uint8Array.of(KEEP_ON_TIMEOUT)), signal);
      await this.#optional(setBootOption(BootParameter.infoAcknowledge, ACKNOWLEDGE_BIOS), signal);
      const selector = await this.#selector(device, options, signal);
      const flags = { valid: true, persistent: options.persistent, efi: options.efi ?? false, selector };
      await this.#run(setBootOption(BootParameter.bootFlags, encodeBootFlags(flags)), signal);
      await this.#verify(device, flags, signal);
    } finally {
      if (claimed ?? signal?.aborted) await this.#release(signal); // who gave up before the answer may have claimed it
    }
  }

  /** Also for a caller that gave up, who does not wait for it: a BMC that stays claimed refuses the next one's settings. */
  async #release(signal: AbortSignal | undefined): Promise<void> {
    const released = this.#optional(setBootOption(BootParameter.setInProgress, Uint8Array.of(0)), undefined);
    if (!signal?.aborted) await unlessAborted(released, signal);
    else released.catch(() => undefined);
  }

  /**
   * A BMC that keeps other flags than it accepted would boot the wrong device: said now, not after the machine is up. Flags that read back as not valid say
   * nothing, since many BMCs clear the bit and obey; nor does a BMC that cannot read them back.
   */
  async #verify(device: BootDevice, wanted: BootFlags, signal: AbortSignal | undefined): Promise<void> {
    let kept: BootFlags;
    try {
      kept = await this.bootFlags(signal);
    } catch (error) {
      if (codeOf(error) === 'IPMI_COMPLETION' || codeOf(error) === 'IPMI_BAD_ANSWER') return;
      throw error;
    }
    if (!kept.valid || kept.selector === wanted.selector) return;
    const found = Object.entries(BootSelector).find(([, selector]) => selector === kept.selector)?.[0] ?? `device ${kept.selector}`;
    throw powerErrors.IPMI_BOOT_NOT_KEPT({ bmc: this.#access.bmc, device, found });
  }

  /** The flags as the BMC reads them back; some BMCs show `valid: false` for flags that they do obey. */
  async bootFlags(signal?: AbortSignal): Promise<BootFlags> {
    return decodeBootFlags(await this.#run(getBootOption(BootParameter.bootFlags), signal));
  }

  deviceId(signal?: AbortSignal): Promise<DeviceId> {
    return this.#run(getDeviceId, signal);
  }

  close(): Promise<void> {
    return this.#gateway.release(this.#access);
  }

  #run<T>(command: IpmiCommand<T>, signal: AbortSignal | undefined): Promise<T> {
    return this.#gateway.run(this.#access, command, signal);
  }

  /** Some BMCs answer D5h, "not supported in present state", to "on" when on: absolute means that this is success. */
  async #control(action: 'on' | 'off' | 'softOff', wanted: PowerState, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#run(chassisControl(action), signal);
    } catch (error) {
      if (codeOf(error) !== 'IPMI_COMPLETION' || (await this.status(signal)) !== wanted) throw error;
    }
  }

  async #selector(device: BootDevice, { efi }: BootDeviceOptions, signal: AbortSignal | undefined): Promise<number> {
    if (device !== 'disk' || !efi) return BootSelector[device];
    this.#device ??= await this.deviceId(signal);
    return quirksOf(this.#device).find(({ uefiDiskSelector }) => uefiDiskSelector !== undefined)?.uefiDiskSelector ?? BootSelector.disk;
  }

  async #optional(command: IpmiCommand<void>, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await this.#run(command, signal);
      return true;
    } catch (error) {
      if (codeOf(error) !== 'IPMI_COMPLETION') throw error;
      return false;
    }
  }
}
