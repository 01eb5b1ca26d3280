/** Secrets from a file, standard input or the environment; never from the command line, which every process can read. */
import { readFileSync } from 'node:fs';
import { defineErrors, entry } from 'cdk8s-baremetal-contract';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { ExitError, exitCode } from './exit-codes.ts';
import type { Surroundings } from './surroundings.ts';

export const secretErrors = defineErrors('bmctl secrets', {
  BMCTL_SECRET: entry<{ what: string; file: string; env: string }>({
    message: ({ what }) => `${what} is needed`,
    cure: ({ file, env }) => `Give ${file} FILE (- for standard input), or set ${env}`,
  }),
  BMCTL_SECRET_FILE: entry<{ path: string; why: string }>({
    message: ({ path, why }) => `${path} cannot be read: ${why}`,
    cure: 'Check the path and its permissions',
  }),
  BMCTL_TOKEN: entry<{ where: string; why: string }>({
    message: ({ where, why }) => `what ${where} holds is no token of the API: ${why}`,
    cure: 'Put the one line there that bmctl token create printed',
  }),
});

/** A token goes into a header: one word of ASCII. What it is not is told without telling it. */
export function checkedToken(token: Secret, where: string): Secret {
  const text = token.reveal();
  const why =
    text === ''
      ? 'nothing'
      : /\s/.test(text)
        ? 'several words or lines'
        : /^[!-~]+$/.test(text)
          ? undefined
          : 'other characters than ASCII';
  if (why !== undefined) throw new ExitError(exitCode.usage, secretErrors.BMCTL_TOKEN({ where, why }));
  return token;
}

/** Without the line break that editors and echo put at its end. Undefined when it is nowhere. */
export async function readSecret(
  { env, stdin }: Pick<Surroundings, 'env' | 'stdin'>,
  file: string | undefined,
  variable: string,
): Promise<Secret | undefined> {
  if (file === undefined) {
    const value = env[variable];
    return value === undefined ? undefined : new Secret(value);
  }
  if (file === '-') return new Secret((await stdin()).replace(/\r?\n$/, ''));
  try {
    return new Secret(readFileSync(file, 'utf8').replace(/\r?\n$/, ''));
  } catch (error) {
    throw secretErrors.BMCTL_SECRET_FILE({
      path: file,
      why: error instanceof Error && 'code' in error ? String(error.code) : String(error),
    });
  }
}
