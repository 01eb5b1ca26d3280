/** The program kolla_set_configs, as a function: arguments and environment in, exit code out. */
import { CodedError } from 'cdk8s-baremetal-contract/errors';
import { checkConfigs } from './check-configs.ts';
import type { TextParser } from './config.ts';
import { exitCodeOf, launchErrors } from './errors.ts';
import { lineLogger } from './line-logger.ts';
import { setConfigs } from './set-configs.ts';

export interface SetConfigsProgram {
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly yaml: TextParser;
  /** Where the log goes: standard error. */
  readonly write: (text: string) => void;
  /** See SetConfigsOptions.root; not to be had from the command line, where sudo would let a user aim it. */
  readonly root?: string;
}

export function setConfigsMain({ args, environment, yaml, write, root }: SetConfigsProgram): number {
  const log = lineLogger(write);
  try {
    const unknown = args.find((arg) => arg !== '--check');
    if (unknown !== undefined) throw launchErrors.LAUNCH_USAGE({ given: unknown, usage: 'kolla_set_configs [--check]' });
    const options = { environment, yaml, log, ...(root !== undefined && { root }) };
    if (args.includes('--check')) checkConfigs(options);
    else setConfigs(options);
    return 0;
  } catch (error) {
    if (!(error instanceof CodedError)) {
      log.error(`Unexpected error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      return 2;
    }
    const exitCode = exitCodeOf(error.code);
    if (exitCode === 0) log.info(error.toString());
    else log.error(error.toString());
    return exitCode;
  } finally {
    log.flush();
  }
}
