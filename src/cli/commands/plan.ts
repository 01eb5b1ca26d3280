/** Plans: printed before harm, and on request. */
import type { PlanRequest } from 'cdk8s-baremetal-contract/api/index';
import type { Command } from 'commander';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import type { CommandContext } from '../node-commands.ts';
import { readNetwork } from './network-file.ts';

export interface Confirm {
  readonly yes?: boolean;
  readonly plan?: string;
}

interface PlanFlags {
  readonly image?: string;
  readonly flavor?: string;
  readonly name: string;
  readonly network?: string;
  readonly full?: boolean;
  readonly preserveEphemeral?: boolean;
  readonly volume?: string;
  readonly vif?: string[];
}

export function registerPlan(program: Command, context: () => Promise<CommandContext>): void {
  program
    .command('plan')
    .description('what a verb would do to a machine, with the hash that confirms it')
    .argument(
      '<verb>',
      'spawn, rebuild, clean, destroy, reboot, "power off", inspect, rescue, unrescue, "attach volume", "detach volume" or "plug vifs"',
    )
    .argument('[node]', 'name, UUID, number or MAC address')
    .option('-i, --image <id>', 'spawn, rebuild')
    .option('-f, --flavor <id>', 'spawn')
    .option('--name <name>', 'spawn: of the instance', 'instance')
    .option('--network <file>', 'spawn: as for deploy')
    .option('--full', 'clean: every block')
    .option('--preserve-ephemeral', 'rebuild: leave the ephemeral partition as it is')
    .option('--volume <id>', 'attach volume, detach volume')
    .option('--vif <id...>', 'plug vifs')
    .action(async (verb: string, node: string | undefined, flags: PlanFlags) => {
      const at = await context();
      await showPlan(at, { verb, node, ...(await argumentsOf(at, verb, flags)) });
    });
}

/** What belongs to the verb; the API says what is lacking or wrong. */
async function argumentsOf(at: CommandContext, verb: string, flags: PlanFlags): Promise<object> {
  const { image: imageId, flavor: flavorId, name, network, full, preserveEphemeral, volume, vif } = flags;
  switch (verb) {
    case 'spawn':
      return { name, imageId, flavorId, ...(network !== undefined && { network: await readNetwork(at, network) }) };
    case 'rebuild':
      return { imageId, ...(preserveEphemeral && { preserveEphemeral }) };
    case 'clean':
      return full ? { wipe: 'full' } : {};
    case 'attach volume':
    case 'detach volume':
      return { volume };
    case 'plug vifs':
      return { vifs: vif ?? [] };
    default:
      return {};
  }
}

/** Prints what would happen, and ends as a refusal: nothing was done. */
export async function unconfirmed(at: CommandContext, request: PlanRequest): Promise<void> {
  const hash = await showPlan(at, request);
  throw new ExitError(exitCode.refused, commandErrors.BMCTL_UNCONFIRMED({ what: 'this', plan: hash }));
}

export async function showPlan(at: CommandContext, body: object): Promise<string> {
  const plan = await at.api.ask('plan', {}, { body });
  if (at.asJson) at.print(JSON.stringify(plan, undefined, 2));
  else {
    at.print(`${plan.verb} on ${plan.node}, about ${plan.expectedMinutes} min:`);
    for (const step of plan.steps) at.print(`  ${step}`);
    at.print(`Plan ${plan.hash}`);
  }
  return plan.hash;
}

export function confirmation({ yes, plan }: Confirm): Confirm {
  return plan === undefined ? { yes: yes === true } : { plan };
}

export function confirming(command: Command): Command {
  return command.option('-y, --yes', 'confirm without a plan').option('--plan <hash>', 'confirm the plan that was read');
}
