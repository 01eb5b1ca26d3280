/** bmctl notification: what bms_control was not told. */
import type { Command } from 'commander';
import { type CommandContext, said } from '../node-commands.ts';
import { table } from '../table.ts';

export function registerNotification(program: Command, context: () => Promise<CommandContext>): void {
  const notification = program.command('notification').description('notifications to bms_control that could not be delivered');
  notification
    .command('list')
    .description('those that were given up, and how many wait')
    .action(async () => {
      const at = await context();
      const state = await at.api.ask('listNotifications', {});
      if (at.asJson) return at.print(JSON.stringify(state, undefined, 2));
      at.print(
        state.callback === null
          ? 'Nobody is told: [center] scheduler_callback is not set.'
          : `${state.pending} wait for ${state.callback}.`,
      );
      if (state.dead.length === 0) return;
      const rows = state.dead.map(({ notification: told, attempts, error, gaveUpAt }) => [
        told.id,
        told.node_name,
        told.state,
        gaveUpAt,
        `${attempts} tries: ${error}`,
      ]);
      at.print(table(['ID', 'MACHINE', 'STATE', 'GIVEN UP', 'WHY'], rows));
    });
  notification
    .command('retry')
    .description('sends one that was given up again')
    .argument('<id>', 'as list shows it')
    .action(async (id: string) => {
      const at = await context();
      await at.api.ask('retryNotification', { notification: id });
      said(at, { retried: id }, `${id} is sent again.`);
    });
  notification
    .command('drop')
    .description('forgets one that was given up')
    .argument('<id>', 'as list shows it')
    .action(async (id: string) => {
      const at = await context();
      await at.api.ask('dropNotification', { notification: id });
      said(at, { dropped: id }, `${id} is forgotten.`);
    });
}
