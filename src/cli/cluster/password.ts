/** Where a password comes from: never from the command line, which every account of the machine can read. */
import { readFileSync } from 'node:fs';
import { Secret } from 'cdk8s-baremetal-contract';
import { clusterErrors } from './errors.ts';

export const PASSWORD_VARIABLE = 'BMCTL_MYSQL_PASSWORD';

export interface PasswordFlags {
  readonly mysqlPasswordFile?: string;
  readonly mysqlPasswordStdin?: boolean;
  /** NAME or NAME/KEY of a Secret that is there already. */
  readonly mysqlSecret?: string;
  /** The original's flag; refused. */
  readonly mysqlPassword?: unknown;
}

export type PasswordSource =
  | { readonly type: 'value'; readonly value: Secret; readonly from: string }
  | { readonly type: 'secret'; readonly name: string; readonly key: string };

export interface PasswordSurroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly readStdin: () => Promise<string>;
}

/**
 * The one source that is given; undefined when there is none.
 * @throws CodedError CLUSTER_PASSWORD_IN_ARGV, CLUSTER_PASSWORD_SOURCES, CLUSTER_PASSWORD_UNUSABLE, CLUSTER_FILE_UNREADABLE
 */
export async function readPassword(flags: PasswordFlags, around: PasswordSurroundings): Promise<PasswordSource | undefined> {
  if (flags.mysqlPassword !== undefined) throw clusterErrors.CLUSTER_PASSWORD_IN_ARGV({});
  const { mysqlPasswordFile: file, mysqlPasswordStdin: stdin, mysqlSecret: secret } = flags;
  const variable = around.environment[PASSWORD_VARIABLE];
  const given = [
    ...(file === undefined ? [] : ['--mysql-password-file']),
    ...(stdin ? ['--mysql-password-stdin'] : []),
    ...(secret === undefined ? [] : ['--mysql-secret']),
  ];
  // a variable of the environment is a default: what is named on the command line wins
  if (given.length > 1) throw clusterErrors.CLUSTER_PASSWORD_SOURCES({ given });
  if (secret !== undefined) {
    const [name = '', key = 'password'] = secret.split('/');
    return { type: 'secret', name, key };
  }
  if (file !== undefined) return { type: 'value', value: usable(readText(file), file), from: file };
  if (stdin) return { type: 'value', value: usable(await around.readStdin(), 'standard input'), from: 'standard input' };
  if (variable !== undefined) return { type: 'value', value: usable(variable, PASSWORD_VARIABLE), from: PASSWORD_VARIABLE };
  return undefined;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw clusterErrors.CLUSTER_FILE_UNREADABLE({ file, reason: cause instanceof Error ? cause.message : String(cause) }, { cause });
  }
}

/** One line break at the end is an editor's. */
function usable(text: string, source: string): Secret {
  const value = text.replace(/\r?\n$/, '');
  const reason = value === '' ? 'is empty' : /\p{Cc}/u.test(value) ? 'has control characters or more than one line' : undefined;
  if (reason !== undefined) throw clusterErrors.CLUSTER_PASSWORD_UNUSABLE({ source, reason });
  return new Secret(value);
}
