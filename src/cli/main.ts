/** bmctl over the real world: sockets, clock, terminal. */
import { text } from 'node:stream/consumers';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { registerClusterCommands } from './cluster/register.ts';
import { exitCode } from './exit-codes.ts';
import { buildProgram, runProgram } from './program.ts';
import type { Surroundings } from './surroundings.ts';
import { nodeTerminal } from './terminal.ts';

const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort(new Error('interrupted')));
// whoever reads may go away (`| head`)
process.stdout.on('error', () => process.exit(exitCode.done));
// nobody reads what went wrong; the exit code still says that something did
process.stderr.on('error', () => undefined);

const isTerminal = process.stderr.isTTY === true;
let openLine = false;
const endLine = (): void => {
  if (openLine) process.stderr.write('\n');
  openLine = false;
};
const world: Surroundings = {
  network: nodeNetwork,
  clock: nodeClock,
  random: nodeRandom,
  env: process.env,
  stdin: () => text(process.stdin),
  print: (line) => {
    endLine();
    process.stdout.write(`${line}\n`);
  },
  note: (line) => {
    endLine();
    process.stderr.write(`${line}\n`);
  },
  ...(isTerminal && {
    progress: (line: string) => {
      process.stderr.write(`\r\x1b[K${line}`);
      openLine = true;
    },
  }),
  ...(process.stdin.isTTY && process.stdout.isTTY && { terminal: nodeTerminal(process.stdin, process.stdout) }),
  signal: interrupted.signal,
};

const program = buildProgram(world);
registerClusterCommands(program);
process.exitCode = await runProgram(program, process.argv.slice(2), world);
endLine();
