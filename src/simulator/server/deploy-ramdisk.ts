/**
 * What a deploy ramdisk does once its kernel runs: finds its disk, exports it by iSCSI with the CHAP secret of this deployment,
 * posts to the boot server, waits for a "done" that proves to come from it, stops the target. It restarts the machine after that. With
 * `bms_action=inspect` or `rescue` on its command line it exports nothing, posts what it found or that it is up, and stays up.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Clock, Logger, Network, Random, TcpConnection } from 'cdk8s-baremetal-runtime/core/index';
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import { RAMDISK_REPORT_PATH } from 'cdk8s-baremetal-runtime/deploy/helper/index';
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
  /** What an inspection finds beside the disks and the card that it booted from. */
  readonly hardware?: SimulatedHardware;
  /** Where the deploy-helper listens, and where the ramdisk listens for "done". */
  readonly deployHelperPort: number;
  readonly iscsiPort: number;
  readonly onEvent: (type: string, detail?: string) => void;
}

export interface SimulatedHardware {
  readonly cpus?: number;
  readonly memoryMb?: number;
  readonly cpuArch?: string;
}

/** diskimage-builder's ramdisk looks ten times, a second apart. */
const DISK_TRIES = 10;
/** A boot server that restarts is back within minutes; whoever gives up at once stands there until somebody comes. */
const POST_TRIES = 60;
const POST_PAUSE_MS = 5_000;
const LONGEST_LINE_BYTES = 1024;
/** How long the other side may take to close after its line. */
const CLOSE_WAIT_MS = 2_000;

class RamdiskError extends Error {}

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
  const way = { network, clock, signal, bootServer, port: deployHelperPort, address };
  const action = argument('bms_action');
  if (action === 'inspect' || action === 'rescue') {
    const body = { node: Number(id), key, ...(action === 'inspect' && { facts: hardwareFacts(options, needed('BOOTIF')) }) };
    await send(way, RAMDISK_REPORT_PATH, 'application/json', JSON.stringify(body));
    onEvent(action === 'inspect' ? 'facts posted' : 'rescue shell open', `${bootServer}:${deployHelperPort}`);
    return untilPowerOff(signal);
  }
  const post = (error?: string): Promise<void> =>
    report(way, { i: id, k: key, a: address, n: iqn, ...(error !== undefined && { e: error }) });

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
    chap: { user: `bms-${iqn.slice(iqn.lastIndexOf(':') + 1)}`, secret: new ChapSecret(hash('chap').slice(0, 32)) },
  });
  const done = Promise.withResolvers<void>();
  const token = Buffer.from(`done ${hash('done')}`);
  const waiting = await network.listen({ address, port: deployHelperPort }, (connection) => {
    hears(connection, token, clock).then(
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
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly bootServer: string;
  readonly port: number;
  readonly address: string;
}

/** It stays up for somebody to log in, or for the power to be cut. */
function untilPowerOff(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** `bootif`: 01-aa-bb-cc-dd-ee-ff, as pxelinux appends it. */
function hardwareFacts({ disks, diskSerial, hardware }: RamdiskOptions, bootif: string) {
  return {
    ...hardware,
    firmware: 'bios',
    disks: [...disks].map(([name, { sizeBytes }]) => ({ name, sizeBytes, serial: diskSerial })),
    interfaces: [{ name: 'eth0', mac: bootif.slice(3).replaceAll('-', ':').toLowerCase(), linkUp: true }],
  };
}

function report(way: Reporting, fields: Record<string, string>): Promise<void> {
  return send(way, '/', 'application/x-www-form-urlencoded', new URLSearchParams(fields).toString());
}

/**
 * Posts until somebody answers. A refusal is final, but for 409 after a try whose answer was lost: that try has been accepted, and
 * the key has only one use.
 */
async function send(
  { network, clock, signal, bootServer, port, address }: Reporting,
  path: string,
  contentType: string,
  content: string,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    let refusal: string;
    try {
      const { status, body } = await network.request({
        method: 'POST',
        url: `http://${bootServer}:${port}${path}`,
        headers: { 'content-type': contentType },
        body: content,
        localAddress: address,
        signal,
      });
      if (status === 200 || (status === 409 && tries > 1)) return;
      refusal = `the deploy-helper answered ${status}: ${Buffer.from(body).toString('utf8').trim()}`;
      if (status < 500 || status === 501) throw new RamdiskError(refusal);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof RamdiskError) throw error;
      refusal = `the deploy-helper cannot be reached: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (tries >= POST_TRIES) throw new RamdiskError(refusal);
    await sleep(clock, POST_PAUSE_MS, signal);
  }
}

/**
 * Whether the first line of a connection is the expected one; compared in constant time, since anybody may try. Ends when the
 * connection does: a machine that restarts before its last packets are out would leave the other side in doubt.
 */
async function hears(connection: TcpConnection, expected: Buffer, clock: Clock): Promise<boolean> {
  const input = connection[Symbol.asyncIterator]();
  let text = Buffer.alloc(0);
  for (;;) {
    const chunk = await input.next();
    if (chunk.done) break;
    text = Buffer.concat([text, chunk.value]);
    if (text.includes('\n') || text.length > LONGEST_LINE_BYTES) break;
  }
  connection.end();
  const waited = new AbortController();
  const closed = drained(input).finally(() => waited.abort());
  await Promise.race([closed, sleep(clock, CLOSE_WAIT_MS, waited.signal).then(() => connection.destroy())]).catch(() => undefined);
  const [line = ''] = text.toString('latin1').split('\n');
  const heard = Buffer.from(line.trim(), 'latin1');
  return heard.length === expected.length && timingSafeEqual(heard, expected);
}

async function drained(input: AsyncIterator<Uint8Array>): Promise<void> {
  while (!(await input.next()).done);
}
