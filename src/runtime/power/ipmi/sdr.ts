/** Sensor data records (IPMI v2.0 rev 1.1 chapter 43): what sensors a machine has, where they are and how their readings become numbers. */
import { ByteReader, MalformedPacket } from './bytes.ts';
import { decodeFactors, encodeFactors, type ReadingFactors } from './sensor-conversion.ts';

export const SdrType = { full: 0x01, compact: 0x02, eventOnly: 0x03, fruLocator: 0x11, controllerLocator: 0x12 } as const;

/** Bytes in front of every record: id 2, version 1, type 1, length of the rest 1. */
export const SDR_HEADER_BYTES = 5;
const SDR_VERSION = 0x51;

export interface SdrHeader {
  readonly id: number;
  readonly type: number;
  /** Of what follows the header. */
  readonly bytes: number;
}

export function decodeSdrHeader(record: Uint8Array): SdrHeader {
  const reader = new ByteReader(record, 'the SDR header');
  const id = reader.u16();
  reader.skip(1);
  return { id, type: reader.u8(), bytes: reader.u8() };
}

export interface SensorRecord {
  readonly kind: 'sensor';
  readonly id: number;
  readonly name: string;
  /** Slave address of the controller that has the sensor; 20h is the BMC. */
  readonly owner: number;
  readonly lun: number;
  readonly number: number;
  readonly entity: number;
  readonly entityInstance: number;
  /** Table 42-3. */
  readonly sensorType: number;
  /** Table 42-1: 01h has thresholds, all others discrete states. */
  readonly eventType: number;
  /** Analog readings only. */
  readonly analog?: Analog | undefined;
  /** Discrete readings: bit n says that state n can be read. Thresholds: low byte as in Get Sensor Thresholds. */
  readonly readableMask: number;
}

export interface Analog {
  readonly format: 'unsigned' | 'ones-complement' | 'twos-complement';
  /** Table 43-15; a percentage has 0 and `percent`. */
  readonly baseUnit: number;
  readonly modifierUnit: number;
  /** How the two go together. */
  readonly combined: 'none' | 'per' | 'times';
  readonly rate: number;
  readonly percent: boolean;
  /** 0–11 of Table 43-1 byte 24, or 70h and above: factors are asked for each reading. */
  readonly linearization: number;
  readonly factors: ReadingFactors;
  /** Raw, as in the record; what the sensor itself says counts more. */
  readonly thresholds: Thresholds;
}

/** In the order of the bits of a threshold mask: lower non-critical first (Table 35-14). */
export const THRESHOLD_NAMES = [
  'lowerNonCritical',
  'lowerCritical',
  'lowerNonRecoverable',
  'upperNonCritical',
  'upperCritical',
  'upperNonRecoverable',
] as const;
export type ThresholdName = (typeof THRESHOLD_NAMES)[number];
export type Thresholds = Readonly<Partial<Record<ThresholdName, number>>>;

export interface LocatorRecord {
  readonly kind: 'fru' | 'controller';
  readonly id: number;
  readonly name: string;
  readonly entity: number;
  readonly entityInstance: number;
}

export type SdrRecord = SensorRecord | LocatorRecord | { readonly kind: 'other'; readonly id: number; readonly type: number };

const FORMATS = ['unsigned', 'ones-complement', 'twos-complement'] as const;
const COMBINED = ['none', 'per', 'times', 'none'] as const;

/** One compact record may stand for several alike sensors (section 43.2): one entry for each. Throws MalformedPacket. */
export function decodeSdr(record: Uint8Array): readonly SdrRecord[] {
  const { id, type, bytes } = decodeSdrHeader(record);
  const reader = new ByteReader(record.subarray(SDR_HEADER_BYTES, SDR_HEADER_BYTES + bytes), `SDR ${id}`);
  switch (type) {
    case SdrType.full:
      return [fullSensor(id, reader)];
    case SdrType.compact:
      return compactSensors(id, reader);
    case SdrType.fruLocator:
    case SdrType.controllerLocator: {
      reader.skip(7);
      const entity = reader.u8();
      const entityInstance = reader.u8();
      reader.skip(1);
      const name = decodeIdString(reader);
      return [{ kind: type === SdrType.fruLocator ? 'fru' : 'controller', id, name, entity, entityInstance }];
    }
    default:
      return [{ kind: 'other', id, type }]; // event-only, OEM and what is newer than this program
  }
}

interface Head {
  readonly owner: number;
  readonly lun: number;
  readonly number: number;
  readonly entity: number;
  readonly entityInstance: number;
  readonly sensorType: number;
  readonly eventType: number;
  readonly readableMask: number;
  readonly units: readonly [number, number, number];
}

function sensorHead(reader: ByteReader): Head {
  const owner = reader.u8();
  const lun = reader.u8() & 0x03;
  const number = reader.u8();
  const entity = reader.u8();
  const entityInstance = reader.u8();
  reader.skip(2);
  const sensorType = reader.u8();
  const eventType = reader.u8();
  reader.skip(4);
  const readableMask = reader.u16();
  return {
    owner,
    lun,
    number,
    entity,
    entityInstance,
    sensorType,
    eventType,
    readableMask,
    units: [reader.u8(), reader.u8(), reader.u8()],
  };
}

function fullSensor(id: number, reader: ByteReader): SensorRecord {
  const { units, ...head } = sensorHead(reader);
  const linearization = reader.u8() & 0x7f;
  const factors = decodeFactors(reader.bytes(6));
  reader.skip(6); // analog flags, nominal, normal and possible range
  const raw = reader.bytes(6);
  reader.skip(5); // hysteresis, reserved, OEM
  const name = decodeIdString(reader);
  const format = FORMATS[units[0] >> 6];
  const readable = head.readableMask & 0x3f;
  // Table 43-1: upper non-recoverable comes first
  const inRecord = [5, 4, 3, 2, 1, 0];
  const thresholds = Object.fromEntries(
    THRESHOLD_NAMES.flatMap((threshold, bit) => ((readable >> bit) & 1 ? [[threshold, raw[inRecord[bit] ?? 0] ?? 0]] : [])),
  );
  return {
    kind: 'sensor',
    id,
    name,
    ...head,
    ...(format !== undefined && {
      analog: {
        format,
        rate: (units[0] >> 3) & 7,
        combined: COMBINED[(units[0] >> 1) & 3] ?? 'none',
        percent: (units[0] & 1) === 1,
        baseUnit: units[1],
        modifierUnit: units[2],
        linearization,
        factors,
        thresholds: head.eventType === 0x01 ? order(thresholds) : {},
      },
    }),
  };
}

function order(thresholds: Readonly<Record<string, number>>): Thresholds {
  return thresholds;
}

function compactSensors(id: number, reader: ByteReader): SensorRecord[] {
  const { units: _units, ...head } = sensorHead(reader);
  const sharing = reader.u8();
  const modifier = reader.u8();
  reader.skip(6);
  const name = decodeIdString(reader);
  const count = Math.max(sharing & 0x0f, 1);
  const alpha = ((sharing >> 4) & 3) === 1;
  const offset = modifier & 0x7f;
  const entityGrows = (modifier & 0x80) !== 0;
  return Array.from({ length: count }, (_, index) => ({
    kind: 'sensor' as const,
    id,
    ...head,
    name: count === 1 ? name : `${name} ${alpha ? letters(offset + index) : offset + index}`,
    number: (head.number + index) & 0xff,
    entityInstance: entityGrows ? head.entityInstance + index : head.entityInstance,
  }));
}

/** 0 A, 25 Z, 26 AA (section 43.2). */
function letters(index: number): string {
  const last = String.fromCharCode(65 + (index % 26));
  return index < 26 ? last : letters(Math.floor(index / 26) - 1) + last;
}

const BCD_PLUS = '0123456789 -.:,_';

/** Section 43.15: type and length, then the name. */
function decodeIdString(reader: ByteReader): string {
  const typeLength = reader.u8();
  const length = typeLength & 0x1f;
  // some firmware promises more than the record has
  const bytes = reader.bytes(Math.min(length, reader.remaining));
  switch (typeLength >> 6) {
    case 0:
      return bytes.toString('utf16le');
    case 1:
      return [...bytes].map((byte) => (BCD_PLUS[byte >> 4] ?? '') + (BCD_PLUS[byte & 15] ?? '')).join('');
    case 2:
      return sixBit(bytes);
    default:
      return bytes.toString('latin1').replace(/\0.*$/s, '').trimEnd();
  }
}

/** Packed ASCII: 6 bits each from bit 0 up, 20h added. */
function sixBit(bytes: Uint8Array): string {
  let text = '';
  for (let bit = 0; bit + 6 <= bytes.length * 8; bit += 6) {
    const low = bytes[bit >> 3] ?? 0;
    const high = bytes[(bit >> 3) + 1] ?? 0;
    text += String.fromCharCode(((((high << 8) | low) >> (bit & 7)) & 0x3f) + 0x20);
  }
  return text.trimEnd();
}

/*
 *  Table 43-1, full sensor record (the simulated BMC's side)
 *  +----+-----+------+--------+-------+-----+--------+--------+------+------+------+-------+-------+---------+-----+--------+------+-------+
 *  | id | 51h | type | length | owner | LUN | number | entity | inst | init | caps | type  | event | masks   | unit| linear | MB…  | name  |
 *  | 2  | 1   | 1    | 1      | 1     | 1   | 1      | 1      | 1    | 1    | 1    | 1     | 1     | 6       | 3   | 1      | 6+17 | 1 + n |
 *  +----+-----+------+--------+-------+-----+--------+--------+------+------+------+-------+-------+---------+-----+--------+------+-------+
 */
export function encodeSensorRecord(record: SensorRecord): Buffer {
  const name = Buffer.from(record.name, 'latin1').subarray(0, 16);
  const { analog } = record;
  const body = Buffer.alloc(43 + name.length);
  body.set([
    record.owner,
    record.lun,
    record.number,
    record.entity,
    record.entityInstance,
    0x7f,
    record.eventType === 0x01 ? 0x68 : 0x40,
    record.sensorType,
    record.eventType,
  ]);
  body.writeUInt16LE(record.readableMask, 13);
  const format = analog ? FORMATS.indexOf(analog.format) : 3;
  const combined = analog ? COMBINED.indexOf(analog.combined) : 0;
  body[15] = (format << 6) | ((analog?.rate ?? 0) << 3) | (combined << 1) | (analog?.percent ? 1 : 0);
  body[16] = analog?.baseUnit ?? 0;
  body[17] = analog?.modifierUnit ?? 0;
  body[18] = analog?.linearization ?? 0;
  if (analog) body.set(encodeFactors(analog.factors), 19);
  const raw = (threshold: ThresholdName): number => analog?.thresholds[threshold] ?? 0;
  body.set([...THRESHOLD_NAMES].reverse().map(raw), 31);
  body[42] = 0xc0 | name.length;
  body.set(name, 43);
  return Buffer.concat([header(record.id, SdrType.full, body.length), body]);
}

function header(id: number, type: number, bytes: number): Buffer {
  if (bytes > 0xff) throw new MalformedPacket(`an SDR of ${bytes} bytes`);
  return Buffer.from([id & 0xff, id >> 8, SDR_VERSION, type, bytes]);
}
