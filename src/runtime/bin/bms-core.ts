/** The program bms-core: reads its configuration, starts the roles, ends when it is told to. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { type BmsCoreConfig, bmsCoreConfig, CONTRACT_VERSION, CodedError, environmentVariable, path } from 'cdk8s-baremetal-contract';
import { pino } from 'pino';
import { DEVICE_SOCKETS_VARIABLE, type DhcpInterface, deviceSockets, OPEN_DEVICE_SOCKETS, provisioningInterfaces } from '../boot/index.ts';
import { nodeClock } from '../core/node-clock.ts';
import { nodeNetwork } from '../core/node-network.ts';
import { nodeRandom } from '../core/node-random.ts';
import { replaceFile } from '../core/replace-file.ts';
import { type BmsCore, coreErrors, startBmsCore } from '../main.ts';
import { provisioningAddress } from './provisioning-address.ts';

const logger = pino(
  { level: process.env.LOG_LEVEL ?? 'info', base: null, timestamp: pino.stdTimeFunctions.isoTime },
  pino.destination({ dest: 1, sync: true }),
);

let core: BmsCore | undefined;
// from the beginning: what has process number 1, as in a container, is not ended by a signal that it does not handle
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop(signal));

run().catch(fail);

async function run(): Promise<void> {
  const file = configFile();
  checkContract(process.env[environmentVariable.contractVersion]);
  const config = bmsCoreConfig.parse(readConfig(file), { file, env: process.env });
  const interfaces = ownInterfaces(config);
  logger.info({ config: file, store: config.store.url, coordination: config.sw_coordination.backend_url }, 'bms-core starts');
  core = await startBmsCore({
    config,
    memberName: process.env[environmentVariable.nodeName] ?? hostname(),
    serverAddress: ownAddress(config),
    provisioningInterfaces: interfaces,
    stateDirectory: stateDirectoryOf(config),
    network: nodeNetwork,
    clock: nodeClock,
    random: nodeRandom,
    logger,
  });
  writePid(config.DEFAULT.pidfile);
}

/** While it starts nothing is under way that the next start would not find in the store. */
function stop(signal: string): void {
  logger.info({ signal }, 'stopping');
  const ended = core?.close() ?? Promise.resolve();
  ended.then(
    () => process.exit(0),
    (error: unknown) => fail(error),
  );
}

function configFile(): string {
  try {
    return parseArgs({ options: { config: { type: 'string', default: path.configFile } } }).values.config;
  } catch (error) {
    throw coreErrors.CORE_ARGUMENTS({ why: error instanceof Error ? (error.message.split('. ')[0] ?? '') : String(error) });
  }
}

function readConfig(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw coreErrors.CORE_CONFIG_FILE({ file, why: error instanceof Error && 'code' in error ? String(error.code) : String(error) });
  }
}

/** Gone again with the process, unless another one has taken its place. */
function writePid(file: string): void {
  try {
    replaceFile(file, `${process.pid}\n`);
  } catch (error) {
    logger.warn({ file, why: error instanceof Error ? error.message : String(error) }, 'the process number is not written');
    return;
  }
  process.once('exit', () => {
    try {
      if (readFileSync(file, 'utf8') === `${process.pid}\n`) rmSync(file);
    } catch {
      // it is gone already
    }
  });
}

/** A newer minor only adds; a newer major means something else by the same names. */
function checkContract(manifests: string | undefined): void {
  const major = (version: string): number => Number(version.split('.')[0]);
  if (manifests !== undefined && major(manifests) > major(CONTRACT_VERSION))
    throw coreErrors.CORE_CONTRACT_NEWER({ manifests, own: CONTRACT_VERSION });
}

/** Where [dhcp] interfaces are named, the program begins again with a socket for each, and is here a second time with them. */
function ownInterfaces({ dhcp }: BmsCoreConfig): readonly DhcpInterface[] {
  if (!dhcp.enabled || dhcp.interfaces.length === 0) return [];
  const sockets = deviceSockets(process.env[DEVICE_SOCKETS_VARIABLE]);
  const perl = ['/usr/bin/perl', '/bin/perl'].find((file) => existsSync(file));
  if (sockets.size === 0 && perl !== undefined && process.execve) {
    const launch = [perl, '-e', OPEN_DEVICE_SOCKETS, String(dhcp.port), ...dhcp.interfaces, '--'];
    process.execve(perl, [...launch, process.execPath, ...process.execArgv, ...process.argv.slice(1)], process.env);
  }
  const all = networkInterfaces();
  const addressOf = (name: string): string | undefined => all[name]?.find(({ family }) => family === 'IPv4')?.address;
  return provisioningInterfaces(dhcp.interfaces, addressOf, sockets);
}

function ownAddress(config: BmsCoreConfig): string {
  const address = provisioningAddress(config, networkInterfaces());
  if (address === undefined) throw coreErrors.CORE_NO_ADDRESS({ vip: config.pxe.nfs_server_ip ?? 'the VIP of VLAN 1800' });
  return address;
}

/** Beside the embedded database; other stores keep nothing here but secrets. */
function stateDirectoryOf(config: BmsCoreConfig): string {
  return config.store.url.startsWith('sqlite://') ? dirname(`/${config.store.url.replace(/^sqlite:\/+/, '')}`) : path.stateDirectory;
}

function fail(error: unknown): never {
  const fields = error instanceof CodedError ? { code: error.code, cure: error.cure } : {};
  logger.fatal(fields, error instanceof Error ? error.message : String(error));
  process.exit(1);
}
