/**
 * What a deploy ramdisk does once its kernel runs: finds its disk, exports it by iSCSI with the CHAP secret of this deployment,
 * posts to the boot server, waits for a "done" that proves to come from it, stops the target. It restarts the machine after that.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Clock, Logger, Network, Random, TcpConnection } from 'cdk8s-baremetal-runtime/core/index';
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import { ChapSecret } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import type { BlockDevice } from '../disk/index.ts';
import { startIscsiTarget } from '../iscsi-target/index.ts';

export interface RamdiskOptions {
  readonly commandLine: readonly string[];
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** What the machine has under /dev, by name (sda, vda …). */
  readonly disks: ReadonlyMap<string, BlockDevice>;
  readonly diskSerial: string;
  /** Where the deploy-helper listens, and where the ramdisk listens for "done". */
  readonly deployHelperPort: number;
  readonly iscsiPort: number;
  readonly onEvent: (type: string, detail?: string) => void;
}

/** diskimage-builder's ramdisk looks ten times, a second apart. */
const DISK_TRIES = 10;
const LONGEST_LINE_BYTES = 1024;

export class RamdiskError extends Error {}

/** Resolves when the ramdisk has been told that it is done. Rejects with RamdiskError, or with the signal's reason. */
export async function runDeployRamdisk(options: RamdiskOptions): Promise<void> {
  const { commandLine, network, clock, random, logger, signal, deployHelperPort, iscsiPort, onEvent } = options;
  const argument = (name: string): string | undefined => commandLine.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
  const needed = (name: string): string => {
    const value = argument(name);
    if (!value) throw new RamdiskError(`${name} is not defined`);
    return value;
  };
  const iqn = needed('iscsi_target_iqn');
  const id = needed('deployment_id');
  const key = needed('deployment_key');
  const [address = '', bootServer = ''] = needed('ip').split(':');
  const post = (error?: string): Promise<void> =>
    report(
      { network, signal, bootServer, port: deployHelperPort, address },
      { i: id, k: key, a: address, n: iqn, ...(error !== undefined && { e: error }) },
    );

  const disk = await findDisk((argument('disk') ?? 'cciss/c0d0,sda,hda,vda').split(','), options);
  if (!disk) {
    await post('Could not find disk to use.');
    throw new RamdiskError('there is no disk to use');
  }
  const hash = (what: string): string => createHash('sha256').update(`${what} ${key}`).digest('hex');
  const target = await startIscsiTarget({
    network,
    clock,
    random,
    logger,
    address,
    port: iscsiPort,
    targetName: iqn,
    luns: { 1: { device: disk, serial: options.diskSerial } },
    chap: { user: iqn.slice(iqn.lastIndexOf(':') + 1), secret: new ChapSecret(hash('chap').slice(0, 32)) },
  });
  const done = Promise.withResolvers<void>();
  const token = Buffer.from(`done ${hash('done')}`);
  const waiting = await network.listen({ address, port: deployHelperPort }, (connection) => {
    hears(connection, token).then(
      (right) => (right ? done.resolve() : onEvent('a stranger said done', connection.remote.address)),
      () => undefined,
    );
  });
  const stopped = Promise.withResolvers<never>();
  const onAbort = (): void => stopped.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  stopped.promise.catch(() => undefined); // may abort when nobody waits any more
  try {
    onEvent('disk exported', `${iqn} on ${address}:${iscsiPort}`);
    await post();
    onEvent('posted to the deploy-helper', `${bootServer}:${deployHelperPort}`);
    await Promise.race([done.promise, stopped.promise]);
    onEvent('told that it is done');
  } finally {
    signal.removeEventListener('abort', onAbort);
    await waiting.close();
    await target.close();
  }
}

async function findDisk(names: readonly string[], { disks, clock, signal }: RamdiskOptions): Promise<BlockDevice | undefined> {
  for (let tries = 0; tries < DISK_TRIES; tries++) {
    const name = names.find((candidate) => disks.has(candidate));
    if (name !== undefined) return disks.get(name);
    await sleep(clock, 1000, signal);
  }
  return undefined;
}

interface Reporting {
  readonly network: Network;
  readonly signal: AbortSignal;
  readonly bootServer: string;
  readonly port: number;
  readonly address: string;
}

async function report({ network, signal, bootServer, port, address }: Reporting, fields: Record<string, string>): Promise<void> {
  const { status, body } = await network.request({
    method: 'POST',
    url: `http://${bootServer}:${port}/`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(fields).toString(),
    localAddress: address,
    signal,
  });
  if (status !== 200) throw new RamdiskError(`the deploy-helper answered ${status}: ${Buffer.from(body).toString('utf8').trim()}`);
}

/** Whether the first line of a connection is the expected one; compared in constant time, since anybody may try. */
async function hears(connection: TcpConnection, expected: Buffer): Promise<boolean> {
  let text = Buffer.alloc(0);
  try {
    for await (const chunk of connection) {
      text = Buffer.concat([text, chunk]);
      if (text.includes('\n') || text.length > LONGEST_LINE_BYTES) break;
    }
  } finally {
    connection.end();
  }
  const [line = ''] = text.toString('latin1').split('\n');
  const heard = Buffer.from(line.trim(), 'latin1');
  return heard.length === expected.length && timingSafeEqual(heard, expected);
}
