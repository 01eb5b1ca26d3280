/** bmctl volume and vif: what an instance in use is given and what is taken from it. */
import type { NodeSummary } from 'cdk8s-baremetal-contract/api/index';
import type { Command } from 'commander';
import type { CommandContext } from '../node-commands.ts';
import { showPlan } from './plan.ts';

type Told = (work: (context: CommandContext) => Promise<{ node: NodeSummary; asked: string }>) => Promise<void>;

const NODE = 'name, UUID, number or MAC address';

export function registerAttachments(program: Command, context: () => Promise<CommandContext>, told: Told): void {
  const volume = program.command('volume').description('volumes of the instance on a machine');
  planned(volume.command('attach'))
    .description('exports a volume of the management node to the machine')
    .argument('<node>', NODE)
    .argument('<volume>', 'its id')
    .option('--device <path>', 'where the instance expects it, e.g. /dev/vdb')
    .action(async (node: string, id: string, { device, planOnly }: { device?: string; planOnly?: boolean }) => {
      if (planOnly) return void (await showPlan(await context(), { verb: 'attach volume', node, volume: id }));
      const body = { volume: id, ...(device !== undefined && { mountpoint: device }) };
      await told(({ api }) => api.ask('attachVolume', { node }, { body }));
    });
  planned(volume.command('detach'))
    .description('ends the export of a volume; what is on it stays')
    .argument('<node>', NODE)
    .argument('<volume>', 'its id')
    .action(async (node: string, id: string, { planOnly }: { planOnly?: boolean }) => {
      if (planOnly) return void (await showPlan(await context(), { verb: 'detach volume', node, volume: id }));
      await told(({ api }) => api.ask('detachVolume', { node }, { body: { volume: id } }));
    });

  const vif = program.command('vif').description('virtual interfaces of the instance on a machine');
  planned(vif.command('plug'))
    .description('sets all that shall be plugged afterwards; those left out are unplugged')
    .argument('<node>', NODE)
    .argument('[vifs...]', 'their ids; none: unplugs all of them')
    .action(async (node: string, vifs: string[], { planOnly }: { planOnly?: boolean }) => {
      if (planOnly) return void (await showPlan(await context(), { verb: 'plug vifs', node, vifs }));
      await told(({ api }) => api.ask('plugVifs', { node }, { body: { vifs } }));
    });
}

function planned(command: Command): Command {
  return command.option('--plan-only', 'says what would be done, and does nothing');
}
