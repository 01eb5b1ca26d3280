/** Commands of sensors and of the SDR repository (IPMI v2.0 rev 1.1 chapters 33 and 35). */
import { ByteReader } from './bytes.ts';
import { Command, type IpmiCommand } from './commands.ts';
import { NetFn } from './message.ts';
import { THRESHOLD_NAMES, type Thresholds } from './sdr.ts';
import { decodeFactors, type ReadingFactors } from './sensor-conversion.ts';

/** Where the records are: the repository of all controllers, or those of the BMC's own sensors (a BMC without a repository). */
export type SdrSource = 'repository' | 'device';

const NOTHING = new Uint8Array(0);

/** Table 33-3; Table 35-2 has no count of records that could be trusted. */
export const getSdrInfo: IpmiCommand<{ readonly records: number }> = {
  name: 'Get SDR Repository Info',
  netFn: NetFn.storage,
  command: Command.getSdrInfo,
  data: NOTHING,
  userLevel: true,
  parse(data) {
    const reader = new ByteReader(data, 'Get SDR Repository Info');
    reader.skip(1);
    return { records: reader.u16() };
  },
};

/** Tables 33-6 and 35-5: several readers may hold one; it ends when the records change. */
export function reserveSdrs(source: SdrSource): IpmiCommand<number> {
  return {
    name: 'Reserve SDR Repository',
    netFn: source === 'repository' ? NetFn.storage : NetFn.sensor,
    command: source === 'repository' ? Command.reserveSdrs : Command.reserveDeviceSdrs,
    data: NOTHING,
    userLevel: true,
    parse: (data) => new ByteReader(data, 'Reserve SDR Repository').u16(),
  };
}

/*
 *  Table 33-7, Get SDR (Table 35-4, Get Device SDR, alike)
 *  request  +---------------+-----------+--------+-------+        answer  +-------------+------+
 *           | reservation 2 | record 2  | offset | bytes |                | next record | data |
 *           +---------------+-----------+--------+-------+                +-------------+------+
 */
export function getSdr(
  source: SdrSource,
  request: { readonly reservation: number; readonly record: number; readonly offset: number; readonly bytes: number },
): IpmiCommand<{ readonly next: number; readonly data: Buffer }> {
  const { reservation, record, offset, bytes } = request;
  return {
    name: 'Get SDR',
    netFn: source === 'repository' ? NetFn.storage : NetFn.sensor,
    command: source === 'repository' ? Command.getSdr : Command.getDeviceSdr,
    data: Uint8Array.of(reservation & 0xff, reservation >> 8, record & 0xff, record >> 8, offset, bytes),
    userLevel: true,
    parse(data) {
      const reader = new ByteReader(data, 'Get SDR');
      return { next: reader.u16(), data: reader.rest() };
    },
  };
}

export interface SensorReading {
  readonly raw: number;
  /** The BMC has a value: the sensor is scanned, and not being updated. */
  readonly available: boolean;
  /** Thresholds: bits 5:0. Discrete: bit n is state n. */
  readonly states: number;
}

/*
 *  Table 35-15, Get Sensor Reading, answer
 *  +---------+---------------------------------------+---------------------+------------------+
 *  | reading | 6: scanned  5: unavailable            | thresholds or       | states 14:8      |
 *  | 1       |                                       | states 7:0          | 0 or 1           |
 *  +---------+---------------------------------------+---------------------+------------------+
 */
export function getSensorReading(number: number, lun = 0): IpmiCommand<SensorReading> {
  return {
    name: `Get Sensor Reading (${number})`,
    netFn: NetFn.sensor,
    command: Command.getSensorReading,
    data: Uint8Array.of(number),
    lun,
    shared: true,
    userLevel: true,
    parse(data) {
      const reader = new ByteReader(data, 'Get Sensor Reading');
      const raw = reader.u8();
      const flags = reader.u8();
      const low = reader.remaining > 0 ? reader.u8() : 0;
      const high = reader.remaining > 0 ? reader.u8() & 0x7f : 0;
      return { raw, available: (flags & 0x40) !== 0 && (flags & 0x20) === 0, states: (high << 8) | low };
    },
  };
}

/** Table 35-12: raw values of those thresholds that the sensor has. */
export function getSensorThresholds(number: number, lun = 0): IpmiCommand<Thresholds> {
  return {
    name: `Get Sensor Thresholds (${number})`,
    netFn: NetFn.sensor,
    command: Command.getSensorThresholds,
    data: Uint8Array.of(number),
    lun,
    userLevel: true,
    parse(data) {
      const reader = new ByteReader(data, 'Get Sensor Thresholds');
      const readable = reader.u8();
      const raw = reader.bytes(6);
      return Object.fromEntries(THRESHOLD_NAMES.flatMap((name, bit) => ((readable >> bit) & 1 ? [[name, raw[bit]]] : [])));
    },
  };
}

/** Table 36-2: for sensors whose factors depend on the reading. */
export function getSensorFactors(number: number, raw: number, lun = 0): IpmiCommand<ReadingFactors> {
  return {
    name: `Get Sensor Reading Factors (${number})`,
    netFn: NetFn.sensor,
    command: Command.getSensorFactors,
    data: Uint8Array.of(number, raw),
    lun,
    userLevel: true,
    parse: (data) => decodeFactors(data.subarray(1)), // the first byte is the next reading with factors of its own
  };
}
