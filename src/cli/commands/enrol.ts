/** bmctl enrol, remove, interface, import: which machines there are. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type CommandContext, said } from '../node-commands.ts';
import { readSecret, secretErrors } from '../secret-input.ts';
import { registerImport } from './import.ts';

interface EnrolFlags {
  readonly mac: string[];
  readonly bmc: string;
  readonly bmcPort?: number;
  readonly driver: string;
  readonly user: string;
  readonly passwordFile?: string;
  readonly cpus: number;
  readonly memory: number;
  readonly disk: number;
  readonly arch: string;
  readonly rootDisk?: string;
  readonly target?: string;
  readonly inspect?: boolean;
}

const NODE = 'name, UUID, number or MAC address';

export function registerEnrol(program: Command, context: () => Promise<CommandContext>): void {
  program
    .command('enrol')
    .description('adds a machine; the password of its BMC comes from a file, standard input (-) or BMCTL_BMC_PASSWORD')
    .argument('<name>', 'of the machine')
    .requiredOption('--mac <mac...>', 'of its interfaces, the one that boots first')
    .requiredOption('--bmc <address>', 'of its BMC')
    .option('--bmc-port <port>', 'where it is not the usual one', wholeNumber)
    .addOption(new Option('--driver <driver>', 'what its BMC speaks').choices(['ipmi', 'redfish', 'iboot', 'virtual']).default('ipmi'))
    .requiredOption('--user <name>', 'of its BMC')
    .option('--password-file <file>', 'whose content is the password; - for standard input')
    .requiredOption('--cpus <number>', 'that it has', wholeNumber)
    .requiredOption('--memory <MiB>', 'that it has', wholeNumber)
    .requiredOption('--disk <GB>', 'of its root disk', wholeNumber)
    .option('--arch <arch>', 'of its processor', 'x86_64')
    .option('--root-disk <serial>', 'the only disk that may be written')
    .addOption(new Option('--target <state>', 'where it ends by itself').choices(['manageable', 'available']))
    .option('--inspect', 'read its hardware first')
    .action(async (name: string, flags: EnrolFlags) => {
      const at = await context();
      const password = await readSecret(at, flags.passwordFile, 'BMCTL_BMC_PASSWORD');
      if (!password)
        throw secretErrors.BMCTL_SECRET({ what: 'the password of the BMC', file: '--password-file', env: 'BMCTL_BMC_PASSWORD' });
      const { bmc: address, bmcPort: port, driver, user: username, rootDisk: rootDiskSerial, target, inspect } = flags;
      const body = {
        name,
        macs: flags.mac,
        properties: { cpus: flags.cpus, memoryMb: flags.memory, localGb: flags.disk, cpuArch: flags.arch },
        bmc: { driver, address, port, username, password: password.reveal() },
        rootDiskSerial,
        target,
        inspect,
      };
      const node = await at.api.ask('enrolNode', {}, { body });
      at.print(at.asJson ? JSON.stringify(node, undefined, 2) : `${node.name} is enrolled as number ${node.number} (${node.uuid}).`);
    });

  program
    .command('remove')
    .aliases(['unenrol', 'delete'])
    .description('forgets a machine; nothing is powered off or wiped')
    .argument('<node>', NODE)
    .action(async (node: string) => {
      const at = await context();
      await at.api.ask('removeNode', { node });
      said(at, { removed: node }, `${node} is removed.`);
    });

  const networkInterface = program.command('interface').description('network interfaces of a machine');
  networkInterface
    .command('add')
    .description('adds one; a MAC address belongs to one machine')
    .argument('<node>', NODE)
    .argument('<mac>', 'of the interface')
    .option('--address <ip>', 'reserved for it on the provisioning network')
    .action(async (node: string, mac: string, { address }: { address?: string }) => {
      const at = await context();
      const after = await at.api.ask('addInterface', { node }, { body: { mac, address } });
      said(at, after, `${after.name} has ${after.macs.join(', ')}.`);
    });
  networkInterface
    .command('remove')
    .description('removes one; the last one stays')
    .argument('<node>', NODE)
    .argument('<mac>', 'of the interface')
    .action(async (node: string, mac: string) => {
      const at = await context();
      await at.api.ask('removeInterface', { node, mac });
      said(at, { removed: mac, node }, `${mac} is removed from ${node}.`);
    });

  registerImport(program, context);
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
