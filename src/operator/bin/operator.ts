/** The program of the operator's image: reads its environment, works, ends when it is told to. */

import { hostname } from 'node:os';
import { operatorProgram } from 'cdk8s-baremetal/operator-installation';
import { CodedError } from 'cdk8s-baremetal-contract';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { pino } from 'pino';
import { clientNodeTransport, loadKubeConfig } from '../engine/client-node-transport.ts';
import { operatorErrors } from '../engine/errors.ts';
import { startOperator } from '../main.ts';
import { keystoneIdentity } from '../onecloud/keystone-identity.ts';
import { mysqlDatabases } from '../onecloud/mysql-databases.ts';

const { variables, port } = operatorProgram;
const logger = pino(
  { level: process.env.LOG_LEVEL ?? 'info', base: null, timestamp: pino.stdTimeFunctions.isoTime },
  pino.destination({ dest: 1, sync: true }),
);

run().catch(fail);

async function run(): Promise<void> {
  const {
    [variables.podName]: podName = hostname(),
    [variables.podNamespace]: podNamespace = 'onecloud-system',
    [variables.image]: image,
    [variables.requestsPerSecond]: requests = String(operatorProgram.requestsPerSecond),
  } = process.env;
  const requestsPerSecond = Number(requests);
  if (!(requestsPerSecond >= 10)) throw operatorErrors.OPERATOR_REQUESTS_INVALID({ name: variables.requestsPerSecond, value: requests });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => {
      logger.info({ signal: name }, 'stopping');
      stop.abort(new Error(name));
    });
  }
  const { ended } = await startOperator(
    {
      transport: clientNodeTransport(loadKubeConfig(), nodeClock),
      clock: nodeClock,
      random: nodeRandom,
      logger,
      network: nodeNetwork,
      podName,
      podNamespace,
      watchNamespaces: (process.env[variables.watchNamespaces] ?? '')
        .split(',')
        .map((name) => name.trim())
        .filter((name) => name !== ''),
      ...(image !== undefined && image !== '' && { image }),
      requestsPerSecond,
      listen: { port },
      databases: mysqlDatabases({ clock: nodeClock }),
      identity: keystoneIdentity({ network: nodeNetwork, clock: nodeClock }),
    },
    stop.signal,
  );
  await ended;
  process.exit(0);
}

function fail(error: unknown): never {
  const fields = error instanceof CodedError ? { code: error.code, cure: error.cure } : {};
  logger.fatal(fields, error instanceof Error ? error.message : String(error));
  process.exit(1);
}
