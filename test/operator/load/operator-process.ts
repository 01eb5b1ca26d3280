/**
 * The whole operator in a process of its own, to be measured, stopped and killed. Everything comes in the environment, as in its image; times of the
 * election may be shorter than a test can wait otherwise. Prints one line, the port of its health endpoints, when it listens.
 */
import { operatorProgram } from 'cdk8s-baremetal/operator-installation';
import { pino } from 'pino';
import { clientNodeTransport, loadKubeConfig } from '../../../src/operator/engine/client-node-transport.ts';
import { startOperator } from '../../../src/operator/main.ts';
import { mysqlDatabases } from '../../../src/operator/onecloud/mysql-databases.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { nodeRandom } from '../../../src/runtime/core/node-random.ts';

const {
  POD_NAME = 'operator-0',
  POD_NAMESPACE = 'default',
  WATCH_NAMESPACES = '',
  ELECTION_MS = '',
  DATABASES = '',
  LOG_LEVEL = 'silent',
  API_REQUESTS_PER_SECOND = String(operatorProgram.requestsPerSecond),
} = process.env;
const [leaseDurationMs, renewDeadlineMs, retryPeriodMs] = ELECTION_MS.split(',').map(Number);
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort(new Error('SIGTERM')));

run().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
});

async function run(): Promise<void> {
  const { local, ended } = await startOperator(
    {
      transport: clientNodeTransport(loadKubeConfig(), nodeClock),
      clock: nodeClock,
      random: nodeRandom,
      logger: pino({ level: LOG_LEVEL, base: null }, pino.destination({ dest: 2, sync: true })),
      network: nodeNetwork,
      podName: POD_NAME,
      podNamespace: POD_NAMESPACE,
      watchNamespaces: WATCH_NAMESPACES.split(',').filter((name) => name !== ''),
      requestsPerSecond: Number(API_REQUESTS_PER_SECOND),
      listen: { address: '127.0.0.1', port: 0 },
      ...(DATABASES !== '' && { databases: mysqlDatabases({ clock: nodeClock }) }),
      ...(leaseDurationMs && renewDeadlineMs && retryPeriodMs && { electionTimes: { leaseDurationMs, renewDeadlineMs, retryPeriodMs } }),
    },
    stop.signal,
  );
  process.stdout.write(`${local.port}\n`);
  await ended;
  process.exit(0);
}
