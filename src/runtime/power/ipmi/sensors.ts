/** All sensors of a machine: the walk through its records, and what each sensor says. */
import { codeOf } from '../errors.ts';
import { MalformedPacket } from './bytes.ts';
import type { IpmiCommand } from './commands.ts';
import { CompletionCode, completionCodeOf } from './completion-code.ts';
import { BMC_ADDRESS } from './message.ts';
import { decodeSdr, decodeSdrHeader, SDR_HEADER_BYTES, type SdrRecord, type SensorRecord, type Thresholds } from './sdr.ts';
import { getSdr, getSensorFactors, getSensorReading, getSensorThresholds, reserveSdrs, type SdrSource } from './sensor-commands.ts';
import { convertReading, NON_LINEAR } from './sensor-conversion.ts';
import { sensorTypeName, stateName, unitName } from './sensor-names.ts';

/** Runs one command on the BMC: a gateway or a session. */
export type RunCommand = <T>(command: IpmiCommand<T>, signal?: AbortSignal) => Promise<T>;

const LAST_RECORD = 0xffff;
/** What fits an IPMI message on every controller behind the BMC (25 bytes of data, Table 33-7's note). Smaller when one asks for it. */
const PIECE_BYTES = 22;
const SMALLEST_PIECE_BYTES = 4;
/** A repository that changes all the time is given up. */
const MOST_RESERVATIONS = 10;
/** Records are 16-bit numbers; a BMC whose "next" runs in a circle would never end. */
const MOST_RECORDS = 4096;

/**
 * Every record in order. Reads in pieces, makes the pieces smaller when the BMC asks for it, reserves anew when the records change under the walk. Records that cannot
 * be understood are left out. Errors: those of `RunCommand`; a BMC without any records gives none.
 */
export async function readSdrs(run: RunCommand, signal?: AbortSignal): Promise<readonly SdrRecord[]> {
  let source: SdrSource = 'repository';
  let reservation: number;
  try {
    reservation = await run(reserveSdrs(source), signal);
  } catch (error) {
    if (!isUnsupported(error)) throw error;
    source = 'device';
    try {
      reservation = await run(reserveSdrs(source), signal);
    } catch (second) {
      if (isUnsupported(second)) return [];
      throw second;
    }
  }
  const records: SdrRecord[] = [];
  const seen = new Set<number>();
  let reservations = 1;
  let pieceBytes = PIECE_BYTES;
  for (let id = 0; id !== LAST_RECORD && !seen.has(id) && seen.size < MOST_RECORDS; ) {
    try {
      const { next, record } = await readRecord(run, source, { reservation, id, pieceBytes }, signal);
      seen.add(id);
      records.push(...understood(record));
      id = next;
    } catch (error) {
      switch (completionCodeOf(error)) {
        case CompletionCode.reservationCancelled:
          if (reservations >= MOST_RESERVATIONS) throw error;
          reservations += 1;
          reservation = await run(reserveSdrs(source), signal);
          break;
        case CompletionCode.cannotReturnBytes:
        case CompletionCode.dataLengthInvalid:
        case CompletionCode.lengthLimitExceeded:
          if (pieceBytes <= SMALLEST_PIECE_BYTES) throw error;
          pieceBytes = Math.max(pieceBytes >> 1, SMALLEST_PIECE_BYTES);
          break;
        case CompletionCode.notPresent:
          if (seen.size === 0) return []; // an empty repository
          throw error;
        default:
          throw error;
      }
    }
  }
  return records;
}

async function readRecord(
  run: RunCommand,
  source: SdrSource,
  from: { readonly reservation: number; readonly id: number; readonly pieceBytes: number },
  signal: AbortSignal | undefined,
): Promise<{ readonly next: number; readonly record: Buffer }> {
  const { reservation, id: record, pieceBytes } = from;
  const first = await run(getSdr(source, { reservation, record, offset: 0, bytes: SDR_HEADER_BYTES }), signal);
  const total = SDR_HEADER_BYTES + decodeSdrHeader(first.data).bytes;
  const pieces = [first.data.subarray(0, SDR_HEADER_BYTES)];
  for (let offset = SDR_HEADER_BYTES; offset < total; ) {
    const bytes = Math.min(pieceBytes, total - offset);
    const { data } = await run(getSdr(source, { reservation, record, offset, bytes }), signal);
    if (data.length === 0) break; // shorter than it says: what is there is read
    pieces.push(data.subarray(0, bytes));
    offset += Math.min(data.length, bytes);
  }
  return { next: first.next, record: Buffer.concat(pieces) };
}

function understood(record: Buffer): readonly SdrRecord[] {
  try {
    return decodeSdr(record);
  } catch (error) {
    if (error instanceof MalformedPacket) return [];
    throw error;
  }
}

export type SensorHealth = 'ok' | 'warning' | 'critical' | 'non-recoverable' | 'unknown';

export interface Sensor {
  readonly name: string;
  readonly number: number;
  readonly type: string;
  /** Absent for discrete sensors, and when there is no reading. */
  readonly value?: number | undefined;
  readonly unit?: string | undefined;
  readonly health: SensorHealth;
  /** Discrete states that are asserted. */
  readonly states: readonly string[];
  readonly thresholds: Thresholds;
  /** Why there is no reading. */
  readonly missing?: string | undefined;
}

export async function readSensors(run: RunCommand, signal?: AbortSignal): Promise<readonly Sensor[]> {
  const records = await readSdrs(run, signal);
  const sensors: Sensor[] = [];
  for (const record of records) if (record.kind === 'sensor') sensors.push(await readSensor(run, record, signal));
  return sensors;
}

export async function readSensor(run: RunCommand, record: SensorRecord, signal?: AbortSignal): Promise<Sensor> {
  const { name, number, lun, analog, eventType, sensorType } = record;
  const known = { name, number, type: sensorTypeName(sensorType), unit: analog && unitName(analog) };
  const without = (missing: string): Sensor => ({ ...known, health: 'unknown', states: [], thresholds: {}, missing });
  if (record.owner !== BMC_ADDRESS) return without(`it belongs to the controller at ${record.owner.toString(16)}h`);
  try {
    const reading = await run(getSensorReading(number, lun), signal);
    if (!reading.available) return without('the BMC has no reading now');
    if (eventType !== 0x01) {
      const states = bits(reading.states & 0x7fff).map((offset) => stateName(eventType, sensorType, offset));
      const value = analog && (await converted(run, record, reading.raw, signal));
      return { ...known, value, health: 'ok', states, thresholds: {} };
    }
    if (!analog) return { ...known, health: healthOf(reading.states), states: [], thresholds: {} };
    const raw = await optional(run(getSensorThresholds(number, lun), signal), analog.thresholds);
    const thresholds: Record<string, number> = {};
    for (const [threshold, byte] of Object.entries(raw)) {
      const value = await converted(run, record, byte, signal);
      if (value !== undefined) thresholds[threshold] = value;
    }
    const value = await converted(run, record, reading.raw, signal);
    return { ...known, value, health: healthOf(reading.states), states: [], thresholds };
  } catch (error) {
    if (codeOf(error) !== 'IPMI_COMPLETION' && codeOf(error) !== 'IPMI_BAD_ANSWER') throw error;
    return without(error instanceof Error ? error.message : String(error));
  }
}

async function converted(run: RunCommand, record: SensorRecord, raw: number, signal: AbortSignal | undefined): Promise<number | undefined> {
  const { analog, number, lun } = record;
  if (!analog) return undefined;
  if (analog.linearization < NON_LINEAR) return convertReading(raw, analog);
  return convertReading(raw, { ...analog, factors: await run(getSensorFactors(number, raw, lun), signal) });
}

/** Table 35-15: bits 5 and 2 non-recoverable, 4 and 1 critical, 3 and 0 non-critical. */
function healthOf(states: number): SensorHealth {
  if (states & 0b100100) return 'non-recoverable';
  if (states & 0b010010) return 'critical';
  return states & 0b001001 ? 'warning' : 'ok';
}

function bits(mask: number): number[] {
  return Array.from({ length: 15 }, (_, bit) => bit).filter((bit) => (mask >> bit) & 1);
}

async function optional<T>(answer: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (codeOf(error) !== 'IPMI_COMPLETION') throw error;
    return otherwise;
  }
}

function isUnsupported(error: unknown): boolean {
  const code = completionCodeOf(error);
  return code === CompletionCode.invalidCommand || code === CompletionCode.invalidForLun || code === CompletionCode.disabled;
}
