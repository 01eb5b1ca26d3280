/** The arguments of programs that people run by npm. */
import { type ParseArgsConfig, parseArgs } from 'node:util';

type Parsed<T extends ParseArgsConfig> = ReturnType<typeof parseArgs<T>>;

/** Ends the process with 2 and `usage` where an argument is wrong, with 0 and `usage` for --help. */
export function commandLine<const T extends ParseArgsConfig>(usage: string, config: T): Parsed<T> {
  if (process.argv.slice(2).some((word) => word === '--help' || word === '-h')) {
    console.log(usage);
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    return wrongArguments(usage, error instanceof Error ? (error.message.split('. ')[0] ?? '') : String(error));
  }
}

export function wrongArguments(usage: string, why: string): never {
  console.error(`${why}\n\n${usage}`);
  process.exit(2);
}
