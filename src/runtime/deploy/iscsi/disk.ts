/**
 * A disk behind an iSCSI target, for the deploy-helper: read, write, zero, flush. Extents are whole blocks. Commands are
 * pipelined: as many at once as the queue depth, each as large as one burst of the session.
 */
import { eachPiece, Slots } from './command-slots.ts';
import { type DiskIdentity, identify } from './disk-identity.ts';
import { iscsiErrors, portalName } from './errors.ts';
import { openSession, type SessionOptions } from './open-session.ts';
import { PduError } from './pdu.ts';
import { release, reserve } from './reservation.ts';
import { type RunContext, runCommand } from './run-command.ts';
import { type Identifier, parseReportLuns, reportLuns, synchronizeCache10, synchronizeCache16, transfer } from './scsi.ts';
import { isIllegalRequest } from './sense.ts';
import type { IscsiSession } from './session.ts';
import type { ScsiCommand } from './tasks.ts';
import { Zeroing } from './zeroing.ts';

export interface DiskOptions extends SessionOptions {
  readonly targetName: string;
  readonly lun: number;
  /** Commands at once. Default 32. */
  readonly queueDepth?: number;
}

export interface IscsiDisk {
  readonly blockBytes: number;
  readonly sizeBytes: number;
  /** VPD page 80h; empty when the disk tells none. */
  readonly serial: string;
  /** VPD page 83h. */
  readonly identifiers: readonly Identifier[];
  readonly vendor: string;
  readonly product: string;
  /** Aborts, with the reason, when the session is over. */
  readonly over: AbortSignal;
  /** Into a buffer of its own. */
  read(offset: number, bytes: number): Promise<Buffer<ArrayBuffer>>;
  /** Resolves when the disk has the data (flush makes it durable); `data` must not change until then. */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** Makes the extent zeros, sending as few of them as the disk allows. */
  zero(offset: number, bytes: number): Promise<void>;
  flush(): Promise<void>;
  /**
   * Keeps every other initiator from writing until `close`, by a persistent reservation, taken from whoever has one. False where the target
   * has none to give.
   */
  reserve(): Promise<boolean>;
  /** Logs out. Does not flush. Never throws. */
  close(): Promise<void>;
}

const DEFAULT_QUEUE_DEPTH = 32;
/** One command moves a burst, but no less and no more than these. */
const SMALLEST_COMMAND_BYTES = 64 * 1024;
const LARGEST_COMMAND_BYTES = 1024 * 1024;
/** A disk empties a cache of hundreds of megabytes. */
const FLUSH_TIMEOUT_MS = 120_000;

/** Logs in, identifies the LUN and reads its size. Throws a CodedError of the ISCSI area, or the signal's reason. */
export async function openDisk(options: DiskOptions): Promise<IscsiDisk> {
  const session = await openSession(options);
  try {
    return await Disk.open(session, options);
  } catch (error) {
    await session.logout();
    if (!(error instanceof PduError)) throw error;
    throw iscsiErrors.ISCSI_PROTOCOL({ portal: portalName(options.portal), reason: error.message }, { cause: error });
  }
}

/** The LUNs behind a target. */
export async function listLuns(options: SessionOptions & { readonly targetName: string }): Promise<number[]> {
  const session = await openSession(options);
  try {
    const answer = Buffer.alloc(8 + 8 * 512);
    const moved = await runCommand(
      { session, clock: options.clock, random: options.random },
      { lun: 0, ...reportLuns(answer.length), dataIn: answer },
    );
    return parseReportLuns(answer.subarray(0, moved));
  } finally {
    await session.logout();
  }
}

class Disk implements IscsiDisk {
  readonly blockBytes: number;
  readonly sizeBytes: number;
  readonly serial: string;
  readonly identifiers: readonly Identifier[];
  readonly vendor: string;
  readonly product: string;
  readonly over: AbortSignal;
  private readonly commandBytes: number;
  private readonly slots: Slots;
  private readonly zeroing: Zeroing;
  private reservation: bigint | undefined;

  static async open(session: IscsiSession, options: DiskOptions): Promise<Disk> {
    const context: RunContext = { session, clock: options.clock, random: options.random };
    return new Disk(context, options, await identify(context, options));
  }

  private constructor(
    private readonly context: RunContext,
    private readonly options: DiskOptions,
    identity: DiskIdentity,
  ) {
    const { blocks, blockBytes, limits } = identity;
    this.blockBytes = blockBytes;
    this.sizeBytes = blocks * blockBytes;
    this.serial = identity.serial;
    this.identifiers = identity.identifiers;
    this.vendor = identity.inquiry.vendor;
    this.product = identity.inquiry.product;
    this.over = context.session.over;
    const { maxBurstBytes } = context.session.parameters;
    const wanted = Math.min(Math.max(maxBurstBytes, SMALLEST_COMMAND_BYTES), LARGEST_COMMAND_BYTES);
    const allowed = limits.maxTransferBlocks > 0 ? limits.maxTransferBlocks * blockBytes : wanted;
    this.commandBytes = wholeBlocks(Math.min(wanted, allowed), blockBytes);
    this.slots = new Slots(options.queueDepth ?? DEFAULT_QUEUE_DEPTH);
    this.zeroing = new Zeroing({
      identity,
      commandBytes: this.commandBytes,
      logger: options.logger,
      run: (command) => this.run(command),
      read: (at, into) => this.get(at, into),
      write: (at, data) => this.put(at, data),
    });
  }

  async read(offset: number, bytes: number): Promise<Buffer<ArrayBuffer>> {
    this.check(offset, bytes);
    const into = Buffer.allocUnsafeSlow(bytes);
    await eachPiece(this.slots, { offset, bytes, pieceBytes: this.commandBytes }, (at, length) =>
      this.get(at, into.subarray(at - offset, at - offset + length)),
    );
    return into;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.check(offset, data.length);
    await eachPiece(this.slots, { offset, bytes: data.length, pieceBytes: this.commandBytes }, (at, length) =>
      this.put(at, data.subarray(at - offset, at - offset + length)),
    );
  }

  async zero(offset: number, bytes: number): Promise<void> {
    this.check(offset, bytes);
    await eachPiece(this.slots, { offset, bytes, pieceBytes: this.zeroing.pieceBytes }, (at, length) => this.zeroing.zero(at, length));
  }

  async flush(): Promise<void> {
    try {
      await this.run({ ...synchronizeCache10(), timeoutMs: FLUSH_TIMEOUT_MS });
    } catch (error) {
      if (!isIllegalRequest(error)) throw error;
      await this.run({ ...synchronizeCache16(), timeoutMs: FLUSH_TIMEOUT_MS });
    }
  }

  async reserve(): Promise<boolean> {
    // "BMS" in front, for people who look with sg_persist; the rest so that an older session of ours is told from this one
    const key = Buffer.concat([Buffer.from('BMS'), this.options.random.bytes(5)]).readBigUInt64BE();
    const reserved = await reserve((command) => runCommand(this.context, { ...command, lun: this.options.lun }), key);
    if (reserved) this.reservation = key;
    return reserved;
  }

  async close(): Promise<void> {
    const { reservation } = this;
    this.reservation = undefined;
    if (reservation !== undefined && !this.over.aborted) {
      await release((command) => runCommand(this.context, { ...command, lun: this.options.lun }), reservation).catch((error: unknown) =>
        this.options.logger.debug({ error: String(error) }, 'the reservation was not given back; it ends with the target'),
      );
    }
    await this.context.session.logout();
  }

  private get(offset: number, dataIn: Uint8Array): Promise<void> {
    return this.run({ ...transfer('read', offset / this.blockBytes, dataIn.length / this.blockBytes), dataIn });
  }

  private put(offset: number, dataOut: Uint8Array): Promise<void> {
    return this.run({ ...transfer('write', offset / this.blockBytes, dataOut.length / this.blockBytes), dataOut });
  }

  /** Throws ISCSI_SHORT_TRANSFER when less was moved than the command says. */
  private async run(command: Omit<ScsiCommand, 'lun'>): Promise<void> {
    const moved = await runCommand(this.context, { ...command, lun: this.options.lun });
    const expected = (command.dataOut ?? command.dataIn)?.length ?? 0;
    if (moved !== expected) throw iscsiErrors.ISCSI_SHORT_TRANSFER({ command: command.name, expected, moved });
  }

  private check(offset: number, bytes: number): void {
    const { blockBytes, sizeBytes } = this;
    if (!Number.isSafeInteger(offset) || offset % blockBytes !== 0 || bytes % blockBytes !== 0)
      throw iscsiErrors.ISCSI_DISK_ALIGNMENT({ offset, bytes, blockBytes });
    if (offset < 0 || bytes < 0 || offset + bytes > sizeBytes) throw iscsiErrors.ISCSI_DISK_RANGE({ offset, bytes, sizeBytes });
  }
}

function wholeBlocks(bytes: number, blockBytes: number): number {
  return Math.max(blockBytes, bytes - (bytes % blockBytes));
}
