/** The commands `bmctl cluster …` and `bmctl bundle`, and their flags. What they do is loaded when one of them is called. */
import { DEFAULT_CLUSTER_NAME, DEFAULT_NAMESPACE } from 'cdk8s-baremetal-contract/onecloud/names';
import { type Command, Option } from 'commander';
import type { ClusterContext, ClusterKey } from './context.ts';
import {
  assignmentsOf,
  type ComponentFlags,
  collect,
  DATABASE_BACKUP,
  DATABASE_BACKUP_CLASS,
  number,
  type SpecFlags,
  specOptions,
  type WaitFlags,
  withSpec,
  withWait,
} from './flags.ts';
import { registerConfig, registerDev } from './register-components.ts';
import { registerBundle, registerInit, registerValidate } from './register-offline.ts';
import { clusterConnector, readStdin } from './with-cluster.ts';

export function registerClusterCommands(program: Command): void {
  const cluster = program
    .command('cluster')
    .description('OneCloud clusters on Kubernetes')
    .option('--name <name>', 'of the cluster', DEFAULT_CLUSTER_NAME)
    .option('-n, --namespace <namespace>', 'that it lives in', DEFAULT_NAMESPACE)
    .option('--kubeconfig <file>', 'instead of $KUBECONFIG or ~/.kube/config')
    .option('--context <context>', 'of the kubeconfig');

  const withCluster = clusterConnector(program, cluster);
  const waiting = async (context: ClusterContext, key: ClusterKey, { wait, timeout }: WaitFlags): Promise<void> => {
    if (wait) await (await import('./wait.ts')).waitForCluster(context, key, timeout);
  };

  withWait(cluster.command('create').description('creates a cluster; one that is there is compared and left alone'))
    .requiredOption('--version <tag>', 'of the services, e.g. v3.1.3-20200312.0')
    .requiredOption('--mysql-host <host>', 'database server')
    .option('--mysql-port <port>', 'its port', number)
    .option('--mysql-user <user>', 'account that may create databases and accounts')
    .option('--mysql-password-file <file>', 'file that holds its password')
    .option('--mysql-password-stdin', 'read the password from standard input')
    .option('--mysql-secret <name[/key]>', 'Secret of the namespace that holds the password')
    .addOption(new Option('--mysql-password [value]').hideHelp())
    .option('--region <region>', 'OneCloud region')
    .option('--zone <zone>', 'OneCloud zone')
    .option('--image-repository <repository>', 'where images come from')
    .addOption(new Option('--edition <edition>', 'community or enterprise').choices(['ce', 'ee']))
    .option('--component <key.field=value>', 'one field of one component, e.g. logger.internalOnly=true', collect, [])
    .option(...DATABASE_BACKUP)
    .option(...DATABASE_BACKUP_CLASS)
    .action((flags: CreateFlags) =>
      withCluster(async (context, key) => {
        const { createCluster } = await import('./create.ts');
        const { readPassword } = await import('./password.ts');
        const password = await readPassword(flags, { environment: process.env, readStdin: async () => readStdin() });
        const { version, region, zone, imageRepository, edition, mysqlHost, mysqlPort, mysqlUser } = flags;
        await createCluster(context, {
          key,
          version,
          password,
          components: await assignmentsOf(flags),
          mysql: {
            host: mysqlHost,
            ...(mysqlPort !== undefined && { port: mysqlPort }),
            ...(mysqlUser !== undefined && { username: mysqlUser }),
          },
          ...(region !== undefined && { region }),
          ...(zone !== undefined && { zone }),
          ...(imageRepository !== undefined && { imageRepository }),
          ...(edition !== undefined && { edition }),
        });
        await waiting(context, key, flags);
      }),
    );

  withWait(withSpec(cluster.command('update').description('another version, repository or component; shows what changes and changes it')))
    .option('--accept-database-not-rolled-back', 'go although a cleared image leaves tables newer than their program')
    .option('--dry-run', 'only show it')
    .action((flags: SpecFlags & WaitFlags & { dryRun?: boolean; acceptDatabaseNotRolledBack?: boolean }) =>
      withCluster(async (context, key) => {
        const { updateCluster } = await import('./update.ts');
        const { dryRun, acceptDatabaseNotRolledBack } = flags;
        await updateCluster(context, {
          ...(await specOptions(flags)),
          key,
          ...(dryRun && { dryRun }),
          ...(acceptDatabaseNotRolledBack && { acceptDatabaseNotRolledBack }),
        });
        if (!dryRun) await waiting(context, key, flags);
      }),
    );

  withSpec(cluster.command('plan').description('what a change would do: images, restarts, volumes, conflicts')).action((flags: SpecFlags) =>
    withCluster(async (context, key) => {
      const { planUpdate } = await import('./update.ts');
      await planUpdate(context, { ...(await specOptions(flags)), key });
    }),
  );

  withWait(cluster.command('rollback').description('back to a version that ran here: images, not databases'))
    .option('--to <tag>', 'default: the version before')
    .option('--component <key>', 'only this one; it then keeps that image')
    .option('--accept-database-not-rolled-back', 'go although databases stay as the later version left them')
    .option('--dry-run', 'only show what changes')
    .action((flags: WaitFlags & { to?: string; component?: string; acceptDatabaseNotRolledBack?: boolean; dryRun?: boolean }) =>
      withCluster(async (context, key) => {
        const { rollbackCluster } = await import('./rollback.ts');
        const { to, component, acceptDatabaseNotRolledBack, dryRun } = flags;
        await rollbackCluster(context, {
          key,
          ...(to !== undefined && { to }),
          ...(component !== undefined && { component }),
          ...(acceptDatabaseNotRolledBack && { acceptDatabaseNotRolledBack }),
          ...(dryRun && { dryRun }),
        });
        if (!dryRun) await waiting(context, key, flags);
      }),
    );

  cluster
    .command('status')
    .description('what runs, what the operator says of it, and what blocks')
    .action(() => withCluster(async (context, key) => (await import('./status.ts')).clusterStatus(context, key)));

  withWait(cluster.command('wait').description('until the cluster is what its spec says')).action((flags: WaitFlags) =>
    withCluster((context, key) => waiting(context, key, { ...flags, wait: true })),
  );

  registerValidate(program, cluster);

  withWait(cluster.command('delete').description('shows what goes and what stays; deletes with --yes'))
    .addOption(new Option('--pvc-policy <policy>', 'of the volumes; default: as the cluster says').choices(['Retain', 'Delete']))
    .addOption(new Option('--database-policy <policy>', 'of the databases; default: as the cluster says').choices(['Retain', 'Drop']))
    .option('--yes', 'do it')
    .action((flags: WaitFlags & { pvcPolicy?: 'Retain' | 'Delete'; databasePolicy?: 'Retain' | 'Drop'; yes?: boolean }) =>
      withCluster(async (context, key) => {
        const { deleteCluster } = await import('./delete.ts');
        const { wait, timeout, ...rest } = flags;
        const begun = await deleteCluster(context, { key, ...rest });
        if (begun && wait) await (await import('./wait.ts')).waitUntilGone(context, key, timeout);
      }),
    );

  withWait(
    cluster
      .command('restore')
      .description('reads a dump of the databases back, and the version that it is from; shows it; does it with --yes'),
  )
    .option('--dump <file>', 'default: the newest of the history')
    .option('--version <tag>', 'of the services, for a dump that the history does not know')
    .option('--abort', 'give up one that did not end: services come back with the databases as they are')
    .option('--yes', 'do it')
    .action((flags: WaitFlags & { dump?: string; version?: string; abort?: boolean; yes?: boolean }) =>
      withCluster(async (context, key) => {
        const { abortRestore, restoreCluster } = await import('./restore.ts');
        const { dump, version, abort, yes, timeout: minutes } = flags;
        if (abort) await abortRestore(context, key);
        else
          await restoreCluster(context, {
            key,
            minutes,
            ...(dump !== undefined && { dump }),
            ...(version !== undefined && { version }),
            ...(yes && { yes }),
          });
        await waiting(context, key, flags);
      }),
    );

  registerConfig(cluster, withCluster);
  registerDev(cluster, withCluster);
  registerInit(cluster);
  registerBundle(program);
}

interface CreateFlags extends WaitFlags, ComponentFlags {
  readonly version: string;
  readonly mysqlHost: string;
  readonly mysqlPort?: number;
  readonly mysqlUser?: string;
  readonly mysqlPasswordFile?: string;
  readonly mysqlPasswordStdin?: boolean;
  readonly mysqlSecret?: string;
  readonly mysqlPassword?: unknown;
  readonly region?: string;
  readonly zone?: string;
  readonly imageRepository?: string;
  readonly edition?: 'ce' | 'ee';
}
