/** The commands `bmctl cluster config …` and `bmctl cluster dev …`: about one component of a cluster. */
import type { Command } from 'commander';
import { number } from './flags.ts';
import type { WithCluster } from './with-cluster.ts';

export function registerConfig(cluster: Command, withCluster: WithCluster): void {
  const config = cluster.command('config').description('configurations that people edited');
  config
    .command('list')
    .description('components whose ConfigMap is not what was generated')
    .action(() => withCluster(async (context, key) => (await import('./config.ts')).listConfigs(context, key)));
  config
    .command('diff')
    .description('what was edited')
    .argument('<component>', 'e.g. glance')
    .action((word: string) => withCluster(async (context, key) => (await import('./config.ts')).diffConfig(context, key, word)));
  for (const [decision, description] of [
    ['accept', 'keep it as it was edited, and say no more about it'],
    ['reset', 'back to what is generated'],
  ] as const) {
    config
      .command(decision)
      .description(description)
      .argument('<component>', 'e.g. glance')
      .action((word: string) =>
        withCluster(async (context, key) => (await import('./config.ts')).decideConfig(context, key, word, decision)),
      );
  }
}

export function registerDev(cluster: Command, withCluster: WithCluster): void {
  const dev = cluster.command('dev').description("the developer's short way");
  dev
    .command('sync')
    .description('copies a program into the pod of one component and restarts it alone')
    .argument('<component>', 'e.g. glance')
    .argument('<localfile[:path]>', 'the program; path in the container: where the component’s own lies')
    .option('--all', 'into every pod when there are several')
    .option('--timeout <seconds>', 'for the pod to come up to the copy', number, 300)
    .action((component: string, source: string, { all, timeout }: { all?: boolean; timeout: number }) =>
      withCluster(async (context, key, config) => {
        const [{ devSync }, { kubernetesPodAccess }] = await Promise.all([import('./dev-sync.ts'), import('./kubernetes-pod-access.ts')]);
        const pods = kubernetesPodAccess(config as Parameters<typeof kubernetesPodAccess>[0]);
        await devSync(context, pods, { key, component, source, timeoutSeconds: timeout, ...(all && { all }) });
      }),
    );
  dev
    .command('reset')
    .description('back to the image')
    .argument('<component>', 'e.g. glance')
    .action((component: string) => withCluster(async (context, key) => (await import('./dev-sync.ts')).devReset(context, key, component)));
}
