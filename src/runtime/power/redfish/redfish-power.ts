/** The PowerManager of machines with a Redfish service (DMTF schemas ComputerSystem and ActionInfo). Cheap to make: sessions belong to `RedfishServices`. */
import { codeOf, powerErrors } from '../errors.ts';
import type { BootDevice, BootDeviceOptions, PowerManager, PowerState } from '../power-manager.ts';
import { asObject, at, type Json, linksAt, nextTextOf, textsAt } from './json.ts';
import type { Answer, RedfishClient } from './redfish-client.ts';

export interface RedfishBoot {
  /** BootSourceOverrideTarget: None, Pxe, Hdd, Cd, BiosSetup … */
  readonly target: string;
  /** Disabled, Once or Continuous. */
  readonly enabled: string;
  /** UEFI or Legacy; absent where the service does not tell. */
  readonly mode?: string | undefined;
}

const TARGETS: Readonly<Record<BootDevice, string>> = { pxe: 'Pxe', disk: 'Hdd', cdrom: 'Cd', bios: 'BiosSetup', none: 'None' };

/** Of each: the first that the service offers. All are absolute: PushPowerButton and PowerCycle are not. */
const RESETS = {
  on: ['On', 'ForceOn'],
  off: ['ForceOff'],
  softOff: ['GracefulShutdown'],
  reset: ['ForceRestart'],
  diagnosticInterrupt: ['Nmi'],
} as const;
export type RedfishReset = keyof typeof RESETS;

const RESET = '#ComputerSystem.Reset';
const SYSTEMS = '/redfish/v1/Systems';

export class RedfishPower implements PowerManager {
  #path: string | undefined;

  constructor(
    private readonly client: RedfishClient,
    /** Path of the system; absent: the service's only one. */
    private readonly system: string | undefined,
    private readonly onClose: () => Promise<void>,
  ) {}

  /** Throws REDFISH_POWER_CHANGING between the two: whoever waits for the state that it is leaving would have it, and lose it. */
  async status(signal?: AbortSignal): Promise<PowerState> {
    const { json } = await this.#read(signal);
    const { bmc } = this.client;
    switch (json.PowerState) {
      case 'On':
      case 'Paused':
        return 'on';
      case 'Off':
        return 'off';
      case 'PoweringOn':
      case 'PoweringOff':
        throw powerErrors.REDFISH_POWER_CHANGING({ bmc, state: json.PowerState });
      default:
        throw powerErrors.REDFISH_BAD_ANSWER({ bmc, problem: `the power state ${String(json.PowerState)}` });
    }
  }

  async on(signal?: AbortSignal): Promise<void> {
    await this.#switch('on', 'on', signal);
  }

  async off(signal?: AbortSignal): Promise<void> {
    await this.#switch('off', 'off', signal);
  }

  async softOff(signal?: AbortSignal): Promise<void> {
    await this.#switch('softOff', 'off', signal);
  }

  /** ComputerSystem.Reset with the first fitting ResetType that the service says it takes. */
  async reset(kind: RedfishReset, signal?: AbortSignal): Promise<void> {
    const { json } = await this.#read(signal);
    const { bmc } = this.client;
    const target = nextTextOf(json, 'Actions', RESET, 'target');
    if (target === undefined) throw powerErrors.REDFISH_NOT_OFFERED({ bmc, what: RESET, offered: [] });
    const offered = await this.#offered(at(json, 'Actions', RESET), signal);
    const type = RESETS[kind].find((one) => offered === undefined || offered.includes(one));
    if (type === undefined) throw powerErrors.REDFISH_NOT_OFFERED({ bmc, what: RESETS[kind].join(' or '), offered: offered ?? [] });
    await this.client.ask({ method: 'POST', path: target, body: { ResetType: type } }, signal);
  }

  /** Written against the version that was read, and read back: an answer of 200 alone is no proof. */
  async setBootDevice(device: BootDevice, { persistent, efi }: BootDeviceOptions, signal?: AbortSignal): Promise<void> {
    const { bmc } = this.client;
    const target = TARGETS[device];
    const enabled = device === 'none' ? 'Disabled' : persistent ? 'Continuous' : 'Once';
    let answer: Answer | undefined;
    for (let tries = 0; tries < 2; tries++) {
      const read = await this.#read(signal);
      const boot = asObject(read.json.Boot);
      const targets = textsAt(boot, 'BootSourceOverrideTarget@Redfish.AllowableValues');
      if (targets && device !== 'none' && !targets.includes(target))
        throw powerErrors.REDFISH_NOT_OFFERED({ bmc, what: `booting ${target}`, offered: targets });
      const mode =
        efi === undefined || device === 'none' || boot.BootSourceOverrideMode === undefined ? undefined : efi ? 'UEFI' : 'Legacy';
      const wanted = {
        BootSourceOverrideEnabled: enabled,
        ...(device !== 'none' && { BootSourceOverrideTarget: target }),
        ...(mode !== undefined && { BootSourceOverrideMode: mode }),
      };
      const etag = read.headers.etag ?? nextTextOf(read.json, '@odata.etag');
      answer = await this.client.ask({ method: 'PATCH', path: await this.#systemPath(signal), body: { Boot: wanted }, etag }, signal);
      if (answer.status === 412) continue; // somebody else wrote meanwhile
      const kept = await this.boot(signal);
      const same = kept.enabled === enabled && (device === 'none' || kept.target === target) && (mode === undefined || kept.mode === mode);
      if (same) return;
      throw powerErrors.REDFISH_BOOT_NOT_KEPT({
        bmc,
        asked: [target, enabled, mode ?? ''].join(' ').trim(),
        found: [kept.target, kept.enabled, kept.mode ?? ''].join(' ').trim(),
      });
    }
    throw powerErrors.REDFISH_REFUSED({ bmc, what: 'the boot device', why: '412 the system changes between reading and writing' });
  }

  async boot(signal?: AbortSignal): Promise<RedfishBoot> {
    const { json } = await this.#read(signal);
    return {
      target: nextTextOf(json, 'Boot', 'BootSourceOverrideTarget') ?? 'None',
      enabled: nextTextOf(json, 'Boot', 'BootSourceOverrideEnabled') ?? 'Disabled',
      mode: nextTextOf(json, 'Boot', 'BootSourceOverrideMode'),
    };
  }

  close(): Promise<void> {
    return this.onClose();
  }

  /** On when on is an error for many services: absolute means that this is success. */
  async #switch(kind: 'on' | 'off' | 'softOff', wanted: PowerState, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.reset(kind, signal);
    } catch (error) {
      const unwilling = codeOf(error) === 'REDFISH_REFUSED' || codeOf(error) === 'REDFISH_TASK';
      if (!unwilling || (await this.status(signal)) !== wanted) throw error;
    }
  }

  async #read(signal: AbortSignal | undefined): Promise<Answer> {
    return this.client.get(await this.#systemPath(signal), signal);
  }

  async #systemPath(signal: AbortSignal | undefined): Promise<string> {
    this.#path ??= this.system ?? (await this.#onlySystem(signal));
    return this.#path;
  }

  async #onlySystem(signal: AbortSignal | undefined): Promise<string> {
    const { json } = await this.client.get(SYSTEMS, signal);
    const systems = linksAt(json, 'Members');
    const [only] = systems;
    if (only === undefined || systems.length > 1) throw powerErrors.REDFISH_SYSTEM({ bmc: this.client.bmc, systems });
    return only;
  }

  /** Undefined: the service does not say what it takes. */
  async #offered(action: unknown, signal: AbortSignal | undefined): Promise<readonly string[] | undefined> {
    const inline = textsAt(action, 'ResetType@Redfish.AllowableValues');
    const info = nextTextOf(action, '@Redfish.ActionInfo');
    if (inline || info === undefined) return inline;
    const parameters: unknown = (await this.client.get(info, signal)).json.Parameters;
    const reset = Array.isArray(parameters) ? parameters.find((one: unknown) => at(one, 'Name') === 'ResetType') : undefined;
    return textsAt(reset as Json | undefined, 'AllowableValues');
  }
}
