/** The program fetch-config: the init container of the original's DaemonSet. */
import { CodedError } from 'cdk8s-baremetal-contract/errors';
import { nodeClock } from '../core/node-clock.ts';
import { nodeNetwork } from '../core/node-network.ts';
import { fetchConfig } from '../launch/fetch-config.ts';

fetchConfig({ env: process.env, network: nodeNetwork, clock: nodeClock }).then(
  ({ configMap, configFile, environmentFile }) => {
    process.stdout.write(`${configMap}: wrote ${configFile} and ${environmentFile}\n`);
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof CodedError ? error : error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);
