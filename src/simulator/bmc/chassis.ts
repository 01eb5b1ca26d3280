/** The power side of a simulated BMC: what it switches, and how long switching takes. */

import type { Clock, Timer } from 'cdk8s-baremetal-runtime/core/index';
import type { BootFlags, BootSelectorName } from 'cdk8s-baremetal-runtime/power/ipmi/boot-options';
import { BootSelector } from 'cdk8s-baremetal-runtime/power/ipmi/boot-options';

/** What the firmware is told when it starts. */
export interface BootOverride {
  /** `none`: the firmware's own order. */
  readonly device: BootSelectorName;
  readonly efi: boolean;
}

/** The machine as its BMC sees it. Implemented by the machine model; the BMC never looks further. */
export interface Chassis {
  readonly powered: boolean;
  powerOn(boot: BootOverride): void;
  powerOff(): void;
  /** Restarts a machine that is on. */
  reset(boot: BootOverride): void;
  /** The ACPI power button; a machine that does not listen stays on. Absent: it goes off after the soft-off delay. */
  softOff?(): void;
  /** A non-maskable interrupt. */
  diagnosticInterrupt?(): void;
}

export interface ChassisDelays {
  /** From the command to power. Default 0 for all of them. */
  readonly onMs?: number;
  readonly offMs?: number;
  readonly softOffMs?: number;
  /** Between off and on of a power cycle; at least 1 s by the specification (section 28.3). Default 1,000. */
  readonly cycleMs?: number;
}

/** Carries out chassis commands. A later command replaces one that has not happened yet, as on a real board's sequencer. */
export class PowerSequencer {
  /** Injectable fault: commands are accepted and nothing happens. */
  stuck = false;
  /** Table 28-11: 0 unknown, 1 by command. */
  restartCause = 0;
  #pending: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly chassis: Chassis,
    private readonly delays: ChassisDelays,
    /** The override for the boot that is about to happen; consumes one-time flags. */
    private readonly takeBoot: () => BootOverride,
    /** The power really changed. */
    private readonly onChange: (powered: boolean) => void = () => undefined,
  ) {}

  get powered(): boolean {
    return this.chassis.powered;
  }

  on(): void {
    this.#later(this.delays.onMs, () => {
      if (!this.chassis.powered) this.#switchOn();
    });
  }

  off(): void {
    this.#later(this.delays.offMs, () => {
      if (this.chassis.powered) this.#switchOff();
    });
  }

  diagnosticInterrupt(): void {
    if (!this.stuck) this.chassis.diagnosticInterrupt?.();
  }

  softOff(): void {
    this.#later(this.delays.softOffMs, () => {
      if (!this.chassis.powered) return;
      if (this.chassis.softOff) this.chassis.softOff();
      else this.#switchOff();
    });
  }

  reset(): void {
    this.#later(0, () => {
      if (!this.chassis.powered) return;
      this.restartCause = 1;
      this.chassis.reset(this.takeBoot());
    });
  }

  cycle(): void {
    this.#later(this.delays.offMs, () => {
      if (this.chassis.powered) this.#switchOff();
      this.#later(this.delays.cycleMs ?? 1000, () => {
        if (!this.chassis.powered) this.#switchOn();
      });
    });
  }

  close(): void {
    this.#pending?.cancel();
  }

  #switchOn(): void {
    this.restartCause = 1;
    this.chassis.powerOn(this.takeBoot());
    this.onChange(true);
  }

  #switchOff(): void {
    this.chassis.powerOff();
    this.onChange(false);
  }

  #later(delayMs: number | undefined, action: () => void): void {
    if (this.stuck) return;
    this.#pending?.cancel();
    if (delayMs) this.#pending = this.clock.after(delayMs, action);
    else action();
  }
}

/** Boot options of one BMC (IPMI v2.0 rev 1.1 Table 28-14), with the 60 s after which unused flags are forgotten. */
export class BootOptions {
  inProgress = 0;
  /** Parameter 3: events that do NOT clear the valid bit. */
  keep = 0;
  acknowledge = 0;
  #flags: Buffer = Buffer.alloc(5);
  #setAtMs = 0;

  constructor(private readonly clock: Clock) {}

  /** The five bytes of parameter 5 as they count now. */
  get raw(): Buffer {
    const expired = (this.keep & KEEP_ON_TIMEOUT_BIT) === 0 && this.clock.monotonic() - this.#setAtMs > FLAGS_LIVE_MS;
    if (expired) this.#flags = Buffer.from(this.#flags).fill(this.#flags.readUInt8(0) & ~VALID, 0, 1);
    return this.#flags;
  }

  set raw(flags: Uint8Array) {
    this.#flags = Buffer.alloc(5);
    this.#flags.set(flags.subarray(0, 5));
    this.#setAtMs = this.clock.monotonic();
  }

  get flags(): BootFlags {
    const first = this.raw.readUInt8(0);
    const selector = (this.raw.readUInt8(1) >> 2) & 0x0f;
    return { valid: (first & VALID) !== 0, persistent: (first & 0x40) !== 0, efi: (first & 0x20) !== 0, selector };
  }

  /** For a boot that happens now. */
  take(): BootOverride {
    const { valid, persistent, efi, selector } = this.flags;
    if (!valid) return { device: 'none', efi: false };
    if (persistent)
      this.#setAtMs = Number.POSITIVE_INFINITY; // obeyed once: the time-out is over
    else this.#flags = Buffer.alloc(5);
    const device = (Object.keys(BootSelector) as BootSelectorName[]).find((name) => BootSelector[name] === selector) ?? 'none';
    return { device, efi };
  }
}

const VALID = 0x80;
const KEEP_ON_TIMEOUT_BIT = 0x08;
const FLAGS_LIVE_MS = 60_000;
