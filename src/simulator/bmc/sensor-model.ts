/** Sensors of a simulated machine, as records and readings. */
import {
  type Analog,
  encodeSensorRecord,
  type ReadingFactors,
  type SensorRecord,
  type Thresholds,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';

export interface SimulatedSensor {
  readonly record: Omit<SensorRecord, 'id'>;
  /** Raw value of an analog sensor now; undefined: no reading. */
  raw?(): number | undefined;
  /** Asserted states of a discrete sensor, bit n for state n. */
  states?(): number;
  /** Non-linear sensors: the factors around a raw value. */
  factors?(raw: number): ReadingFactors;
}

const BMC_OWNER = 0x20;
const SYSTEM_BOARD = 7;

const linear: Analog = {
  format: 'unsigned',
  baseUnit: 1,
  modifierUnit: 0,
  combined: 'none',
  rate: 0,
  percent: false,
  linearization: 0,
  factors: { m: 1, b: 0, bExponent: 0, rExponent: 0 },
  thresholds: {},
};

/** An analog sensor with thresholds (event type 01h). */
export function analogSensor(
  sensor: { readonly number: number; readonly name: string; readonly sensorType: number; readonly analog: Partial<Analog> },
  raw: () => number | undefined,
): SimulatedSensor {
  const analog = { ...linear, ...sensor.analog };
  const names = [
    'lowerNonCritical',
    'lowerCritical',
    'lowerNonRecoverable',
    'upperNonCritical',
    'upperCritical',
    'upperNonRecoverable',
  ] as const;
  const readableMask = names.reduce((mask, name, bit) => (analog.thresholds[name] === undefined ? mask : mask | (1 << bit)), 0);
  const { number, name, sensorType } = sensor;
  const place = { owner: BMC_OWNER, lun: 0, entity: SYSTEM_BOARD, entityInstance: 1 };
  return { record: { kind: 'sensor', ...place, number, name, sensorType, eventType: 0x01, readableMask, analog }, raw };
}

export function discreteSensor(
  sensor: { readonly number: number; readonly name: string; readonly sensorType: number; readonly eventType?: number },
  states: () => number,
): SimulatedSensor {
  const { number, name, sensorType, eventType = 0x6f } = sensor;
  const place = { owner: BMC_OWNER, lun: 0, entity: SYSTEM_BOARD, entityInstance: 1 };
  return { record: { kind: 'sensor', ...place, number, name, sensorType, eventType, readableMask: 0x7fff }, states };
}

/** What a small server has. Fans stand still and voltages are gone while it is off. */
export function serverSensors(powered: () => boolean): readonly SimulatedSensor[] {
  const whenOn = (raw: number) => () => (powered() ? raw : undefined);
  return [
    analogSensor(
      {
        number: 1,
        name: 'Inlet Temp',
        sensorType: 0x01,
        analog: { baseUnit: 1, format: 'twos-complement', thresholds: { lowerCritical: 0xfb, upperNonCritical: 38, upperCritical: 42 } },
      },
      () => 23,
    ),
    analogSensor(
      {
        number: 2,
        name: 'CPU Temp',
        sensorType: 0x01,
        analog: { baseUnit: 1, format: 'twos-complement', thresholds: { upperCritical: 95, upperNonRecoverable: 100 } },
      },
      whenOn(54),
    ),
    analogSensor(
      {
        number: 3,
        name: 'Fan 1',
        sensorType: 0x04,
        analog: { baseUnit: 18, factors: { m: 70, b: 0, bExponent: 0, rExponent: 0 }, thresholds: { lowerCritical: 8 } },
      },
      whenOn(60),
    ),
    analogSensor(
      {
        number: 4,
        name: 'P12V',
        sensorType: 0x02,
        analog: {
          baseUnit: 4,
          factors: { m: 63, b: 0, bExponent: 0, rExponent: -3 },
          thresholds: { lowerCritical: 175, upperCritical: 207 },
        },
      },
      whenOn(192),
    ),
    analogSensor(
      {
        number: 5,
        name: 'Power Draw',
        sensorType: 0x0b,
        analog: { baseUnit: 6, factors: { m: 4, b: 0, bExponent: 0, rExponent: 0 }, thresholds: {} },
      },
      () => (powered() ? 41 : 3),
    ),
    discreteSensor({ number: 16, name: 'PSU 1', sensorType: 0x08 }, () => 0x01),
    discreteSensor({ number: 17, name: 'ACPI State', sensorType: 0x22 }, () => (powered() ? 0x01 : 0x20)),
    discreteSensor({ number: 18, name: 'Intrusion', sensorType: 0x05 }, () => 0x00),
  ];
}

/** Their records, numbered from 1, ready to be read in pieces. */
export function sdrRepository(sensors: readonly SimulatedSensor[]): readonly Buffer[] {
  return sensors.map(({ record }, index) => encodeSensorRecord({ ...record, id: index + 1 }));
}

/** Table 35-15: which thresholds the reading has reached. */
export function thresholdStates(raw: number, analog: Analog): number {
  const value = (byte: number): number => (analog.format === 'unsigned' ? byte : byte >= 128 ? byte - 256 : byte);
  const at = (name: keyof Thresholds, reached: (limit: number) => boolean): boolean => {
    const limit = analog.thresholds[name];
    return limit !== undefined && reached(value(limit));
  };
  const now = value(raw);
  return [
    at('lowerNonCritical', (limit) => now <= limit),
    at('lowerCritical', (limit) => now <= limit),
    at('lowerNonRecoverable', (limit) => now <= limit),
    at('upperNonCritical', (limit) => now >= limit),
    at('upperCritical', (limit) => now >= limit),
    at('upperNonRecoverable', (limit) => now >= limit),
  ].reduce((mask, reached, bit) => (reached ? mask | (1 << bit) : mask), 0);
}
