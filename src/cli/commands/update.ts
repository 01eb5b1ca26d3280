/** bmctl update: corrects what was given at enrolment. */
import { type Command, Option } from 'commander';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import { type CommandContext, said } from '../node-commands.ts';
import { readSecret } from '../secret-input.ts';
import { wholeNumber } from './enrol.ts';

interface UpdateFlags {
  readonly bmc?: string;
  readonly bmcPort?: number;
  readonly driver?: string;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly cpus?: number;
  readonly memory?: number;
  readonly disk?: number;
  readonly arch?: string;
  readonly rootDisk?: string;
  readonly anyDisk?: boolean;
}

export function registerUpdate(program: Command, context: () => Promise<CommandContext>): void {
  program
    .command('update')
    .description('corrects what was given at enrolment; a new password of the BMC comes from a file or standard input (-)')
    .argument('<node>', 'name, UUID, number or MAC address')
    .option('--bmc <address>', 'of its BMC')
    .option('--bmc-port <port>', 'of its BMC', wholeNumber)
    .addOption(new Option('--driver <driver>', 'what its BMC speaks').choices(['ipmi', 'redfish', 'iboot', 'virtual']))
    .option('--user <name>', 'of its BMC')
    .option('--password-file <file>', 'whose content is the password; - for standard input')
    .option('--cpus <number>', 'that it has', wholeNumber)
    .option('--memory <MiB>', 'that it has', wholeNumber)
    .option('--disk <GB>', 'of its root disk', wholeNumber)
    .option('--arch <arch>', 'of its processor')
    .addOption(new Option('--root-disk <serial>', 'the only disk that may be written').conflicts('anyDisk'))
    .option('--any-disk', 'any disk may be written')
    .action(async (node: string, flags: UpdateFlags) => {
      const at = await context();
      const { bmc: address, bmcPort: port, driver, user: username, passwordFile, rootDisk, anyDisk } = flags;
      // the environment has the password of who enrols; here only what is asked for changes
      const password = passwordFile === undefined ? undefined : await readSecret(at, passwordFile, 'BMCTL_BMC_PASSWORD');
      const bmc = given({ address, port, driver, username, password: password?.reveal() });
      const properties = given({ cpus: flags.cpus, memoryMb: flags.memory, localGb: flags.disk, cpuArch: flags.arch });
      const body = { ...(bmc && { bmc }), ...(properties && { properties }), ...given({ rootDiskSerial: anyDisk ? null : rootDisk }) };
      if (Object.keys(body).length === 0) throw new ExitError(exitCode.usage, commandErrors.BMCTL_NOTHING({}));
      const after = await at.api.ask('updateNode', { node }, { body });
      const { name, bmc: where, rootDiskSerial: serial, properties: has } = after;
      const hardware = `${has.cpus} CPUs ${has.cpuArch}, ${has.memoryMb} MiB, ${has.localGb} GiB`;
      said(at, after, `${name} is corrected: ${where}, ${hardware}, ${serial === undefined ? 'any disk' : `only the disk ${serial}`}.`);
    });
}

function given(fields: Readonly<Record<string, unknown>>): object | undefined {
  const kept = Object.entries(fields).filter(([, value]) => value !== undefined);
  return kept.length > 0 ? Object.fromEntries(kept) : undefined;
}
