/** Sense data (SPC-5 section 4.4): what a disk says about a failed command, in both of its formats, and its name in our errors. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { iscsiErrors } from './errors.ts';

export interface Sense {
  readonly key: number;
  /** Additional sense code and its qualifier. */
  readonly asc: number;
  readonly ascq: number;
  /** About an earlier command, not this one. */
  readonly deferred: boolean;
  /** Mostly the first bad block. */
  readonly information?: bigint;
}

export const SENSE_KEY = {
  noSense: 0x0,
  recoveredError: 0x1,
  notReady: 0x2,
  mediumError: 0x3,
  hardwareError: 0x4,
  illegalRequest: 0x5,
  unitAttention: 0x6,
  dataProtect: 0x7,
  abortedCommand: 0xb,
  miscompare: 0xe,
} as const;

const KEY_NAMES = [
  'no sense',
  'recovered error',
  'not ready',
  'medium error',
  'hardware error',
  'illegal request',
  'unit attention',
  'data protect',
  'blank check',
  'vendor specific',
  'copy aborted',
  'aborted command',
  'reserved',
  'volume overflow',
  'miscompare',
  'completed',
];

/** The codes that targets over iSCSI use, asc << 8 | ascq (SPC-5 annex F). */
const CODE_NAMES = new Map<number, string>([
  [0x0401, 'becoming ready'],
  [0x0402, 'start needed'],
  [0x0c00, 'write error'],
  [0x1100, 'unrecovered read error'],
  [0x1a00, 'parameter list length error'],
  [0x2000, 'invalid command'],
  [0x2100, 'block address out of range'],
  [0x2400, 'invalid field in the command'],
  [0x2500, 'no such LUN'],
  [0x2600, 'invalid field in the parameters'],
  [0x2700, 'write protected'],
  [0x2707, 'space allocation failed'],
  [0x2900, 'power on or reset'],
  [0x2a09, 'capacity changed'],
  [0x3f0e, 'LUNs changed'],
  [0x4400, 'internal target failure'],
  [0x4700, 'parity error'],
]);

/** Reads fixed (70h, 71h) and descriptor (72h, 73h) sense. Undefined when there is none that can be read. */
export function parseSense(bytes: Uint8Array): Sense | undefined {
  const sense = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (sense.length < 4) return undefined;
  const code = sense.readUInt8(0) & 0x7f;
  const deferred = (code & 1) === 1;
  if (code === 0x70 || code === 0x71) {
    const key = sense.readUInt8(2) & 0x0f;
    const [asc = 0, ascq = 0] = sense.subarray(12, 14);
    const information = (sense.readUInt8(0) & 0x80) !== 0 && sense.length >= 7 ? BigInt(sense.readUInt32BE(3)) : undefined;
    return { key, asc, ascq, deferred, ...(information !== undefined && { information }) };
  }
  if (code !== 0x72 && code !== 0x73) return undefined;
  const found: Sense = { key: sense.readUInt8(1) & 0x0f, asc: sense.readUInt8(2), ascq: sense.readUInt8(3), deferred };
  const end = sense.length < 8 ? 8 : Math.min(sense.length, 8 + sense.readUInt8(7));
  for (let at = 8; at + 2 <= end; at += 2 + sense.readUInt8(at + 1))
    if (sense.readUInt8(at) === 0 && at + 12 <= end) return { ...found, information: sense.readBigUInt64BE(at + 4) };
  return found;
}

/** "medium error, unrecovered read error (3/11/00) at block 4096". */
export function describeSense({ key, asc, ascq, information }: Sense): string {
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  const name = CODE_NAMES.get((asc << 8) | ascq);
  const where = information === undefined ? '' : ` at block ${information}`;
  return `${KEY_NAMES[key]}${name ? `, ${name}` : ''} (${key.toString(16)}/${hex(asc)}/${hex(ascq)})${where}`;
}

/** The error for a command that ended with CHECK CONDITION. */
export function senseError(command: string, sense: Sense | undefined): CodedError {
  const told = { command, sense: sense ? describeSense(sense) : 'a check condition without sense data' };
  switch (sense?.key) {
    case SENSE_KEY.notReady:
      return iscsiErrors.ISCSI_SCSI_NOT_READY(told);
    case SENSE_KEY.mediumError:
      return iscsiErrors.ISCSI_SCSI_MEDIUM_ERROR(told);
    case SENSE_KEY.hardwareError:
      return iscsiErrors.ISCSI_SCSI_HARDWARE_ERROR(told);
    case SENSE_KEY.illegalRequest:
      return iscsiErrors.ISCSI_SCSI_ILLEGAL_REQUEST(told);
    case SENSE_KEY.unitAttention:
      return iscsiErrors.ISCSI_SCSI_UNIT_ATTENTION(told);
    case SENSE_KEY.dataProtect:
      if (sense.asc === 0x27 && sense.ascq === 0x07) return iscsiErrors.ISCSI_SCSI_SPACE(told); // space allocation failed
      return iscsiErrors.ISCSI_SCSI_DATA_PROTECT(told);
    case SENSE_KEY.abortedCommand:
      return iscsiErrors.ISCSI_SCSI_ABORTED(told);
    default:
      return iscsiErrors.ISCSI_SCSI_CHECK_CONDITION(told);
  }
}

/** Fixed-format sense, as a target sends it. */
export function fixedSense(key: number, asc: number, ascq: number): Uint8Array {
  const sense = Buffer.alloc(18);
  sense.writeUInt8(0x70, 0);
  sense.writeUInt8(key, 2);
  sense.writeUInt8(10, 7); // bytes that follow
  sense.writeUInt8(asc, 12);
  sense.writeUInt8(ascq, 13);
  return sense;
}

/** The disk does not know the command, or not in this form. */
export function isIllegalRequest(error: unknown): boolean {
  return error instanceof CodedError && error.code === 'ISCSI_SCSI_ILLEGAL_REQUEST';
}
