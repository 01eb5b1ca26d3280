/** The program behind `npm run demo`. */
import { App } from 'cdk8s';
import { CodedError } from 'cdk8s-baremetal-contract';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { Command, InvalidArgumentError } from 'commander';
import { pino } from 'pino';
import { wuxi2 } from '../../../examples/wuxi2.ts';
import { type RunningDemo, runDemo } from './run-demo.ts';

interface Flags {
  readonly nodes: number;
  readonly image?: string;
  readonly keep?: boolean;
  readonly portBase: number;
  readonly verbose?: boolean;
}

/** Exit codes of sysexits and shells: 0 done, 1 a machine is not deployed, 130 interrupted. */
const INTERRUPTED = 130;

const program = new Command('demo')
  .description('Deploys simulated servers of the example site on this machine: no root, no cluster, no hardware.')
  .option('-n, --nodes <number>', 'how many machines to deploy', wholeNumber, 1)
  .option('-i, --image <file>', 'disk image to deploy, raw or qcow2 (default: a sparse one of 96 MiB)')
  .option('-k, --keep', 'leave everything running until ^C, to look at it with bmctl')
  .option('-p, --port-base <number>', 'added to every port, where the usual ones are taken', wholeNumber, 0)
  .option('-v, --verbose', 'print the log of bms-core (JSON lines, on standard error)')
  .showHelpAfterError();

program.parse();
const flags = program.opts<Flags>();
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interrupted.abort(new Error(name)));
// whoever reads may go away (`| head`): nobody is left to be told, but everything is still taken down
process.stdout.on('error', (error) => interrupted.abort(error));

const isTerminal = process.stdout.isTTY === true;
let openLine = false;
const print = (line: string): void => {
  process.stdout.write(`${openLine ? '\r\x1b[K' : ''}${line}\n`);
  openLine = false;
};
/** Overwritten by the next line on a terminal, a line of its own elsewhere. */
const progress = (line: string): void => {
  if (isTerminal) {
    process.stdout.write(`\r\x1b[K  ${line}`);
    openLine = true;
  } else print(`  ${line}`);
};

try {
  await runDemo({
    site: wuxi2(new App()).input,
    nodes: flags.nodes,
    ...(flags.image !== undefined && { image: flags.image }),
    ...(flags.keep && { keep: untilInterrupted }),
    portBase: flags.portBase,
    signal: interrupted.signal,
    network: nodeNetwork,
    clock: nodeClock,
    random: nodeRandom,
    logger: pino({ level: flags.verbose ? 'debug' : 'silent' }, pino.destination(2)),
    print,
    progress,
  });
} catch (error) {
  if (interrupted.signal.aborted) {
    print('Interrupted: everything is stopped and removed.');
    process.exitCode = INTERRUPTED;
  } else {
    print(`\n${error instanceof CodedError ? error : error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    process.exitCode = 1;
  }
}

async function untilInterrupted({ machines, core }: RunningDemo): Promise<void> {
  const [first] = machines;
  const api = core.apiUrl === 'http://127.0.0.1:7081' ? '' : ` --api ${core.apiUrl}`;
  print('\nEverything keeps running. In another terminal, try:');
  print(`  npx bmctl${api} node list`);
  print(`  npx bmctl${api} node show ${first?.name}`);
  print(`  npx bmctl${api} node timeline ${first?.name}`);
  print(`  npx bmctl${api} explain ${first?.mac}`);
  print('^C ends it.');
  await new Promise<void>((resolve) => interrupted.signal.addEventListener('abort', () => resolve(), { once: true }));
}

function wholeNumber(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
