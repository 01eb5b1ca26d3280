/**
 * A disk behind an iSCSI target, for the deploy-helper: read, write, zero, flush. Extents are whole blocks. Commands are
 * pipelined: as many at once as the queue depth, each as large as one burst of the session.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import { iscsiErrors, portalName } from './errors.ts';
import { openSession, type SessionOptions } from './open-session.ts';
import { PduError } from './pdu.ts';
import { release, reserve } from './reservation.ts';
import { type RunContext, runCommand } from './run-command.ts';
import {
  type BlockLimits,
  type Capacity,
  type Identifier,
  type InquiryData,
  inquiry,
  type NamedCdb,
  NO_LIMITS,
  NO_PROVISIONING,
  type Provisioning,
  parseBlockLimits,
  parseCapacity10,
  parseCapacity16,
  parseIdentifiers,
  parseInquiry,
  parseProvisioning,
  parseReportLuns,
  parseVpd,
  readCapacity10,
  readCapacity16,
  reportLuns,
  synchronizeCache10,
  synchronizeCache16,
  testUnitReady,
  transfer,
  unmap,
  VPD,
  writeSame16,
} from './scsi.ts';
import type { IscsiSession } from './session.ts';

export interface DiskOptions extends SessionOptions {
  readonly targetName: string;
  readonly lun: number;
  /** Commands at once. Default 32. */
  readonly queueDepth?: number;
}

/** Writes with many commands under way, for a source that gives its data piece by piece. */
export interface WritePipeline {
  /**
   * Resolves when there is room for more, not when the data is written; `data` must not change until `finish` resolves. Rejects
   * with the first failure of any earlier write.
   */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** Resolves when everything is written (not flushed), rejects with the first failure. */
  finish(): Promise<void>;
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
  pipeline(): WritePipeline;
  /** Writes zeros: by WRITE SAME where the disk has it, else by writing. */
  zero(offset: number, bytes: number): Promise<void>;
  /** Tells the disk that the extent is not needed. Its content is undefined afterwards. Does nothing on a disk without UNMAP. */
  discard(offset: number, bytes: number): Promise<void>;
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
const LONGEST_INQUIRY_BYTES = 255;
const LONGEST_VPD_BYTES = 4096;
/** One command moves a burst, but no less and no more than these. */
const SMALLEST_COMMAND_BYTES = 64 * 1024;
const LARGEST_COMMAND_BYTES = 1024 * 1024;
/** A disk that really writes the zeros does 50 MB/s at worst: this is far inside the limit of two minutes. */
const ZERO_COMMAND_BYTES = 64 * 1024 * 1024;
const ZERO_TIMEOUT_MS = 120_000;
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

interface Identity extends Capacity {
  readonly inquiry: InquiryData;
  readonly serial: string;
  readonly identifiers: readonly Identifier[];
  readonly limits: BlockLimits;
  readonly provisioning: Provisioning;
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
  private canWriteSame = true;
  private reservation: bigint | undefined;

  static async open(session: IscsiSession, options: DiskOptions): Promise<Disk> {
    const context: RunContext = { session, clock: options.clock, random: options.random };
    return new Disk(context, options, await identify(context, options));
  }

  private constructor(
    private readonly context: RunContext,
    private readonly options: DiskOptions,
    private readonly identity: Identity,
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
  }

  async read(offset: number, bytes: number): Promise<Buffer<ArrayBuffer>> {
    this.check(offset, bytes);
    const into = Buffer.allocUnsafeSlow(bytes);
    await this.each(offset, bytes, this.commandBytes, (at, length) => {
      const dataIn = into.subarray(at - offset, at - offset + length);
      return this.move({ ...transfer('read', at / this.blockBytes, length / this.blockBytes), dataIn }, length);
    });
    return into;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.check(offset, data.length);
    await this.each(offset, data.length, this.commandBytes, (at, length) => this.put(at, data.subarray(at - offset, at - offset + length)));
  }

  pipeline(): WritePipeline {
    const batch = new Batch(this.slots);
    return {
      write: async (offset, data) => {
        this.check(offset, data.length);
        for (let at = 0; at < data.length; at += this.commandBytes) {
          const piece = data.subarray(at, at + this.commandBytes);
          await batch.start(() => this.put(offset + at, piece));
        }
      },
      finish: () => batch.finish(),
    };
  }

  async zero(offset: number, bytes: number): Promise<void> {
    this.check(offset, bytes);
    const { blockBytes } = this;
    const { limits, provisioning } = this.identity;
    const unmapping = provisioning.writeSameUnmap && provisioning.unmappedReadZero;
    const limit = limits.maxWriteSameBlocks > 0 ? limits.maxWriteSameBlocks * blockBytes : ZERO_COMMAND_BYTES;
    const block = Buffer.alloc(blockBytes);
    await this.each(offset, bytes, wholeBlocks(Math.min(limit, ZERO_COMMAND_BYTES), blockBytes), async (at, length) => {
      if (this.canWriteSame) {
        const named = writeSame16(at / blockBytes, length / blockBytes, unmapping);
        try {
          await this.move({ ...named, dataOut: block, timeoutMs: ZERO_TIMEOUT_MS }, blockBytes);
          return;
        } catch (error) {
          if (!isIllegalRequest(error)) throw error;
          this.canWriteSame = false;
          this.options.logger.debug({ lun: this.options.lun }, 'the disk has no WRITE SAME(16): zeros are written');
        }
      }
      // inside one slot, so one after the other: slots may all be taken by such extents
      const zeros = Buffer.alloc(Math.min(this.commandBytes, length));
      for (let done = 0; done < length; done += zeros.length)
        await this.put(at + done, zeros.subarray(0, Math.min(zeros.length, length - done)));
    });
  }

  async discard(offset: number, bytes: number): Promise<void> {
    this.check(offset, bytes);
    const { limits, provisioning } = this.identity;
    if (!provisioning.unmap) return;
    const { blockBytes } = this;
    // told blocks of 0 with extents of 0 mean that nothing is told; UNMAP counts blocks in 32 bits
    const most = Math.min(limits.maxUnmapBlocks > 0 ? limits.maxUnmapBlocks : 0xffffffff, Math.floor(2 ** 31 / blockBytes));
    await this.each(offset, bytes, most * blockBytes, (at, length) => {
      const { parameters, ...named } = unmap([{ lba: at / blockBytes, blocks: length / blockBytes }]);
      return this.move({ ...named, dataOut: parameters, timeoutMs: ZERO_TIMEOUT_MS }, parameters.length);
    });
  }

  async flush(): Promise<void> {
    try {
      await this.move({ ...synchronizeCache10(), timeoutMs: FLUSH_TIMEOUT_MS }, 0);
    } catch (error) {
      if (!isIllegalRequest(error)) throw error;
      await this.move({ ...synchronizeCache16(), timeoutMs: FLUSH_TIMEOUT_MS }, 0);
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

  private put(offset: number, data: Uint8Array): Promise<void> {
    return this.move({ ...transfer('write', offset / this.blockBytes, data.length / this.blockBytes), dataOut: data }, data.length);
  }

  private async move(
    command: NamedCdb & { dataOut?: Uint8Array; dataIn?: Uint8Array; timeoutMs?: number },
    expected: number,
  ): Promise<void> {
    const moved = await runCommand(this.context, { ...command, lun: this.options.lun });
    if (moved !== expected) throw iscsiErrors.ISCSI_SHORT_TRANSFER({ command: command.name, expected, moved });
  }

  /** Runs `work` on each piece of the extent, as many at once as the queue allows; settles when none is under way. */
  private async each(
    offset: number,
    bytes: number,
    pieceBytes: number,
    work: (at: number, length: number) => Promise<void>,
  ): Promise<void> {
    const batch = new Batch(this.slots);
    try {
      for (let at = offset; at < offset + bytes; at += pieceBytes) {
        const length = Math.min(pieceBytes, offset + bytes - at);
        await batch.start(() => work(at, length));
      }
    } catch {
      // told by finish, once nothing uses the caller's buffer any more
    }
    await batch.finish();
  }

  private check(offset: number, bytes: number): void {
    const { blockBytes, sizeBytes } = this;
    if (!Number.isSafeInteger(offset) || offset % blockBytes !== 0 || bytes % blockBytes !== 0)
      throw iscsiErrors.ISCSI_DISK_ALIGNMENT({ offset, bytes, blockBytes });
    if (offset < 0 || bytes < 0 || offset + bytes > sizeBytes) throw iscsiErrors.ISCSI_DISK_RANGE({ offset, bytes, sizeBytes });
  }
}

/** The places for commands under way, shared by all that use one disk. */
class Slots {
  private readonly queue: (() => void)[] = [];
  constructor(private free: number) {}

  take(): Promise<void> | undefined {
    if (this.free > 0) {
      this.free--;
      return undefined;
    }
    return new Promise((resolve) => this.queue.push(resolve));
  }

  give(): void {
    const next = this.queue.shift();
    if (next) next();
    else this.free++;
  }
}

/** Commands that belong together: the first failure stops it, and nobody is told before the last one is settled. */
class Batch {
  private running = 0;
  private failure: { error: unknown } | undefined;
  private onIdle: (() => void) | undefined;
  constructor(private readonly slots: Slots) {}

  async start(work: () => Promise<void>): Promise<void> {
    await this.slots.take();
    if (this.failure) {
      this.slots.give();
      throw this.failure.error;
    }
    this.running++;
    work().then(
      () => this.settled(),
      (error) => {
        this.failure ??= { error };
        this.settled();
      },
    );
  }

  async finish(): Promise<void> {
    if (this.running > 0)
      await new Promise<void>((resolve) => {
        this.onIdle = resolve;
      });
    if (this.failure) throw this.failure.error;
  }

  private settled(): void {
    this.running--;
    this.slots.give();
    if (this.running === 0) this.onIdle?.();
  }
}

async function identify(context: RunContext, options: DiskOptions): Promise<Identity> {
  const { lun } = options;
  const ask = async (command: NamedCdb, bytes: number): Promise<Buffer> => {
    const dataIn = Buffer.alloc(bytes);
    return dataIn.subarray(0, await runCommand(context, { ...command, lun, dataIn }));
  };
  /** Pages are optional: a disk without one answers ILLEGAL REQUEST, and some answer with nothing. */
  const page = async <T>(number: number, parse: (body: Buffer) => T): Promise<T | undefined> => {
    try {
      return parse(parseVpd(await ask(inquiry(LONGEST_VPD_BYTES, number), LONGEST_VPD_BYTES), number));
    } catch (error) {
      if (isIllegalRequest(error) || error instanceof PduError) return undefined;
      throw error;
    }
  };
  const about = parseInquiry(await ask(inquiry(LONGEST_INQUIRY_BYTES), LONGEST_INQUIRY_BYTES));
  if (about.qualifier !== 0 || about.deviceType !== 0) {
    const found =
      about.qualifier === 3 ? 'there is no such LUN' : `${about.vendor} ${about.product}, device type ${about.deviceType.toString(16)}h`;
    throw iscsiErrors.ISCSI_NOT_A_DISK({ portal: portalName(options.portal), lun, found });
  }
  await runCommand(context, { ...testUnitReady(), lun });
  const pages = new Set((await page(VPD.supported, (body) => [...body])) ?? []);
  const optional = async <T>(number: number, parse: (body: Buffer) => T, otherwise: T): Promise<T> =>
    pages.has(number) ? ((await page(number, parse)) ?? otherwise) : otherwise;
  return {
    ...(await capacity(ask)),
    inquiry: about,
    serial: await optional(VPD.serial, (body) => body.toString('latin1').replaceAll('\0', '').trim(), ''),
    identifiers: await optional(VPD.identifiers, parseIdentifiers, []),
    limits: await optional(VPD.blockLimits, parseBlockLimits, NO_LIMITS),
    provisioning: await optional(VPD.provisioning, parseProvisioning, NO_PROVISIONING),
  };
}

async function capacity(ask: (command: NamedCdb, bytes: number) => Promise<Buffer>): Promise<Capacity> {
  try {
    return checked(parseCapacity16(await ask(readCapacity16(), 32)));
  } catch (error) {
    if (!isIllegalRequest(error)) throw error;
    const small = parseCapacity10(await ask(readCapacity10(), 8));
    if (!small) throw error;
    return checked(small);
  }
}

function checked(capacity: Capacity): Capacity {
  const { blocks, blockBytes } = capacity;
  if (blockBytes < 512 || blockBytes > 65536 || (blockBytes & (blockBytes - 1)) !== 0 || !Number.isSafeInteger(blocks * blockBytes))
    throw new PduError(`a disk of ${blocks} blocks of ${blockBytes} bytes cannot be`);
  return capacity;
}

function wholeBlocks(bytes: number, blockBytes: number): number {
  return Math.max(blockBytes, bytes - (bytes % blockBytes));
}

function isIllegalRequest(error: unknown): boolean {
  return error instanceof CodedError && error.code === 'ISCSI_SCSI_ILLEGAL_REQUEST';
}
