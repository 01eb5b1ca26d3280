/** bmctl in this process, with surroundings of the test's own. */
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { seededRandom } from 'cdk8s-baremetal-simulator';
import { buildProgram, runProgram } from '../../src/cli/program.ts';
import type { Surroundings } from '../../src/cli/surroundings.ts';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function runBmctl(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  stdin = '',
  other: Partial<Surroundings> = {},
): Promise<Ran> {
  const out: string[] = [];
  const err: string[] = [];
  const world: Surroundings = {
    network: nodeNetwork,
    clock: nodeClock,
    random: seededRandom(args.join(' ')),
    env,
    stdin: async () => stdin,
    print: (text) => out.push(text),
    note: (text) => err.push(text),
    signal: new AbortController().signal,
    ...other,
  };
  const program = buildProgram(world);
  const quiet = (command: typeof program): void => {
    command.configureOutput({ writeOut: (text) => out.push(text), writeErr: (text) => err.push(text) });
    for (const one of command.commands) quiet(one);
  };
  quiet(program);
  const code = await runProgram(program, args, world);
  return { code, out: out.join('\n'), err: err.join('\n') };
}
