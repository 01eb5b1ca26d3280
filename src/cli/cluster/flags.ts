/** Flags that several commands of `bmctl cluster` share, and what their values become. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Assignment } from './assignment.ts';

export interface WaitFlags {
  readonly wait?: boolean;
  readonly timeout: number;
}

export interface ComponentFlags {
  readonly component: readonly string[];
  /** A quantity, or none. */
  readonly databaseBackup?: string;
  readonly databaseBackupClass?: string;
}

export interface SpecFlags extends ComponentFlags {
  readonly version?: string;
  readonly imageRepository?: string;
  readonly edition?: 'ce' | 'ee';
}

export function withWait(command: Command): Command {
  return command
    .option('--wait', 'until the cluster is there, telling how it goes')
    .option('--timeout <minutes>', 'how long to wait', number, 30);
}

export function withSpec(command: Command): Command {
  return command
    .option('--version <tag>', 'of the services')
    .option('--image-repository <repository>', 'where images come from')
    .addOption(new Option('--edition <edition>', 'community or enterprise').choices(['ce', 'ee']))
    .option('--component <key.field=value>', 'one field of one component, e.g. glance.image=…; empty clears it', collect, [])
    .option(...DATABASE_BACKUP)
    .option(...DATABASE_BACKUP_CLASS);
}

export const DATABASE_BACKUP = [
  '--database-backup <size>',
  'dump the databases before upgrades, into a volume of this size, e.g. 50Gi; none: do not',
] as const;
export const DATABASE_BACKUP_CLASS = ['--database-backup-class <class>', 'storage class of that volume'] as const;

export async function specOptions({ version, imageRepository, edition, ...flags }: SpecFlags) {
  return {
    components: await assignmentsOf(flags),
    ...(version !== undefined && { version }),
    ...(imageRepository !== undefined && { imageRepository }),
    ...(edition !== undefined && { edition }),
  };
}

export async function assignmentsOf({ component, databaseBackup, databaseBackupClass }: ComponentFlags): Promise<Assignment[]> {
  const { backupAssignments, parseAssignment } = await import('./assignment.ts');
  return [...component.map(parseAssignment), ...backupAssignments(databaseBackup, databaseBackupClass)];
}

export function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

export function list(value: string): string[] {
  const words = value.split(',').filter((word) => word !== '');
  // an empty variable of a shell must not become "all of them"
  if (words.length === 0) throw new InvalidArgumentError('It must name one at least.');
  return words;
}

export function number(value: string): number {
  const parsed = Number(value);
  if (!Number.isFinite(parsed) || parsed <= 0) throw new InvalidArgumentError('It must be a number above 0.');
  return parsed;
}

export function requestRate(value: string): number {
  const parsed = number(value);
  if (parsed < 10) throw new InvalidArgumentError('It must be 10 or more.');
  return parsed;
}
