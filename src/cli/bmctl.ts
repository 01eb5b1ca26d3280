#!/usr/bin/env -S node --import tsx
/** bmctl: the command line of cdk8s-baremetal. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { Command } from 'commander';
import { apiClient } from './api-client.ts';
import { registerClusterCommands } from './cluster/register.ts';
import { type CommandContext, explainMac, nodeList, nodeShow, nodeTimeline } from './node-commands.ts';

interface GlobalFlags {
  readonly api: string;
  readonly json?: boolean;
}

const program = new Command('bmctl')
  .description('Looks at and works with the machines of bms-core.')
  .option('--api <url>', "address of bms-core's API", process.env.BMCTL_API ?? 'http://127.0.0.1:7081')
  .option('--json', 'print what the API answers')
  .showHelpAfterError();

const context = (): CommandContext => {
  const flags = program.opts<GlobalFlags>();
  return {
    api: apiClient({ base: flags.api, network: nodeNetwork, clock: nodeClock }),
    asJson: flags.json === true,
    print: (text) => process.stdout.write(`${text}\n`),
  };
};

const node = program.command('node').description('machines');
node
  .command('list')
  .description('every machine with its state, and why it is in it')
  .action(() => nodeList(context()));
node
  .command('show')
  .description('one machine')
  .argument('<node>', 'name, UUID, number or MAC address')
  .action((key: string) => nodeShow(context(), key));
node
  .command('timeline')
  .description('what was seen of a machine and what was decided')
  .argument('<node>', 'name, UUID, number or MAC address')
  .action((key: string) => nodeTimeline(context(), key));
program
  .command('explain')
  .description('what a machine would boot now, and why')
  .argument('<mac>', 'MAC address')
  .action((mac: string) => explainMac(context(), mac));
registerClusterCommands(program);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`${error instanceof CodedError ? error : error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
