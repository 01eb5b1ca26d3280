/** bmctl's verbs: deploy, power, reboot, destroy … and the plan that comes before harm. */
import type { NodeSummary, OperationId } from 'cdk8s-baremetal-contract/api/index';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import { type CommandContext, said } from '../node-commands.ts';
import { registerAttachments } from './attachments.ts';
import { follow } from './follow.ts';
import { readNetwork } from './network-file.ts';
import { type Confirm, confirmation, confirming, registerPlan, unconfirmed } from './plan.ts';

interface Wait {
  readonly wait?: boolean;
  readonly timeout: number;
}
interface DeployFlags extends Confirm, Wait {
  readonly image: string;
  readonly flavor?: string;
  readonly node?: string;
  readonly uuid?: string;
  readonly network?: string;
  readonly vif?: string[];
  readonly volume?: string[];
}
type Context = () => Promise<CommandContext>;

const NODE = 'name, UUID, number or MAC address';

/** Verbs without arguments of their own: word → row and help. */
const PLAIN = {
  retry: ['retryNode', 'try again what failed on a machine in error'],
  abort: ['abortNode', 'interrupt what is under way, and clean up'],
  unstick: ['unstickNode', 'take a machine from an owner that does nothing, and begin its state again'],
  unrescue: ['unrescueNode', 'boot a machine in rescue from its disk again'],
  manage: ['manageNode', 'take a free machine out of use'],
  provide: ['provideNode', 'put it into use again'],
} as const satisfies Record<string, readonly [OperationId, string]>;

export function registerWork(program: Command, context: Context): void {
  const told = async (work: (context: CommandContext) => Promise<{ node: NodeSummary; asked: string }>): Promise<void> => {
    const at = await context();
    const answer = await work(at);
    if (at.asJson) at.print(JSON.stringify(answer, undefined, 2));
    else at.print(`${answer.node.name}: ${answer.asked} was asked for; it is ${answer.node.state}.`);
  };

  waiting(
    confirming(program.command('deploy').description('puts an image on a machine: a named one, or the smallest that suffices a flavor')),
  )
    .argument('<name>', 'of the instance')
    .requiredOption('-i, --image <id>', 'that it gets: bmctl image list')
    .option('-f, --flavor <id>', 'what the machine must have; with --node: what that one must have')
    .option('-n, --node <node>', `on this machine: ${NODE}`)
    .option('--uuid <uuid>', 'of the instance; default: a new one')
    .option(
      '--network <file>',
      'JSON or YAML, - for standard input: addresses, routers and name servers that it is handed (docs/operate.md)',
    )
    .option('--vif <id...>', 'virtual interfaces to plug')
    .option('--volume <id...>', 'volumes to attach')
    .action(async (name: string, flags: DeployFlags) => {
      const at = await context();
      const { image, flavor, node, uuid, vif: vifs, volume: volumes, network: file } = flags;
      const network = file === undefined ? undefined : await readNetwork(at, file);
      const wish = { name, imageId: image, flavorId: flavor, node, uuid, network, vifs, volumes };
      if (!flags.yes && flags.plan === undefined) return unconfirmed(at, { verb: 'spawn', ...wish });
      const instance = await at.api.ask('spawnInstance', {}, { body: { ...wish, ...confirmation(flags) } });
      if (flags.wait) {
        await follow(at, {
          node: instance.node.uuid,
          name: instance.node.name,
          timeoutMs: flags.timeout * 1000,
          verdict: (seen) =>
            seen.state === 'active' ? 'there' : seen.instance === undefined || seen.state === 'error' ? 'failed' : undefined,
        });
      }
      // with --wait as it is by now
      if (at.asJson)
        at.print(JSON.stringify(flags.wait ? await at.api.ask('showInstance', { instance: instance.uuid }) : instance, undefined, 2));
      else
        at.print(
          flags.wait
            ? `${name} is ACTIVE on ${instance.node.name}.`
            : `${name} goes to ${instance.node.name}: bmctl timeline ${instance.node.name}`,
        );
    });

  program
    .command('reboot')
    .description('reboots a machine in use')
    .argument('<node>', NODE)
    .option('--hard', 'cut the power without asking the operating system')
    .action((node: string, { hard }: { hard?: boolean }) =>
      told(({ api }) => api.ask('rebootNode', { node }, { body: hard ? { mode: 'hard' } : {} })),
    );

  waiting(confirming(program.command('destroy').description("ends a machine's instance and makes the machine free")))
    .argument('<node>', NODE)
    .action(async (node: string, flags: Confirm & Wait) => {
      const at = await context();
      if (!flags.yes && flags.plan === undefined) return unconfirmed(at, { verb: 'destroy', node });
      const { node: asked } = await at.api.ask('destroyNode', { node }, { body: confirmation(flags) });
      const verdict = (seen: NodeSummary) => (seen.instance === undefined ? 'there' : seen.state === 'error' ? 'failed' : undefined);
      // with --wait as it is by now
      const after = flags.wait ? await follow(at, { node: asked.uuid, name: asked.name, timeoutMs: flags.timeout * 1000, verdict }) : asked;
      at.print(at.asJson ? JSON.stringify(after, undefined, 2) : `The instance on ${after.name} ${flags.wait ? 'has ended' : 'ends'}.`);
    });

  confirming(program.command('rebuild').description('writes the image of an instance anew, or another one'))
    .argument('<node>', NODE)
    .option('-i, --image <id>', 'default: the one that it has')
    .option('--preserve-ephemeral', 'leave the ephemeral partition as it is')
    .action(async (node: string, flags: Confirm & { image?: string; preserveEphemeral?: boolean }) => {
      const args = {
        ...(flags.image !== undefined && { imageId: flags.image }),
        ...(flags.preserveEphemeral && { preserveEphemeral: true }),
      };
      if (!flags.yes && flags.plan === undefined) return unconfirmed(await context(), { verb: 'rebuild', node, ...args });
      await told(({ api }) => api.ask('rebuildNode', { node }, { body: { ...args, ...confirmation(flags) } }));
    });
  confirming(program.command('clean').description('wipes the disk of a machine without an instance'))
    .argument('<node>', NODE)
    .option('--full', 'every block, not only partition tables and superblocks')
    .action(async (node: string, flags: Confirm & { full?: boolean }) => {
      const args = flags.full ? { wipe: 'full' as const } : {};
      if (!flags.yes && flags.plan === undefined) return unconfirmed(await context(), { verb: 'clean', node, ...args });
      await told(({ api }) => api.ask('cleanNode', { node }, { body: { ...args, ...confirmation(flags) } }));
    });

  for (const [word, [id, help]] of Object.entries(PLAIN)) {
    program
      .command(word)
      .description(help)
      .argument('<node>', NODE)
      .action((node: string) => told(({ api }) => api.ask(id, { node })));
  }
  program
    .command('inspect')
    .description('boots the ramdisk and reads the hardware')
    .argument('<node>', NODE)
    .option('--apply', 'take over what is found')
    .action((node: string, { apply }: { apply?: boolean }) =>
      told(({ api }) => api.ask('inspectNode', { node }, { body: apply ? { apply } : {} })),
    );
  program
    .command('rescue')
    .description('boots a machine in use into the ramdisk; its disk is not touched')
    .argument('<node>', NODE)
    .option(
      '--key <public key...>',
      'SSH public keys, for a ramdisk with an SSH server; the one of this project opens a shell on its console',
    )
    .action((node: string, { key }: { key?: string[] }) =>
      told(({ api }) => api.ask('rescueNode', { node }, { body: key ? { authorizedKeys: key } : {} })),
    );
  program
    .command('adopt')
    .description('takes over an instance that runs on a machine already')
    .argument('<node>', NODE)
    .requiredOption('--uuid <uuid>', 'of the instance')
    .requiredOption('--name <name>', 'of the instance')
    .requiredOption('-i, --image <id>', 'that it was installed from')
    .action((node: string, { uuid, name, image }: { uuid: string; name: string; image: string }) =>
      told(({ api }) => api.ask('adoptNode', { node }, { body: { uuid, name, imageId: image } })),
    );
  const maintenance = program.command('maintenance').description('keeps everything from changing power and disks of a machine');
  for (const on of [true, false]) {
    const command = maintenance.command(on ? 'on' : 'off').argument('<node>', NODE);
    if (on) command.option('--reason <text>', 'that others read');
    command
      .description(on ? 'nothing is done to it any more; what runs is interrupted' : 'it is looked after again')
      .action(async (node: string, { reason }: { reason?: string }) => {
        const at = await context();
        const answer = await at.api.ask('maintainNode', { node }, { body: { on, ...(reason !== undefined && { reason }) } });
        said(at, answer, `${answer.node.name} is ${on ? 'in maintenance' : 'no longer in maintenance'}; it is ${answer.node.state}.`);
      });
  }
  program
    .command('fault')
    .description(
      'reports that what runs on a machine is not well, or is well again: soft reset, power cycle and quarantine follow while it lasts',
    )
    .argument('<node>', NODE)
    .addOption(new Option('--reason <text>', 'what is wrong, that others read').conflicts('clear'))
    .option('--clear', 'it is well again')
    .action(async (node: string, { reason, clear }: { reason?: string; clear?: true }) => {
      if (!clear && reason === undefined) throw new ExitError(exitCode.usage, commandErrors.BMCTL_NO_REASON({}));
      const at = await context();
      const answer = clear ? await at.api.ask('clearFault', { node }) : await at.api.ask('reportFault', { node }, { body: { reason } });
      const { name, fault, maintenance, maintenanceReason } = answer.node;
      const held = maintenance
        ? `; it stays in maintenance (${maintenanceReason ?? 'no reason was given'}): bmctl maintenance off ${name}`
        : '.';
      const found = fault && fault.kind !== 'unhealthy' ? ': it was found, and ends by itself; bmctl diagnose says what helps.' : '.';
      said(
        at,
        answer,
        fault ? `${name} has a fault since ${fault.since}: ${fault.kind}, ${fault.reason}${found}` : `${name} has no fault${held}`,
      );
    });

  registerAttachments(program, context, told);
  registerPlan(program, context);
}

function waiting(command: Command): Command {
  return command
    .option('-w, --wait', 'until it is done, with a line of progress')
    .option('--timeout <seconds>', 'with --wait', seconds, 3600);
}

function seconds(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError('It must be a whole number of seconds.');
  return Number(text);
}
