/** A SCSI disk over a block device: command blocks in, status and data out (SBC-4, SPC-5). Knows nothing of iSCSI. */
import { OP, SERVICE_ACTION_READ_CAPACITY_16, VPD } from 'cdk8s-baremetal-runtime/deploy/iscsi/scsi';
import { SENSE_KEY } from 'cdk8s-baremetal-runtime/deploy/iscsi/sense';
import type { BlockDevice } from '../disk/index.ts';
import { RESERVATION_CONFLICT, Reservations } from './reservations.ts';
import { checkCondition, type ScsiAnswer } from './scsi-answer.ts';

export interface LogicalUnitOptions {
  readonly device: BlockDevice;
  readonly serial: string;
  /** Tells and serves UNMAP, and WRITE SAME with UNMAP. Default true. */
  readonly thin?: boolean;
  /** Serves WRITE SAME(16). Default true. */
  readonly writeSame?: boolean;
  /** UNMAP gives up whole granules of so many blocks only, and leaves the rest of an extent as it is (SBC-4 section 4.7.3.4). Default 1. */
  readonly unmapGranuleBlocks?: number;
  /** Promises that unmapped blocks read as zeros (LBPRZ); else they keep what they held. Default true. */
  readonly unmappedReadZero?: boolean;
  readonly readOnly?: boolean;
  /** Serves persistent reservations. Default true. */
  readonly reservations?: boolean;
  /** Told in VPD page B0h, in blocks; 0 for no limit. Longer commands fail. Default 0. */
  readonly maxTransferBlocks?: number;
}

const GOOD: ScsiAnswer = { status: 0 };
const VENDOR = 'BMS     ';
const PRODUCT = 'SIMULATED DISK  ';
const REVISION = '1   ';
const PROTECTABLE = new Set<number>([OP.read10, OP.read16, OP.write10, OP.write16, OP.writeSame16]);
const CACHEABLE = new Set<number>([OP.read10, OP.read16, OP.write10, OP.write16]);
const DPO_FUA = 0x18;
/** Version descriptors (SPC-5 table 146): SBC-3, SPC-4, iSCSI. */
const STANDARDS = [0x04c0, 0x0460, 0x0960];
/** NAA 3h: locally assigned. */
const NAA_LOCAL = 0x30;

const INVALID_COMMAND = checkCondition(SENSE_KEY.illegalRequest, 0x20);
const INVALID_FIELD = checkCondition(SENSE_KEY.illegalRequest, 0x24);
const OUT_OF_RANGE = checkCondition(SENSE_KEY.illegalRequest, 0x21);
const WRITE_PROTECTED = checkCondition(SENSE_KEY.dataProtect, 0x27);

/** What any LUN number answers that has no unit behind it. REPORT LUNS is answered by the target. */
export function answerForNoUnit(cdb: Buffer): ScsiAnswer {
  if (cdb.readUInt8(0) !== OP.inquiry || (cdb.readUInt8(1) & 1) === 1) return checkCondition(SENSE_KEY.illegalRequest, 0x25);
  const data = standardInquiry();
  data.writeUInt8(0x7f, 0); // qualifier 3, device type 1Fh
  return { status: 0, data: data.subarray(0, cdb.readUInt16BE(3)) };
}

export class LogicalUnit {
  private readonly reservations = new Reservations();

  constructor(private readonly options: LogicalUnitOptions) {}

  /**
   * `mayWrite` is asked right before the device is changed: false when the session that sent the command is gone. `nexus` names the initiator
   * port that sent it.
   */
  async execute(cdb: Buffer, dataOut: Uint8Array, mayWrite: () => boolean, nexus: string): Promise<ScsiAnswer> {
    const { device, reservations = true } = this.options;
    if (reservations && this.reservations.conflicts(nexus, cdb.readUInt8(0))) return RESERVATION_CONFLICT;
    const blocks = device.sizeBytes / device.blockBytes;
    if (PROTECTABLE.has(cdb.readUInt8(0)) && cdb.readUInt8(1) >>> 5 !== 0) return INVALID_FIELD; // no protection information here
    if (CACHEABLE.has(cdb.readUInt8(0)) && (cdb.readUInt8(1) & DPO_FUA) !== 0) return INVALID_FIELD; // mode sense says that there is neither
    switch (cdb.readUInt8(0)) {
      case OP.testUnitReady:
        return GOOD;
      case OP.inquiry:
        return this.inquiry(cdb);
      case OP.modeSense6:
        return this.modeSense(cdb);
      case OP.readCapacity10: {
        const data = Buffer.alloc(8);
        data.writeUInt32BE(Math.min(blocks - 1, 0xffffffff), 0);
        data.writeUInt32BE(device.blockBytes, 4);
        return { status: 0, data };
      }
      case OP.serviceActionIn16:
        return (cdb.readUInt8(1) & 0x1f) === SERVICE_ACTION_READ_CAPACITY_16 ? this.capacity16(cdb, blocks) : INVALID_FIELD;
      case OP.read10:
        return this.read(cdb.readUInt32BE(2), cdb.readUInt16BE(7));
      case OP.read16:
        return this.read(Number(cdb.readBigUInt64BE(2)), cdb.readUInt32BE(10));
      case OP.write10:
        return this.write(cdb.readUInt32BE(2), cdb.readUInt16BE(7), dataOut, mayWrite);
      case OP.write16:
        return this.write(Number(cdb.readBigUInt64BE(2)), cdb.readUInt32BE(10), dataOut, mayWrite);
      case OP.writeSame16:
        return this.writeSame(cdb, dataOut, mayWrite);
      case OP.unmap:
        return this.unmap(dataOut, mayWrite);
      case OP.synchronizeCache10:
      case OP.synchronizeCache16:
        await device.flush();
        return GOOD;
      case OP.persistentReserveOut:
        return reservations ? this.reservations.out(nexus, cdb, dataOut) : INVALID_COMMAND;
      case OP.persistentReserveIn:
        return reservations ? this.reservations.in(cdb) : INVALID_COMMAND;
      default:
        return INVALID_COMMAND;
    }
  }

  private get thin(): boolean {
    return this.options.thin ?? true;
  }

  private inquiry(cdb: Buffer): ScsiAnswer {
    const most = cdb.readUInt16BE(3);
    if ((cdb.readUInt8(1) & 1) === 0)
      return cdb.readUInt8(2) === 0 ? { status: 0, data: standardInquiry().subarray(0, most) } : INVALID_FIELD;
    const page = cdb.readUInt8(2);
    const body = this.page(page);
    if (!body) return INVALID_FIELD;
    const header = Buffer.from([0, page, 0, 0]);
    header.writeUInt16BE(body.length, 2);
    return { status: 0, data: Buffer.concat([header, body]).subarray(0, most) };
  }

  private page(page: number): Buffer | undefined {
    const { serial, maxTransferBlocks = 0 } = this.options;
    switch (page) {
      case VPD.supported:
        return Buffer.from([VPD.supported, VPD.serial, VPD.identifiers, VPD.blockLimits, VPD.provisioning]);
      case VPD.serial:
        return Buffer.from(serial, 'latin1');
      case VPD.identifiers: {
        const t10 = Buffer.from(`${VENDOR}${serial}`, 'latin1');
        const naa = Buffer.alloc(8);
        naa.set(Buffer.from(serial, 'latin1').subarray(-7), 1);
        naa.writeUInt8(NAA_LOCAL, 0);
        return Buffer.concat([Buffer.from([0x02, 0x01, 0, t10.length]), t10, Buffer.from([0x01, 0x03, 0, 8]), naa]);
      }
      case VPD.blockLimits: {
        const body = Buffer.alloc(60);
        body.writeUInt32BE(maxTransferBlocks, 4);
        if (this.thin) {
          body.writeUInt32BE(0xffffffff, 16); // blocks of one UNMAP
          body.writeUInt32BE(256, 20); // extents of one UNMAP
        }
        return body;
      }
      case VPD.provisioning:
        return this.thin ? Buffer.from([0, this.provisioning(), 2, 0]) : Buffer.alloc(4); // type 2: thin
      default:
        return undefined;
    }
  }

  /** LBPU; LBPWS; LBPRZ. */
  private provisioning(): number {
    const { writeSame = true, unmappedReadZero = true } = this.options;
    return 0x80 | (writeSame ? 0x40 : 0) | (unmappedReadZero ? 0x04 : 0);
  }

  /** The caching page, with the write cache on, is the only one. */
  private modeSense(cdb: Buffer): ScsiAnswer {
    const page = cdb.readUInt8(2) & 0x3f;
    if (page !== 0x08 && page !== 0x3f) return INVALID_FIELD;
    const caching = Buffer.alloc(20);
    caching.writeUInt8(0x08, 0);
    caching.writeUInt8(18, 1);
    caching.writeUInt8(0x04, 2); // WCE
    const header = Buffer.from([3 + caching.length, 0, this.options.readOnly ? 0x80 : 0, 0]);
    return { status: 0, data: Buffer.concat([header, caching]).subarray(0, cdb.readUInt8(4)) };
  }

  private capacity16(cdb: Buffer, blocks: number): ScsiAnswer {
    const data = Buffer.alloc(32);
    data.writeBigUInt64BE(BigInt(blocks - 1), 0);
    data.writeUInt32BE(this.options.device.blockBytes, 8);
    if (this.thin) data.writeUInt8(0x80 | ((this.options.unmappedReadZero ?? true) ? 0x40 : 0), 14); // LBPME, LBPRZ
    return { status: 0, data: data.subarray(0, cdb.readUInt32BE(10)) };
  }

  private async read(lba: number, count: number): Promise<ScsiAnswer> {
    const refusal = this.refuse(lba, count);
    if (refusal) return refusal;
    const { device } = this.options;
    return { status: 0, data: await device.read(lba * device.blockBytes, count * device.blockBytes) };
  }

  private async write(lba: number, count: number, data: Uint8Array, mayWrite: () => boolean): Promise<ScsiAnswer> {
    const { device, readOnly } = this.options;
    const refusal = readOnly ? WRITE_PROTECTED : this.refuse(lba, count);
    if (refusal) return refusal;
    if (data.length < count * device.blockBytes) return INVALID_FIELD;
    if (mayWrite()) await device.write(lba * device.blockBytes, data.subarray(0, count * device.blockBytes));
    return GOOD;
  }

  private async writeSame(cdb: Buffer, data: Uint8Array, mayWrite: () => boolean): Promise<ScsiAnswer> {
    const { device, readOnly, writeSame = true } = this.options;
    const lba = Number(cdb.readBigUInt64BE(2));
    if (lba > device.sizeBytes / device.blockBytes) return OUT_OF_RANGE;
    // 0 means up to the end of the disk
    const count = cdb.readUInt32BE(10) || device.sizeBytes / device.blockBytes - lba;
    if (!writeSame) return INVALID_COMMAND;
    if ((cdb.readUInt8(1) & 0x10) !== 0) return INVALID_FIELD; // ANCHOR
    if ((cdb.readUInt8(1) & 0x08) !== 0 && !this.thin) return INVALID_FIELD;
    if (data.length !== device.blockBytes) return INVALID_FIELD;
    const refusal = readOnly ? WRITE_PROTECTED : this.refuse(lba, count, 0);
    if (refusal) return refusal;
    const zeros = data.every((byte) => byte === 0);
    if (!mayWrite()) return GOOD;
    if (zeros) await device.zero(lba * device.blockBytes, count * device.blockBytes);
    else for (let block = lba; block < lba + count; block++) await device.write(block * device.blockBytes, data);
    return GOOD;
  }

  private async unmap(parameters: Uint8Array, mayWrite: () => boolean): Promise<ScsiAnswer> {
    if (!this.thin) return INVALID_COMMAND;
    if (parameters.length === 0) return GOOD; // nothing to do is no error
    if (this.options.readOnly) return WRITE_PROTECTED;
    const list = Buffer.from(parameters.buffer, parameters.byteOffset, parameters.length);
    if (list.length < 8) return checkCondition(SENSE_KEY.illegalRequest, 0x1a);
    const { device, unmapGranuleBlocks = 1, unmappedReadZero = true } = this.options;
    const end = Math.min(list.length, 8 + list.readUInt16BE(2));
    for (let at = 8; at + 16 <= end; at += 16) {
      const lba = Number(list.readBigUInt64BE(at));
      const count = list.readUInt32BE(at + 8);
      const refusal = this.refuse(lba, count, 0);
      if (refusal) return refusal;
      const first = Math.ceil(lba / unmapGranuleBlocks) * unmapGranuleBlocks;
      const blocks = Math.floor((lba + count) / unmapGranuleBlocks) * unmapGranuleBlocks - first;
      if (blocks > 0 && unmappedReadZero && mayWrite()) await device.zero(first * device.blockBytes, blocks * device.blockBytes);
    }
    return GOOD;
  }

  private refuse(lba: number, count: number, most = this.options.maxTransferBlocks ?? 0): ScsiAnswer | undefined {
    const { device } = this.options;
    if (lba + count > device.sizeBytes / device.blockBytes) return OUT_OF_RANGE;
    return most > 0 && count > most ? INVALID_FIELD : undefined;
  }
}

/*  0 | qualifier, type | removable | version | format | 4 length | flags (3) | 8 vendor (8) | 16 product (16) | 32 revision (4) */
function standardInquiry(): Buffer {
  const data = Buffer.alloc(96);
  data.writeUInt8(0x06, 2); // SPC-4
  data.writeUInt8(0x12, 3); // HISUP, response format 2
  data.writeUInt8(data.length - 5, 4);
  data.writeUInt8(0x02, 7); // CMDQUE: many commands at once
  data.write(VENDOR + PRODUCT + REVISION, 8, 'latin1');
  for (const [index, standard] of STANDARDS.entries()) data.writeUInt16BE(standard, 58 + 2 * index);
  return data;
}
