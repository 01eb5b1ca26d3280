/** The system event log (IPMI v2.0 rev 1.1 chapters 31 and 32): list, information, clear. */
import { type Clock, sleep } from '../../core/clock.ts';
import { codeOf, powerErrors } from '../errors.ts';
import { ByteReader, MalformedPacket } from './bytes.ts';
import { Command, type IpmiCommand } from './commands.ts';
import { CompletionCode, completionCodeOf } from './completion-code.ts';
import { NetFn } from './message.ts';
import { sensorTypeName, stateName } from './sensor-names.ts';
import type { RunCommand } from './sensors.ts';

export const SEL_RECORD_BYTES = 16;
const LAST_RECORD = 0xffff;
const WHOLE_RECORD = 0xff;
const MOST_RECORDS = 65_535;

export interface SelInfo {
  /** e.g. `1.5` for 51h. */
  readonly version: string;
  readonly entries: number;
  readonly freeBytes: number;
  /** Seconds since 1970 by the BMC's clock; undefined: never. */
  readonly addedAt: number | undefined;
  readonly erasedAt: number | undefined;
  /** Events were lost since the log was full. */
  readonly overflow: boolean;
}

/** Times below this count from the BMC's own start (section 37.1); FFFFFFFFh is "not known". */
const SINCE_START_LIMIT = 0x2000_0000;

/** Table 31-2. */
export const getSelInfo: IpmiCommand<SelInfo> = {
  name: 'Get SEL Info',
  netFn: NetFn.storage,
  command: Command.getSelInfo,
  data: new Uint8Array(0),
  userLevel: true,
  parse(data) {
    const reader = new ByteReader(data, 'Get SEL Info');
    const version = reader.u8();
    const entries = reader.u16();
    const freeBytes = reader.u16();
    const addedAt = knownTime(reader.u32());
    const erasedAt = knownTime(reader.u32());
    return {
      version: `${version & 0x0f}.${version >> 4}`,
      entries,
      freeBytes,
      addedAt,
      erasedAt,
      overflow: (reader.u8() & 0x80) !== 0,
    };
  },
};

/** Table 31-4. */
export const reserveSel: IpmiCommand<number> = {
  name: 'Reserve SEL',
  netFn: NetFn.storage,
  command: Command.reserveSel,
  data: new Uint8Array(0),
  userLevel: true,
  parse: (data) => new ByteReader(data, 'Reserve SEL').u16(),
};

/** Table 31-5; whole records need no reservation. */
export function getSelEntry(record: number): IpmiCommand<{ readonly next: number; readonly record: Buffer }> {
  return {
    name: `Get SEL Entry (${record})`,
    netFn: NetFn.storage,
    command: Command.getSelEntry,
    data: Uint8Array.of(0, 0, record & 0xff, record >> 8, 0, WHOLE_RECORD),
    userLevel: true,
    parse(data) {
      const reader = new ByteReader(data, 'Get SEL Entry');
      return { next: reader.u16(), record: reader.rest() };
    },
  };
}

const START_ERASE = 0xaa;
const ASK_ERASE = 0x00;

/** Table 31-9: begins erasing, or asks how it goes. */
export function clearSel(reservation: number, step: 'start' | 'ask'): IpmiCommand<{ readonly done: boolean }> {
  const action = step === 'start' ? START_ERASE : ASK_ERASE;
  return {
    name: 'Clear SEL',
    netFn: NetFn.storage,
    command: Command.clearSel,
    data: Uint8Array.of(reservation & 0xff, reservation >> 8, 0x43, 0x4c, 0x52, action), // "CLR"
    parse: (data) => ({ done: (new ByteReader(data, 'Clear SEL').u8() & 0x0f) === 1 }),
  };
}

export interface SelEntry {
  readonly id: number;
  readonly type: number;
  /** Seconds since 1970 by the BMC's clock. */
  readonly at?: number | undefined;
  /** Seconds since the BMC's start, where its clock was not set yet. */
  readonly sinceStart?: number | undefined;
  readonly event?: SelEvent | undefined;
  /** OEM records: their bytes. */
  readonly oem?: string | undefined;
}

export interface SelEvent {
  readonly generator: number;
  readonly sensorType: number;
  readonly sensor: number;
  readonly eventType: number;
  readonly offset: number;
  readonly asserted: boolean;
  readonly data: readonly [number, number, number];
  /** e.g. `temperature: upper critical going high`. */
  readonly text: string;
}

/*
 *  Table 32-1, system event record (type 02h); C0h–DFh: time and 9 OEM bytes; E0h–FFh: 13 OEM bytes
 *  +----+------+------+-----------+---------+--------+--------+------------------+------------------------+
 *  | id | type | time | generator | version | sensor | sensor | 7: deasserted    | 3:0 offset, then data  |
 *  | 2  | 1    | 4    | 2         | 1       | type   | number | 6:0 event type   | 3                      |
 *  +----+------+------+-----------+---------+--------+--------+------------------+------------------------+
 */
export function decodeSelEntry(record: Uint8Array): SelEntry {
  const reader = new ByteReader(record, 'the SEL entry');
  const id = reader.u16();
  const type = reader.u8();
  if (type >= 0xe0) return { id, type, oem: reader.bytes(13).toString('hex') };
  const time = reader.u32();
  const at = knownTime(time);
  const when = at === undefined && time < SINCE_START_LIMIT ? { sinceStart: time } : { at };
  if (type >= 0xc0) return { id, type, ...when, oem: reader.bytes(9).toString('hex') };
  const generator = reader.u16();
  reader.skip(1);
  const sensorType = reader.u8();
  const sensor = reader.u8();
  const direction = reader.u8();
  const data = [reader.u8(), reader.u8(), reader.u8()] as const;
  const eventType = direction & 0x7f;
  const offset = data[0] & 0x0f;
  const text = `${sensorTypeName(sensorType)}: ${stateName(eventType, sensorType, offset)}`;
  return { id, type, ...when, event: { generator, sensorType, sensor, eventType, offset, asserted: (direction & 0x80) === 0, data, text } };
}

export function encodeSelEvent(entry: { readonly id: number; readonly at: number; readonly event: Omit<SelEvent, 'text'> }): Buffer {
  const { id, at, event } = entry;
  const record = Buffer.alloc(SEL_RECORD_BYTES);
  record.writeUInt16LE(id, 0);
  record[2] = 0x02;
  record.writeUInt32LE(at >>> 0, 3);
  record.writeUInt16LE(event.generator, 7);
  record.set([0x04, event.sensorType, event.sensor, (event.asserted ? 0 : 0x80) | event.eventType, ...event.data], 9);
  return record;
}

/** From the oldest on; stops when the BMC's "next" runs in a circle. What cannot be understood is left out. */
export async function* readSel(run: RunCommand, signal?: AbortSignal): AsyncGenerator<SelEntry> {
  const seen = new Set<number>();
  for (let id = 0; id !== LAST_RECORD && !seen.has(id) && seen.size < MOST_RECORDS; ) {
    seen.add(id);
    let answer: { readonly next: number; readonly record: Buffer };
    try {
      answer = await run(getSelEntry(id), signal);
    } catch (error) {
      if (completionCodeOf(error) === CompletionCode.notPresent) return; // empty, or erased meanwhile
      throw error;
    }
    try {
      yield decodeSelEntry(answer.record);
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error;
    }
    id = answer.next;
  }
}

const ERASE_POLL_MS = 250;
const ERASE_POLLS = 120;

/** Erases the log; resolves when the BMC says that it is empty. An event that comes meanwhile cancels the reservation: asked again, a few times. Throws IPMI_SEL_NOT_ERASED after 30 s. */
export async function eraseSel(run: RunCommand, clock: Clock, signal?: AbortSignal): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      const reservation = await run(reserveSel, signal);
      let { done } = await run(clearSel(reservation, 'start'), signal);
      for (let polls = 0; !done && polls < ERASE_POLLS; polls++) {
        await sleep(clock, ERASE_POLL_MS, signal);
        ({ done } = await run(clearSel(reservation, 'ask'), signal));
      }
      if (!done) throw powerErrors.IPMI_SEL_NOT_ERASED({ seconds: (ERASE_POLLS * ERASE_POLL_MS) / 1000 });
      return;
    } catch (error) {
      if (codeOf(error) !== 'IPMI_COMPLETION' || completionCodeOf(error) !== CompletionCode.reservationCancelled || tries >= 5) throw error;
    }
  }
}

function knownTime(seconds: number): number | undefined {
  return seconds >= SINCE_START_LIMIT && seconds !== 0xffff_ffff ? seconds : undefined;
}
