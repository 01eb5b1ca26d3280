import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import {
  activate,
  type PowerManager,
  type PowerOutcome,
  type PowerState,
  powerErrors,
  powerOff,
  powerOn,
  reboot,
  softPowerOff,
} from 'cdk8s-baremetal-runtime/power/index';
import { describe, expect, it } from 'vitest';
import { makeLab, VirtualClock } from './support.ts';

type Look = PowerState | 'fails';

/** A driver that answers from a script and writes down what it was asked. */
class ScriptedPower implements PowerManager {
  readonly calls: string[] = [];

  constructor(
    private readonly looks: Look[],
    private readonly failures: { on?: number; off?: number; boot?: Error } = {},
  ) {}

  async status(): Promise<PowerState> {
    this.calls.push('status');
    const look = this.looks.length > 1 ? this.looks.shift() : this.looks[0];
    if (look === undefined || look === 'fails') throw powerErrors.IPMI_NO_ANSWER({ bmc: 'b', what: 'status', tries: 1, waitedMs: 1 });
    return look;
  }

  async on(): Promise<void> {
    this.calls.push('on');
    this.failOnce('on');
  }

  async off(): Promise<void> {
    this.calls.push('off');
    this.failOnce('off');
  }

  async softOff(): Promise<void> {
    this.calls.push('softOff');
  }

  async setBootDevice(device: string, { persistent }: { persistent: boolean }): Promise<void> {
    this.calls.push(`bootdev ${device}${persistent ? ' persistent' : ''}`);
    if (this.failures.boot) throw this.failures.boot;
  }

  async close(): Promise<void> {
    this.calls.push('close');
  }

  private failOnce(command: 'on' | 'off'): void {
    const left = this.failures[command] ?? 0;
    this.failures[command] = left - 1;
    if (left > 0) throw powerErrors.IPMI_COMPLETION({ bmc: 'b', command, completion: 'C0h (node busy)' });
  }
}

type Verb = typeof powerOn;

interface Scenario {
  readonly name: string;
  readonly verb: Verb;
  readonly looks: Look[];
  readonly failures?: { on?: number; off?: number; boot?: Error };
  readonly retry?: number;
  readonly calls: string;
  readonly outcome: Partial<PowerOutcome>;
  readonly ms?: number;
}

const scenarios: Scenario[] = [
  { name: 'already on', verb: powerOn, looks: ['on'], calls: 'status', outcome: { state: 'active', retries: 0 }, ms: 0 },
  { name: 'on ok', verb: powerOn, looks: ['off', 'on'], calls: 'status on status', outcome: { state: 'active', retries: 1 }, ms: 1000 },
  {
    name: 'on fail (retry = 0)',
    verb: powerOn,
    looks: ['off'],
    retry: 0,
    calls: 'status on status',
    outcome: { state: 'error', retries: 1 },
  },
  {
    name: 'max_retries = 2: exactly one command, 4 looks, retries 3',
    verb: powerOn,
    looks: ['off'],
    retry: 2,
    calls: 'status on status status status',
    outcome: { state: 'error', retries: 3 },
    ms: 3000,
  },
  { name: 'off ok', verb: powerOff, looks: ['on', 'off'], calls: 'status off status', outcome: { state: 'deleted', retries: 1 } },
  { name: 'already off', verb: powerOff, looks: ['off'], calls: 'status', outcome: { state: 'deleted', retries: 0 } },
  {
    name: 'off fail',
    verb: powerOff,
    looks: ['on'],
    retry: 0,
    calls: 'status off status',
    outcome: { state: 'error', retries: 1 },
  },
  {
    name: 'sent again when sending raised, and only then',
    verb: powerOn,
    looks: ['off', 'off', 'off', 'on'],
    failures: { on: 1 },
    calls: 'status on status on status status',
    outcome: { state: 'active', retries: 3 },
  },
  {
    name: 'a look that fails is neither on nor off',
    verb: powerOn,
    looks: ['fails', 'on'],
    calls: 'status on status',
    outcome: { state: 'active', retries: 1 },
  },
  {
    name: 'default: 10 retries, so 12 looks',
    verb: powerOn,
    looks: ['off'],
    calls: `status on ${Array(11).fill('status').join(' ')}`,
    outcome: { state: 'error', retries: 11 },
    ms: 11_000,
  },
  {
    name: 'activate: boot device first, persistent',
    verb: activate,
    looks: ['off', 'on'],
    calls: 'bootdev pxe persistent status on status',
    outcome: { state: 'active' },
  },
  {
    name: 'activate: a failing boot device is only logged',
    verb: activate,
    looks: ['off', 'on'],
    failures: { boot: powerErrors.IPMI_COMPLETION({ bmc: 'b', command: 'c', completion: 'C1h' }) },
    calls: 'bootdev pxe persistent status on status',
    outcome: { state: 'active' },
  },
  {
    name: 'reboot: off, boot device, on',
    verb: reboot,
    looks: ['on', 'off', 'off', 'on'],
    calls: 'status off status bootdev pxe persistent status on status',
    outcome: { state: 'active' },
  },
  {
    name: 'reboot stops at a machine that stays on',
    verb: reboot,
    looks: ['on'],
    retry: 0,
    calls: 'status off status',
    outcome: { state: 'error' },
  },
];

describe("nova's power semantics", () => {
  it.each(scenarios)('002-2: $name', async ({ verb, looks, failures, retry, calls, outcome, ms }) => {
    const clock = new VirtualClock();
    const power = new ScriptedPower([...looks], { ...failures });
    const options = { clock, logger: silentLogger, ...(retry !== undefined && { ipmiPowerRetry: retry }) };
    const result = await clock.until(verb(power, options));
    expect(power.calls.join(' ')).toBe(calls);
    expect(result).toMatchObject(outcome);
    if (ms !== undefined) expect(clock.monotonic()).toBe(ms);
  });

  it('002-2: a refused password ends it at once, whatever the retries', async () => {
    const clock = new VirtualClock();
    const power = new ScriptedPower(['off']);
    power.status = async () => {
      power.calls.push('status');
      throw powerErrors.IPMI_WRONG_PASSWORD({ bmc: 'b', user: 'u' });
    };
    await expect(clock.until(powerOn(power, { clock, logger: silentLogger }))).rejects.toMatchObject({ code: 'IPMI_WRONG_PASSWORD' });
    expect(power.calls).toEqual(['status']);
  });

  it('002-2: stops when its signal aborts', async () => {
    const clock = new VirtualClock();
    const power = new ScriptedPower(['off']);
    const controller = new AbortController();
    clock.after(2500, () => controller.abort(new Error('enough')));
    await expect(clock.until(powerOn(power, { clock, logger: silentLogger, signal: controller.signal }))).rejects.toThrow('enough');
    expect(power.calls.join(' ')).toBe('status on status status');
  });

  it('002-2: against a BMC whose machine takes 3 s to power on', async () => {
    const lab = await makeLab({ bmc: { delays: { onMs: 3000, offMs: 1500 } } });
    const { IpmiPower } = await import('cdk8s-baremetal-runtime/power/index');
    const power = new IpmiPower(lab.gateway, lab.access());
    const options = { clock: lab.clock, logger: silentLogger };
    expect(await lab.clock.until(activate(power, options))).toMatchObject({ state: 'active', retries: 3 });
    expect(lab.chassis.events).toEqual(['on pxe']);
    expect(lab.bmc.count(0, 2)).toBe(1);
    expect(await lab.clock.until(reboot(power, options))).toMatchObject({ state: 'active' });
    expect(lab.chassis.events).toEqual(['on pxe', 'off', 'on pxe']);
    lab.bmc.faults.stuckPower = true;
    expect(await lab.clock.until(powerOff(power, { ...options, ipmiPowerRetry: 2 }))).toMatchObject({ state: 'error', retries: 3 });
    await lab.close();
  });

  it('002-2: soft off: a look that fails while the operating system shuts down does not cut its power', async () => {
    const clock = new VirtualClock();
    const power = new ScriptedPower(['fails', 'on', 'on', 'fails', 'on', 'off']);
    const outcome = await clock.until(softPowerOff(power, { clock, logger: silentLogger }));
    expect(power.calls.join(' ')).toBe('status status softOff status status status status');
    expect(outcome).toMatchObject({ state: 'deleted', cut: false });
  });

  it('002-2: soft off: what could not be sent is sent again, and the power is cut after the deadline only', async () => {
    const clock = new VirtualClock();
    const power = new ScriptedPower(['on', 'on', 'on', 'on', 'on', 'on', 'off']);
    let unheard = 2;
    power.softOff = async () => {
      power.calls.push('softOff');
      if (unheard-- > 0) throw powerErrors.IPMI_NO_ANSWER({ bmc: 'b', what: 'softOff', tries: 1, waitedMs: 1 });
    };
    const outcome = await clock.until(softPowerOff(power, { clock, logger: silentLogger, deadlineMs: 4000 }));
    expect(power.calls.join(' ')).toBe('status softOff status softOff status softOff status status status off status');
    expect(outcome).toMatchObject({ state: 'deleted', cut: true });
  });
});
