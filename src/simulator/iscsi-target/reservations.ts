/** Persistent reservations of one logical unit (SPC-5 section 5.14), of the one type that a disk writer uses: Write Exclusive. */
import { PR_IN, PR_OUT, PR_OUT_BYTES, WRITE_EXCLUSIVE } from 'cdk8s-baremetal-runtime/deploy/iscsi/reservation';
import { OP } from 'cdk8s-baremetal-runtime/deploy/iscsi/scsi';
import { SENSE_KEY } from 'cdk8s-baremetal-runtime/deploy/iscsi/sense';
import { checkCondition, type ScsiAnswer } from './scsi-answer.ts';

const GOOD: ScsiAnswer = { status: 0 };
export const RESERVATION_CONFLICT: ScsiAnswer = { status: 0x18 };
const INVALID_FIELD = checkCondition(SENSE_KEY.illegalRequest, 0x24);
const LIST_LENGTH = checkCondition(SENSE_KEY.illegalRequest, 0x1a);
const WRITES = new Set<number>([OP.write10, OP.write16, OP.writeSame16, OP.unmap]);

export class Reservations {
  /** Keys by I_T nexus. */
  private readonly keys = new Map<string, bigint>();
  private holder: string | undefined;
  private generation = 0;

  /** Whether a command of this nexus runs into somebody else's reservation. */
  conflicts(nexus: string, opcode: number): boolean {
    return WRITES.has(opcode) && this.holder !== undefined && this.holder !== nexus;
  }

  out(nexus: string, cdb: Buffer, data: Uint8Array): ScsiAnswer {
    if (cdb.readUInt32BE(5) !== PR_OUT_BYTES || data.length !== PR_OUT_BYTES) return LIST_LENGTH;
    const list = Buffer.from(data.buffer, data.byteOffset, data.length);
    const key = list.readBigUInt64BE(0);
    const other = list.readBigUInt64BE(8);
    const action = cdb.readUInt8(1) & 0x1f;
    const registered = this.keys.get(nexus);
    if (action === PR_OUT.register || action === PR_OUT.registerAndIgnore) {
      if (action === PR_OUT.register && key !== (registered ?? 0n)) return RESERVATION_CONFLICT;
      if (other === 0n) this.remove(nexus);
      else this.keys.set(nexus, other);
      this.generation++;
      return GOOD;
    }
    if (registered === undefined || registered !== key) return RESERVATION_CONFLICT;
    const typed = action !== PR_OUT.clear;
    if (typed && cdb.readUInt8(2) !== WRITE_EXCLUSIVE) return INVALID_FIELD;
    switch (action) {
      case PR_OUT.reserve:
        if (this.holder !== undefined && this.holder !== nexus) return RESERVATION_CONFLICT;
        this.holder = nexus;
        return GOOD;
      case PR_OUT.release:
        if (this.holder === nexus) this.holder = undefined;
        return GOOD;
      case PR_OUT.clear:
        this.keys.clear();
        this.holder = undefined;
        this.generation++;
        return GOOD;
      case PR_OUT.preempt:
      case PR_OUT.preemptAndAbort: {
        const victims = [...this.keys].filter(([one, known]) => known === other && one !== nexus).map(([one]) => one);
        const held = this.holder !== undefined && this.keys.get(this.holder) === other;
        if (victims.length === 0 && !held) return RESERVATION_CONFLICT;
        for (const victim of victims) this.remove(victim);
        if (held) this.holder = nexus;
        this.generation++;
        return GOOD;
      }
      default:
        return INVALID_FIELD;
    }
  }

  in(cdb: Buffer): ScsiAnswer {
    const most = cdb.readUInt16BE(7);
    const header = (bytes: number): Buffer => {
      const data = Buffer.alloc(8 + bytes);
      data.writeUInt32BE(this.generation >>> 0, 0);
      data.writeUInt32BE(bytes, 4);
      return data;
    };
    switch (cdb.readUInt8(1) & 0x1f) {
      case PR_IN.readKeys: {
        const data = header(8 * this.keys.size);
        for (const [index, key] of [...this.keys.values()].entries()) data.writeBigUInt64BE(key, 8 + 8 * index);
        return { status: 0, data: data.subarray(0, most) };
      }
      case PR_IN.readReservation: {
        const key = this.holder === undefined ? undefined : this.keys.get(this.holder);
        const data = header(key === undefined ? 0 : 16);
        if (key !== undefined) {
          data.writeBigUInt64BE(key, 8);
          data.writeUInt8(WRITE_EXCLUSIVE, 21);
        }
        return { status: 0, data: data.subarray(0, most) };
      }
      case PR_IN.reportCapabilities: {
        const data = Buffer.alloc(8);
        data.writeUInt16BE(8, 0);
        data.writeUInt8(0x80, 3); // TMV: the mask of types is valid
        data.writeUInt8(1 << WRITE_EXCLUSIVE, 4);
        return { status: 0, data: data.subarray(0, most) };
      }
      default:
        return INVALID_FIELD;
    }
  }

  private remove(nexus: string): void {
    this.keys.delete(nexus);
    if (this.holder === nexus) this.holder = undefined;
  }
}
