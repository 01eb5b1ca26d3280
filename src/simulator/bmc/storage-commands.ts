/** Sensors, their records, and the event log of a simulated BMC. */
import { Command, CompletionCode, encodeFactors, NetFn, PrivilegeLevel, THRESHOLD_NAMES } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { type Answer, type CommandContext, type Handler, type Handlers, key, le16, le32, ok, refuse } from './command-handler.ts';
import { type SimulatedSensor, thresholdStates } from './sensor-model.ts';

const LAST_RECORD = 0xffff;
const ERASE_STARTED = 0x00;
const ERASED = 0x01;

export const storageHandlers: Handlers = new Map<number, Handler>([
  [
    key(NetFn.storage, Command.getSdrInfo),
    {
      privilege: PrivilegeLevel.user,
      // version 1.5, free space not told, times of addition and erase, modal update and Reserve supported
      answer: (_, { sdrs }) => ok(0x51, ...le16(sdrs.length), 0xff, 0xff, ...le32(0), ...le32(0), 0x22),
    },
  ],
  [
    key(NetFn.storage, Command.reserveSdrs),
    {
      privilege: PrivilegeLevel.user,
      answer(_, context) {
        context.sdrReservation.current = context.newReservation();
        return ok(...le16(context.sdrReservation.current));
      },
    },
  ],
  [key(NetFn.storage, Command.getSdr), { privilege: PrivilegeLevel.user, minBytes: 6, answer: getSdr }],
  [
    key(NetFn.storage, Command.getSelInfo),
    {
      privilege: PrivilegeLevel.user,
      answer(_, { log }) {
        const { entries, freeBytes, addedAt, erasedAt, overflow } = log.info;
        return ok(0x51, ...le16(entries), ...le16(freeBytes), ...le32(addedAt), ...le32(erasedAt), (overflow ? 0x80 : 0) | 0x02);
      },
    },
  ],
  [
    key(NetFn.storage, Command.reserveSel),
    { privilege: PrivilegeLevel.user, answer: (_, context) => ok(...le16(context.log.reserve(context.newReservation()))) },
  ],
  [key(NetFn.storage, Command.getSelEntry), { privilege: PrivilegeLevel.user, minBytes: 6, answer: getSelEntry }],
  [key(NetFn.storage, Command.clearSel), { privilege: PrivilegeLevel.operator, minBytes: 6, answer: clearSel }],
  // Get SEL Time
  [key(NetFn.storage, 0x48), { privilege: PrivilegeLevel.user, answer: (_, { log }) => ok(...le32(log.nowSeconds)) }],
  [key(NetFn.sensor, Command.getSensorReading), { privilege: PrivilegeLevel.user, minBytes: 1, answer: onSensor(reading) }],
  [key(NetFn.sensor, Command.getSensorThresholds), { privilege: PrivilegeLevel.user, minBytes: 1, answer: onSensor(thresholds) }],
  [
    key(NetFn.sensor, Command.getSensorFactors),
    {
      privilege: PrivilegeLevel.user,
      minBytes: 2,
      answer: onSensor(({ record, factors }, data) =>
        record.analog ? ok(data.readUInt8(1), ...encodeFactors(factors?.(data.readUInt8(1)) ?? record.analog.factors)) : refuse(0xcd),
      ),
    },
  ],
  // Get Sensor Hysteresis: none
  [key(NetFn.sensor, 0x25), { privilege: PrivilegeLevel.user, minBytes: 1, answer: onSensor(() => ok(0, 0)) }],
  // Get Sensor Event Enable: all, scanned
  [key(NetFn.sensor, 0x29), { privilege: PrivilegeLevel.user, minBytes: 1, answer: onSensor(() => ok(0xc0, 0, 0, 0, 0)) }],
]);

function getSdr(data: Buffer, { sdrs, faults, sdrReservation }: CommandContext): Answer {
  const reservation = data.readUInt16LE(0);
  const wanted = data.readUInt16LE(2);
  const offset = data.readUInt8(4);
  const bytes = data.readUInt8(5);
  if (faults.sdrReservationsLost > 0) {
    faults.sdrReservationsLost -= 1;
    sdrReservation.current = 0;
  }
  if (offset > 0 && reservation !== sdrReservation.current) return refuse(CompletionCode.reservationCancelled);
  if (offset === 0 && reservation !== 0 && reservation !== sdrReservation.current) return refuse(CompletionCode.reservationCancelled);
  const index = wanted === 0 ? 0 : wanted === LAST_RECORD ? sdrs.length - 1 : wanted - 1;
  const record = sdrs[index];
  if (!record) return refuse(CompletionCode.notPresent);
  if (bytes !== 0xff && bytes > faults.sdrPieceBytes) return refuse(CompletionCode.cannotReturnBytes);
  const piece = record.subarray(offset, bytes === 0xff ? undefined : offset + bytes);
  if (piece.length > faults.sdrPieceBytes) return refuse(CompletionCode.cannotReturnBytes);
  const next = index + 1 < sdrs.length ? index + 2 : LAST_RECORD;
  return ok(...le16(next), ...piece);
}

function getSelEntry(data: Buffer, { log }: CommandContext): Answer {
  const wanted = data.readUInt16LE(2);
  const offset = data.readUInt8(4);
  const bytes = data.readUInt8(5);
  const { records } = log;
  const index =
    wanted === 0 ? 0 : wanted === LAST_RECORD ? records.length - 1 : records.findIndex((record) => record.readUInt16LE(0) === wanted);
  const record = records[index];
  if (!record) return refuse(CompletionCode.notPresent);
  const next = records[index + 1]?.readUInt16LE(0) ?? LAST_RECORD;
  return ok(...le16(next), ...record.subarray(offset, bytes === 0xff ? undefined : offset + bytes));
}

function clearSel(data: Buffer, { log }: CommandContext): Answer {
  if (!log.holds(data.readUInt16LE(0))) return refuse(CompletionCode.reservationCancelled);
  if (data.toString('latin1', 2, 5) !== 'CLR') return refuse(CompletionCode.invalidDataField);
  switch (data.readUInt8(5)) {
    case 0xaa:
      log.clear();
      return ok(ERASE_STARTED); // asked once more before it is done, as on real flash
    case 0x00:
      return ok(ERASED);
    default:
      return refuse(CompletionCode.invalidDataField);
  }
}

function onSensor(answer: (sensor: SimulatedSensor, data: Buffer) => Answer): Handler['answer'] {
  return (data, { sensors }) => {
    const sensor = sensors.find(({ record }) => record.number === data.readUInt8(0));
    return sensor ? answer(sensor, data) : refuse(CompletionCode.notPresent);
  };
}

const SCANNED = 0xc0; // events and scanning enabled
const UNAVAILABLE = 0x20;

function reading({ record: { analog, eventType }, raw, states }: SimulatedSensor): Answer {
  if (!raw) return ok(0, SCANNED, (states?.() ?? 0) & 0xff, 0x80 | (((states?.() ?? 0) >> 8) & 0x7f));
  const now = raw();
  if (now === undefined) return ok(0, SCANNED | UNAVAILABLE, 0xc0);
  return ok(now, SCANNED, 0xc0 | (analog && eventType === 0x01 ? thresholdStates(now, analog) : 0));
}

function thresholds({ record: { analog, readableMask } }: SimulatedSensor): Answer {
  if (!analog) return refuse(0xcd); // command illegal for this sensor
  return ok(readableMask & 0x3f, ...THRESHOLD_NAMES.map((name) => analog.thresholds[name] ?? 0));
}
