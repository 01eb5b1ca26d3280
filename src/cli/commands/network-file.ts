/** The network of an instance from a file, for `bmctl deploy --network`. */
import { readFileSync } from 'node:fs';
import { type InstanceNetwork, instanceNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import { readDocuments } from 'cdk8s-baremetal-runtime/machine/import/documents';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import type { CommandContext } from '../node-commands.ts';

/** JSON or YAML; - is standard input. What is wrong in it is named by its field. */
export async function readNetwork({ stdin }: CommandContext, path: string): Promise<InstanceNetwork> {
  const refuse = (why: string): never => {
    throw new ExitError(exitCode.usage, commandErrors.BMCTL_NETWORK({ path, why }));
  };
  let value: unknown;
  try {
    [value] = readDocuments(path === '-' ? await stdin() : readFileSync(path, 'utf8'));
  } catch (error) {
    return refuse(error instanceof Error ? ('code' in error ? String(error.code) : error.message) : String(error));
  }
  const read = instanceNetwork.safeParse(value);
  if (read.success) return read.data;
  return refuse(read.error.issues.map(({ path: where, message }) => `${where.join('.')}: ${message}`).join('; '));
}
