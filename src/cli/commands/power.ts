/** bmctl power and bmctl boot: of a machine by its name through the API, or of a BMC by its URL without any server. */
import { type Logger, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { isPowerUrl, type PowerManager, type PowerOutcome, powerOff, powerOn, softPowerOff } from 'cdk8s-baremetal-runtime/power/index';
import {
  BootSelector,
  type BootSelectorName,
  chassisControl,
  decodeBootFlags,
  getBootOption,
  getChassisStatus,
  IpmiPower,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  asking,
  IPMI_TARGET,
  isRedfish,
  REDFISH_TARGET,
  TARGET,
  type TargetFlags,
  withIpmi,
  withPower,
  withRedfish,
} from '../bmc-target.ts';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import type { CommandContext } from '../node-commands.ts';
import type { Surroundings } from '../surroundings.ts';

type Context = () => Promise<CommandContext>;

const NODE_OR_URL = `name, UUID, number or MAC address of a machine; or its BMC: ${TARGET}`;
const DEVICES = ['none', 'pxe', 'disk', 'cdrom', 'bios'] as const;

export function registerPower(program: Command, world: Surroundings, context: Context): void {
  const asJson = (): boolean => program.opts<{ json?: boolean }>().json === true;
  const tell = (json: object, text: string): void => world.print(asJson() ? JSON.stringify(json, undefined, 2) : text);
  const logger: Logger = { ...silentLogger, warn: (first: unknown, message?: string) => world.note(message ?? String(first)) };

  const power = program.command('power').description('power of a machine, or of a BMC by its URL');
  asking(power.command('status').description('on or off; of a machine: as its BMC was last heard'))
    .argument('<machine>', NODE_OR_URL)
    .action(async (target: string, flags: TargetFlags) => {
      if (!isPowerUrl(target)) {
        const { api } = await context();
        const node = await api.ask('showNode', { node: target });
        return tell(
          { name: node.name, power: node.power ?? null },
          `${node.name}: ${node.power ? `${node.power.state}, heard ${node.power.at}` : 'not heard yet'}`,
        );
      }
      const state = await withPower(world, { url: target, flags, privilege: 'user' }, (manager) => manager.status(world.signal));
      tell({ power: state }, state);
    });

  const reached = async (
    target: string,
    flags: TargetFlags,
    work: (manager: PowerManager) => Promise<PowerOutcome & { readonly cut?: boolean }>,
  ): Promise<void> => {
    const outcome = await withPower(world, { url: target, flags, privilege: 'operator' }, work);
    if (outcome.state === 'error') {
      const why = outcome.lastError instanceof Error ? outcome.lastError.message : 'it accepted the command and did not change';
      throw commandErrors.BMCTL_POWER({ looks: outcome.retries, why });
    }
    const state = outcome.state === 'active' ? 'on' : 'off';
    tell(
      { power: state, looks: outcome.retries + 1, ...(outcome.cut !== undefined && { cut: outcome.cut }) },
      outcome.cut ? `${state}; the operating system did not listen` : state,
    );
  };
  // a person waits: looks four times a second, for 15 s
  const cycleOptions = { clock: world.clock, logger, signal: world.signal, intervalMs: 250, ipmiPowerRetry: 60 };

  for (const [word, id, verb, help] of [
    ['on', 'powerOnNode', powerOn, 'switches it on, and looks until it is'],
    ['off', 'powerOffNode', powerOff, 'cuts its power, and looks until it is off'],
  ] as const) {
    asking(power.command(word).description(help))
      .argument('<machine>', NODE_OR_URL)
      .action(async (target: string, flags: TargetFlags) => {
        if (isPowerUrl(target)) return reached(target, flags, (manager) => verb(manager, cycleOptions));
        const { api } = await context();
        const answer = await api.ask(id, { node: target });
        tell(answer, `${answer.node.name}: ${answer.asked} was asked for; it is ${answer.node.state}.`);
      });
  }
  asking(power.command('soft').description('asks the operating system to shut down; cuts the power when the deadline has passed'))
    .argument('<url>', TARGET)
    .option('--deadline <seconds>', 'that the operating system has', seconds, 60)
    .action((target: string, flags: TargetFlags & { deadline: number }) =>
      reached(target, flags, (manager) => softPowerOff(manager, { ...cycleOptions, deadlineMs: flags.deadline * 1000 })),
    );
  asking(power.command('cycle').description('off, seen to be off, on again, seen to be on'))
    .argument('<url>', TARGET)
    .action((target: string, flags: TargetFlags) =>
      reached(target, flags, async (manager) => {
        const off = await powerOff(manager, cycleOptions);
        return off.state === 'error' ? off : powerOn(manager, cycleOptions);
      }),
    );
  for (const [word, action, help] of [
    ['reset', 'reset', 'restarts a machine that is on, without cutting its power'],
    ['diag', 'diagnosticInterrupt', 'a non-maskable interrupt: the kernel writes its crash dump, if it was told to'],
  ] as const) {
    asking(power.command(word).description(help))
      .argument('<url>', `${IPMI_TARGET} or ${REDFISH_TARGET}`)
      .action(async (url: string, flags: TargetFlags) => {
        if (isRedfish(url)) await withRedfish(world, { url, flags, what: `power ${word}` }, (power) => power.reset(action, world.signal));
        else await withIpmi(world, { url, flags, privilege: 'operator', what: `power ${word}` }, ({ run }) => run(chassisControl(action)));
        tell({ sent: word }, `${word} was sent.`);
      });
  }
  asking(power.command('chassis').description('power, faults, why the power changed last, what happens when mains power returns'))
    .argument('<url>', IPMI_TARGET)
    .action(async (url: string, flags: TargetFlags) => {
      const status = await withIpmi(world, { url, flags, privilege: 'user', what: 'chassis' }, ({ run }) => run(getChassisStatus));
      const { powerOn: on, lastPowerEvent, restorePolicy, ...faults } = status;
      const found = Object.entries(faults).flatMap(([name, is]) => (is === true ? [name] : []));
      tell(
        status,
        `power ${on ? 'on' : 'off'}\nlast change: ${lastPowerEvent.join(', ') || 'not told'}\nwhen mains power returns: ${restorePolicy}\nfaults: ${found.join(', ') || 'none'}`,
      );
    });

  // `bmctl boot` alone is a report of the boot services
  const boot =
    program.commands.find((command) => command.name() === 'boot') ?? program.command('boot').description('what a machine boots next');
  asking(boot.command('get').description('the boot device that the BMC keeps'))
    .argument('<url>', `${IPMI_TARGET} or ${REDFISH_TARGET}`)
    .action(async (url: string, flags: TargetFlags) => {
      if (isRedfish(url)) {
        const boot = await withRedfish(world, { url, flags, what: 'boot get' }, (manager) => manager.boot(world.signal));
        return tell(boot, `${boot.target}, ${boot.enabled.toLowerCase()}${boot.mode === undefined ? '' : `, ${boot.mode}`}`);
      }
      const kept = await withIpmi(world, { url, flags, privilege: 'operator', what: 'boot get' }, async ({ run }) =>
        decodeBootFlags(await run(getBootOption(5))),
      );
      const device = nameOf(kept.selector);
      const how = `${kept.persistent ? 'from now on' : 'once'}, ${kept.efi ? 'UEFI' : 'legacy'}`;
      tell({ device, ...kept }, kept.valid ? `${device}, ${how}` : `nothing is kept (${device}, ${how}, marked as not valid)`);
    });
  asking(boot.command('set').description('boots from a device once, or from now on; read back'))
    .argument('<url>', `${IPMI_TARGET} or ${REDFISH_TARGET}`)
    .argument('<device>', DEVICES.join(', '), deviceOf)
    .option('--persistent', 'from now on, not only once')
    .addOption(new Option('--efi', 'by UEFI').conflicts('legacy'))
    .addOption(new Option('--legacy', 'by the legacy BIOS; the default of ipmi://').conflicts('efi'))
    .action(
      async (
        url: string,
        device: (typeof DEVICES)[number],
        flags: TargetFlags & { persistent?: boolean; efi?: boolean; legacy?: boolean },
      ) => {
        const { persistent = false, efi = false } = flags;
        if (isRedfish(url)) {
          // unsaid, the mode stays as it is
          const mode = { ...((flags.efi || flags.legacy) && { efi }) };
          await withRedfish(world, { url, flags, what: 'boot set' }, (power) =>
            power.setBootDevice(device, { persistent, ...mode }, world.signal),
          );
          return tell({ device, persistent, ...mode, readBack: true }, `${device}, ${persistent ? 'from now on' : 'once'}`);
        }
        const kept = await withIpmi(world, { url, flags, privilege: 'operator', what: 'boot set' }, async ({ gateway, access }) => {
          const manager = new IpmiPower(gateway, access);
          await manager.setBootDevice(device, { persistent, efi }, world.signal);
          return manager.bootFlags(world.signal);
        });
        tell(
          { device, persistent, efi, readBack: kept.valid },
          kept.valid ? `${device}, ${persistent ? 'from now on' : 'once'}` : `${device} was accepted; this BMC does not read it back`,
        );
      },
    );
}

function nameOf(selector: number): string {
  const names = Object.keys(BootSelector) as BootSelectorName[];
  return names.find((name) => BootSelector[name] === selector) ?? `device ${selector}`;
}

function deviceOf(text: string): (typeof DEVICES)[number] {
  const device = DEVICES.find((one) => one === text);
  if (device === undefined) throw new InvalidArgumentError(`It must be one of ${DEVICES.join(', ')}.`);
  return device;
}

function seconds(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('It must be a whole number of seconds.');
  return Number(text);
}

/** Nothing was done: a person has to say yes. */
export function unconfirmed(what: string): ExitError {
  return new ExitError(exitCode.refused, commandErrors.BMCTL_UNCONFIRMED({ what }));
}
