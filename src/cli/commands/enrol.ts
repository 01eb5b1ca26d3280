/** bmctl enrol, remove, interface, import: which machines there are. */
import { readFileSync } from 'node:fs';
import { defineErrors, entry } from 'cdk8s-baremetal-contract';
import { fromIronic } from 'cdk8s-baremetal-runtime/machine/import/from-ironic';
import { fromMetal3 } from 'cdk8s-baremetal-runtime/machine/import/from-metal3';
import type { Import } from 'cdk8s-baremetal-runtime/machine/import/imported-machine';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CommandContext } from '../node-commands.ts';
import { readSecret, secretErrors } from '../secret-input.ts';
import { table } from '../table.ts';

export const enrolErrors = defineErrors('bmctl import', {
  BMCTL_IMPORT_FILE: entry<{ path: string; why: string }>({
    message: ({ path, why }) => `${path} cannot be used: ${why}`,
    cure: 'Give JSON: openstack baremetal node list --long -f json, kubectl get bmh -o json; for --passwords an object of names and passwords',
  }),
  BMCTL_IMPORT_PASSWORDS: entry<{ names: readonly string[] }>({
    message: ({ names }) => `no password is given for ${names.join(', ')}`,
    cure: 'Exports carry no passwords: add them to the file of --passwords',
  }),
});

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

export function registerEnrol(program: Command, context: () => Promise<CommandContext>): void {
  program
    .command('enrol')
    .description('adds a machine; the password of its BMC comes from a file, standard input (-) or BMCTL_BMC_PASSWORD')
    .argument('<name>')
    .requiredOption('--mac <mac...>', 'of its interfaces, the one that boots first')
    .requiredOption('--bmc <address>', 'of its BMC')
    .option('--bmc-port <port>', 'where it is not the usual one', wholeNumber)
    .addOption(new Option('--driver <driver>').choices(['ipmi', 'redfish', 'iboot', 'virtual']).default('ipmi'))
    .requiredOption('--user <name>', 'of its BMC')
    .option('--password-file <file>', 'whose content is the password; - for standard input')
    .requiredOption('--cpus <number>', '', wholeNumber)
    .requiredOption('--memory <MiB>', '', wholeNumber)
    .requiredOption('--disk <GB>', '', wholeNumber)
    .option('--arch <arch>', '', 'x86_64')
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
    .description('forgets a machine; nothing is powered off or wiped')
    .argument('<node>')
    .action(async (node: string) => {
      const at = await context();
      await at.api.ask('removeNode', { node });
      at.print(`${node} is removed.`);
    });

  const networkInterface = program.command('interface').description('network interfaces of a machine');
  networkInterface
    .command('add')
    .argument('<node>')
    .argument('<mac>')
    .option('--address <ip>', 'reserved for it on the provisioning network')
    .action(async (node: string, mac: string, { address }: { address?: string }) => {
      const at = await context();
      const { name, macs } = await at.api.ask('addInterface', { node }, { body: { mac, address } });
      at.print(`${name} has ${macs.join(', ')}.`);
    });
  networkInterface
    .command('remove')
    .argument('<node>')
    .argument('<mac>')
    .action(async (node: string, mac: string) => {
      const at = await context();
      await at.api.ask('removeInterface', { node, mac });
      at.print(`${mac} is removed from ${node}.`);
    });

  const importing = program.command('import').description('machines of another system: shows them; --apply enrols them');
  importing
    .command('ironic')
    .argument('<nodes>', 'openstack baremetal node list --long -f json')
    .option('--ports <file>', 'openstack baremetal port list --long -f json')
    .option('--passwords <file>', 'JSON object: name → password of the BMC')
    .option('--apply', 'enrol them')
    .action(async (file: string, flags: ImportFlags & { ports?: string }) =>
      imported(
        await context(),
        fromIronic({ nodes: readJson(file), ...(flags.ports !== undefined && { ports: readJson(flags.ports) }) }),
        flags,
      ),
    );
  importing
    .command('metal3')
    .argument('<hosts>', 'kubectl get bmh -A -o json')
    .option('--passwords <file>', 'JSON object: name → password of the BMC')
    .option('--apply', 'enrol them')
    .action(async (file: string, flags: ImportFlags) => {
      const content = readJson(file);
      const items = typeof content === 'object' && content !== null && 'items' in content ? content.items : content;
      return imported(await context(), fromMetal3(Array.isArray(items) ? items : [items]), flags);
    });
}

interface ImportFlags {
  readonly passwords?: string;
  readonly apply?: boolean;
}

async function imported(at: CommandContext, { machines, refused }: Import, { passwords, apply }: ImportFlags): Promise<void> {
  if (at.asJson) at.print(JSON.stringify({ machines, refused }, undefined, 2));
  else {
    at.print(
      table(
        ['NAME', 'MAC', 'BMC', 'INSTANCE', 'REMARKS'],
        machines.map(({ enrol, warnings }) => [
          enrol.name,
          enrol.macs[0] ?? '-',
          `${enrol.bmc.driver}://${enrol.bmc.address}`,
          enrol.adopt?.name ?? '-',
          warnings.join('; ') || '-',
        ]),
      ),
    );
    for (const { name, reason } of refused) at.note(`${name} is left out: ${reason}`);
  }
  if (!apply) return at.note('Nothing was done: --apply enrols them.');
  const known = passwords === undefined ? {} : readJson(passwords);
  const passwordOf = (name: string): unknown =>
    typeof known === 'object' && known !== null ? Object.entries(known).find(([key]) => key === name)?.[1] : undefined;
  const missing = machines.map(({ enrol }) => enrol.name).filter((name) => typeof passwordOf(name) !== 'string');
  if (missing.length > 0) throw enrolErrors.BMCTL_IMPORT_PASSWORDS({ names: missing });
  for (const { enrol } of machines) {
    const { switchPorts: _ports, ...rest } = enrol;
    await at.api.ask('enrolNode', {}, { body: { ...rest, bmc: { ...enrol.bmc, password: passwordOf(enrol.name) } } });
    at.note(`${enrol.name} is enrolled.`);
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    // the parser quotes what it read, which may be a password
    const why = error instanceof Error && 'code' in error ? String(error.code) : 'it is not JSON';
    throw enrolErrors.BMCTL_IMPORT_FILE({ path, why });
  }
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
