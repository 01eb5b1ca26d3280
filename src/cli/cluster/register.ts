/** The commands `bmctl cluster …` and `bmctl bundle`, and their flags. What they do is loaded when one of them is called. */
import { readFileSync } from 'node:fs';
import { DEFAULT_CLUSTER_NAME, DEFAULT_NAMESPACE } from 'cdk8s-baremetal-contract/onecloud/names';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Assignment } from './assignment.ts';
import type { BundleOptions } from './bundle.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { withExitCode } from './exit.ts';

interface ClusterFlags {
  readonly name: string;
  readonly namespace: string;
  readonly kubeconfig?: string;
  readonly context?: string;
}

interface WaitFlags {
  readonly wait?: boolean;
  readonly timeout: number;
}

interface ComponentFlags {
  readonly component: readonly string[];
  /** A quantity, or none. */
  readonly databaseBackup?: string;
  readonly databaseBackupClass?: string;
}

interface SpecFlags extends ComponentFlags {
  readonly version?: string;
  readonly imageRepository?: string;
  readonly edition?: 'ce' | 'ee';
}

export function registerClusterCommands(program: Command): void {
  const cluster = program
    .command('cluster')
    .description('OneCloud clusters on Kubernetes')
    .option('--name <name>', 'of the cluster', DEFAULT_CLUSTER_NAME)
    .option('-n, --namespace <namespace>', 'that it lives in', DEFAULT_NAMESPACE)
    .option('--kubeconfig <file>', 'instead of $KUBECONFIG or ~/.kube/config')
    .option('--context <context>', 'of the kubeconfig');

  const withCluster: WithCluster = (work) =>
    ending(async () => {
      const { connect } = await import('./connection.ts');
      const { name, namespace, kubeconfig: file, context: kubeContext } = cluster.opts<ClusterFlags>();
      const stop = new AbortController();
      const interrupted = (): void => stop.abort(new Error('interrupted'));
      process.once('SIGINT', interrupted);
      process.once('SIGTERM', interrupted);
      const options = { ...(file !== undefined && { file }), ...(kubeContext !== undefined && { context: kubeContext }) };
      const connection = connect(options, nodeClock);
      const context: ClusterContext = {
        api: connection.api,
        clock: nodeClock,
        print,
        progress,
        asJson: program.opts<{ json?: boolean }>().json === true,
        signal: stop.signal,
      };
      try {
        await work(context, { name, namespace }, connection.config);
      } finally {
        process.removeListener('SIGINT', interrupted);
        process.removeListener('SIGTERM', interrupted);
        await connection.close();
      }
    });

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

  cluster
    .command('validate')
    .description('what is wrong with clusters in files, with line and column')
    .argument('<file...>', 'YAML files; - is standard input')
    .action(async (files: readonly string[]) => {
      const { validateFiles } = await import('./validate.ts');
      validateFiles(files, { print, asJson: program.opts<{ json?: boolean }>().json === true, readStdin });
    });

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

type WithCluster = (work: (context: ClusterContext, key: ClusterKey, config: unknown) => Promise<unknown>) => Promise<void>;

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

function registerConfig(cluster: Command, withCluster: WithCluster): void {
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

function registerDev(cluster: Command, withCluster: WithCluster): void {
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

function registerInit(cluster: Command): void {
  cluster
    .command('init')
    .description('a Kubernetes on this machine by kubeadm')
    .option('--dry-run', "print kubeadm's configuration and run nothing")
    .option('--kubernetes-version <version>', 'e.g. v1.33.1')
    .option('--node-ip <address>', 'of this node')
    .option('--host-name <name>', 'of this node')
    .option('--control-plane-endpoint <host[:port]>', 'of the load balancer in front of several control planes')
    .option('--high-availability-vip <address>', 'that moves between control planes (keepalived or kube-vip of yours)')
    .option('--pod-network-cidr <network>', 'of the pods')
    .option('--service-cidr <network>', 'of the Services')
    .option('--node-cidr-mask-size <bits>', 'of each node’s part of the pod network', number)
    .option('--image-repository <repository>', "of Kubernetes' own images")
    .option('--apiserver-cert-extra-sans <names>', 'further names in the certificate, by commas', list)
    .option('--enable-host-agent', 'label this node for virtual machines')
    .option('--baremetal-node', 'label this node for the bare-metal agent')
    .option('--ignore-preflight-errors <checks>', 'passed to kubeadm, by commas', list)
    .action(async (flags: import('./init.ts').InitOptions) => {
      const [{ initKubernetes }, { nodeInitHost }] = await Promise.all([import('./init.ts'), import('./node-init-host.ts')]);
      await ending(() => initKubernetes({ print, progress }, nodeInitHost, flags));
    });
}

function registerBundle(program: Command): void {
  program
    .command('bundle')
    .description('the manifests that install the operator, for kubectl apply -f -')
    .option('-n, --namespace <namespace>', 'that the operator runs in')
    .option('--image <image>', 'of the operator')
    .option('--replicas <number>', 'of it; one leads', number)
    .option('--watch-namespaces <names>', 'only these, by commas: it then has no rights in others', list)
    .option('--image-pull-secrets <names>', 'by commas', list)
    .option('--requests-per-second <number>', 'at the API server, 10 or more', requestRate)
    .option('--no-validation-rules', 'for Kubernetes before 1.25: the kind without its rules in CEL')
    .action(async (flags: BundleOptions) => {
      const { bundleYaml } = await import('./bundle.ts');
      process.stdout.write(bundleYaml(flags));
    });
}

/** Errors leave with what the program is to end with. */
async function ending(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw withExitCode(error);
  }
}

function withWait(command: Command): Command {
  return command
    .option('--wait', 'until the cluster is there, telling how it goes')
    .option('--timeout <minutes>', 'how long to wait', number, 30);
}

function withSpec(command: Command): Command {
  return command
    .option('--version <tag>', 'of the services')
    .option('--image-repository <repository>', 'where images come from')
    .addOption(new Option('--edition <edition>', 'community or enterprise').choices(['ce', 'ee']))
    .option('--component <key.field=value>', 'one field of one component, e.g. glance.image=…; empty clears it', collect, [])
    .option(...DATABASE_BACKUP)
    .option(...DATABASE_BACKUP_CLASS);
}

const DATABASE_BACKUP = [
  '--database-backup <size>',
  'dump the databases before upgrades, into a volume of this size, e.g. 50Gi; none: do not',
] as const;
const DATABASE_BACKUP_CLASS = ['--database-backup-class <class>', 'storage class of that volume'] as const;

async function specOptions({ version, imageRepository, edition, ...flags }: SpecFlags) {
  return {
    components: await assignmentsOf(flags),
    ...(version !== undefined && { version }),
    ...(imageRepository !== undefined && { imageRepository }),
    ...(edition !== undefined && { edition }),
  };
}

async function assignmentsOf({ component, databaseBackup, databaseBackupClass }: ComponentFlags): Promise<Assignment[]> {
  const { backupAssignments, parseAssignment } = await import('./assignment.ts');
  return [...component.map(parseAssignment), ...backupAssignments(databaseBackup, databaseBackupClass)];
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function list(value: string): string[] {
  return value.split(',').filter((word) => word !== '');
}

function number(value: string): number {
  const parsed = Number(value);
  if (!Number.isFinite(parsed) || parsed <= 0) throw new InvalidArgumentError('It must be a number above 0.');
  return parsed;
}

function requestRate(value: string): number {
  const parsed = number(value);
  if (parsed < 10) throw new InvalidArgumentError('It must be 10 or more.');
  return parsed;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

function readStdin(): string {
  return readFileSync(0, 'utf8');
}
