/** One BMC by its URL, without any server: who asks, with which password, and what its errors end with. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeProcesses } from 'cdk8s-baremetal-runtime/core/node-processes';
import {
  type Credentials,
  IpmiGateway,
  type IpmiTarget,
  PowerDrivers,
  type PowerManager,
  type PowerTarget,
  type Privilege,
  parsePowerUrl,
  RedfishPower,
  type RedfishSensor,
} from 'cdk8s-baremetal-runtime/power/index';
import { type CheckedAccess, checkAccess, type RunCommand } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import type { Command } from 'commander';
import { commandErrors } from './errors.ts';
import { ExitError, exitCode } from './exit-codes.ts';
import { readNamedFile } from './named-file.ts';
import { readSecret, secretErrors } from './secret-input.ts';
import type { Surroundings } from './surroundings.ts';

export interface TargetFlags {
  readonly user?: string;
  readonly passwordFile?: string;
  readonly cipher?: string;
  /** File of the authorities that sign Redfish services' certificates. */
  readonly bmcCa?: string;
}

export const TARGET =
  'ipmi://ADDRESS[:PORT], redfish://HOST[:PORT][?sha256=FINGERPRINT], iboot://ADDRESS[:PORT]/RELAY, virtual+ssh://USER@HOST/MACHINE or virtual+exec:///MACHINE';
export const IPMI_TARGET = 'ipmi://[USER@]ADDRESS[:PORT]';
export const REDFISH_TARGET = 'redfish://[USER@]HOST[:PORT][/redfish/v1/Systems/ID][?sha256=FINGERPRINT]';

const PASSWORD_ENV = 'BMCTL_BMC_PASSWORD';
const USER_ENV = 'BMCTL_BMC_USER';
const DEFAULT_USER = 'admin';

/** `command` asks a BMC itself: who, and with which password. */
export function asking(command: Command): Command {
  return command
    .option('--user <name>', `of the BMC; default: of the URL, ${USER_ENV}, or ${DEFAULT_USER}`)
    .option(
      '--password-file <file>',
      `with the BMC's password; - for standard input; or ${PASSWORD_ENV}; else it is asked for on a terminal`,
    )
    .option('--cipher <suite>', 'cipher suite 17 or 3; 0, 1 and 2 protect little and are for laboratories')
    .option('--bmc-ca <file>', 'of Redfish: PEM of the authorities that sign its certificate; default: those of this machine')
    .addHelpText('after', HELP);
}

const HELP = `
The password is never given on the command line, where every user of this machine could read it.
Exit codes: 0 done, 2 wrong words, 3 no answer, 4 wrong user, password or privilege, 6 refused, 1 other failures.`;

export function isRedfish(url: string): boolean {
  return url.startsWith('redfish:');
}

export interface IpmiDesk {
  readonly target: IpmiTarget;
  readonly access: CheckedAccess;
  readonly gateway: IpmiGateway;
  readonly run: RunCommand;
}

/** Runs `work` with the driver that the URL names; sessions and sockets are ended behind it. */
export async function withPower<T>(
  world: Surroundings,
  { url, flags, privilege }: { readonly url: string; readonly flags: TargetFlags; readonly privilege: Privilege },
  work: (power: PowerManager, target: PowerTarget, drivers: PowerDrivers, credentials: Credentials) => Promise<T>,
): Promise<T> {
  return withGateway(world, async (gateway) => {
    const { target, username, password } = await opened(world, url, flags);
    const drivers = driversOf(world, gateway, flags, privilege);
    const power = drivers.open(target, { username, password });
    try {
      return await work(power, target, drivers, { username, password });
    } finally {
      await power.close();
    }
  });
}

function driversOf(world: Surroundings, gateway: IpmiGateway, { bmcCa }: TargetFlags, privilege: Privilege): PowerDrivers {
  const { clock, network, random } = world;
  const processes = world.processes ?? nodeProcesses;
  const redfishCa = bmcCa === undefined ? undefined : readNamedFile(bmcCa);
  return new PowerDrivers({ gateway, clock, network, random, logger: silentLogger, processes, programs: 'any', privilege, redfishCa });
}

/** What only Redfish has. */
export async function withRedfish<T>(
  world: Surroundings,
  { url, flags, what }: { readonly url: string; readonly flags: TargetFlags; readonly what: string },
  work: (power: RedfishPower, sensors: () => Promise<readonly RedfishSensor[]>) => Promise<T>,
): Promise<T> {
  return withPower(world, { url, flags, privilege: 'operator' }, (power, target, drivers, credentials) => {
    if (target.driver !== 'redfish' || !(power instanceof RedfishPower)) throw onlyIpmi(what, target.driver);
    return work(power, () => drivers.redfishSensors(target, credentials, world.signal));
  });
}

function onlyIpmi(what: string, driver: string): ExitError {
  return new ExitError(exitCode.refused, commandErrors.BMCTL_ONLY_IPMI({ what, driver }));
}

/** The same for what only IPMI has. */
export async function withIpmi<T>(
  world: Surroundings,
  {
    url,
    flags,
    privilege,
    what,
  }: { readonly url: string; readonly flags: TargetFlags; readonly privilege: Privilege; readonly what: string },
  work: (desk: IpmiDesk) => Promise<T>,
): Promise<T> {
  return withGateway(world, async (gateway) => {
    const { target, username, password } = await opened(world, url, flags);
    if (target.driver !== 'ipmi') throw onlyIpmi(what, target.driver);
    const { address, port, cipherSuite } = target;
    const access = checkAccess({
      address,
      username,
      password,
      privilege: target.privilege ?? privilege,
      ...(port !== undefined && { port }),
      ...(cipherSuite !== undefined && { cipherSuite }),
    });
    const run: RunCommand = (command, signal) => gateway.run(access, command, signal ?? world.signal);
    return work({ target, access, gateway, run });
  });
}

async function withGateway<T>(world: Surroundings, work: (gateway: IpmiGateway) => Promise<T>): Promise<T> {
  const { clock, random, network } = world;
  const gateway = new IpmiGateway({ clock, random, network, logger: silentLogger });
  try {
    return await work(gateway);
  } catch (error) {
    throw world.signal.aborted ? error : withExitCode(error);
  } finally {
    await gateway.close();
  }
}

async function opened(
  world: Surroundings,
  url: string,
  flags: TargetFlags,
): Promise<{ readonly target: PowerTarget; readonly username: string; readonly password: Secret }> {
  const parsed = parsePowerUrl(url);
  const named = parsed.driver === 'virtual' ? undefined : parsed.username;
  const username = flags.user ?? named ?? world.env[USER_ENV] ?? DEFAULT_USER;
  const cipher = flags.cipher === undefined ? undefined : ([0, 1, 2, 3, 17] as const).find((id) => String(id) === flags.cipher);
  if (flags.cipher !== undefined && cipher === undefined)
    throw new ExitError(exitCode.usage, commandErrors.BMCTL_CIPHER({ suite: flags.cipher }));
  const target = parsed.driver === 'ipmi' && cipher !== undefined ? { ...parsed, cipherSuite: cipher } : parsed;
  if (target.driver === 'virtual') return { target, username, password: new Secret('') }; // logs in by key, or not at all
  const password =
    (await readSecret(world, flags.passwordFile, PASSWORD_ENV)) ??
    (world.terminal
      ? new Secret(await world.terminal.askHidden(`Password of ${username} at ${url.replace(/^\w+:\/\//, '')}: `))
      : undefined);
  if (password === undefined) throw secretErrors.BMCTL_SECRET({ what: "the BMC's password", file: '--password-file', env: PASSWORD_ENV });
  return { target, username, password };
}

const EXIT_CODES: Readonly<Record<string, number>> = {
  POWER_URL: exitCode.usage,
  POWER_ACCESS_INVALID: exitCode.usage,
  POWER_NOT_SUPPORTED: exitCode.refused,
  IPMI_NO_ANSWER: exitCode.noAnswer,
  IPMI_NO_RMCP_PLUS: exitCode.noAnswer,
  IPMI_BMC_RESTING: exitCode.noAnswer,
  IPMI_CONSOLE_LOST: exitCode.noAnswer,
  IBOOT_NO_ANSWER: exitCode.noAnswer,
  IPMI_WRONG_USER: exitCode.notAllowed,
  IPMI_WRONG_PASSWORD: exitCode.notAllowed,
  IPMI_IMPOSTOR: exitCode.notAllowed,
  IPMI_PRIVILEGE_REFUSED: exitCode.notAllowed,
  IBOOT_REFUSED: exitCode.notAllowed,
  IPMI_SOL_REFUSED: exitCode.refused,
  REDFISH_NO_ANSWER: exitCode.noAnswer,
  REDFISH_NOT_REDFISH: exitCode.noAnswer,
  REDFISH_CERTIFICATE: exitCode.notAllowed,
  REDFISH_WRONG_PASSWORD: exitCode.notAllowed,
  REDFISH_PRIVILEGE: exitCode.notAllowed,
  REDFISH_REFUSED: exitCode.refused,
  REDFISH_NOT_OFFERED: exitCode.refused,
  REDFISH_SYSTEM: exitCode.usage,
  VIRTUAL_UNKNOWN: exitCode.notFound,
};

function withExitCode(error: unknown): unknown {
  if (!(error instanceof CodedError) || error instanceof ExitError) return error;
  const code = EXIT_CODES[error.code];
  return code === undefined ? error : new ExitError(code, error);
}
