/** Sensor records, readings, event log entries and SOL packets: bytes with known meaning, and garbage. */
import {
  clearSel,
  completionName,
  convertReading,
  decodeFactors,
  decodeSdr,
  decodeSelEntry,
  decodeSol,
  encodeFactors,
  encodeSelEvent,
  encodeSensorRecord,
  encodeSol,
  getLanParameter,
  getRestartCause,
  getSelInfo,
  getSensorReading,
  getSensorThresholds,
  getSystemGuid,
  getUserAccess,
  MalformedPacket,
  nextSolSequence,
  QUIRKS,
  quirksOf,
  type SensorRecord,
  stateName,
  unitName,
  userPassword,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FUZZ_RUNS } from '../support.ts';
import { onlyMalformed, RECORD_DECODERS } from './decoders.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

/** As OpenIPMI's sdrcomp 2.0.33 (-r) compiles them from its text form. */
const FULL = bytes('0100510134200001070171000101000000001a0080010000010000000000000000000000005f5a00fb000000000000c94350552054656d7031');
const COMPACT = bytes('010051021e2000300a014000086f000000000000c00000030100000000000084f05c03');

describe('sensor data records', () => {
  it('002-2: a full record: temperature in two’s complement with thresholds', () => {
    const [sensor] = decodeSdr(FULL);
    expect(sensor).toMatchObject({
      kind: 'sensor',
      id: 1,
      name: 'CPU Temp1',
      owner: 0x20,
      number: 1,
      sensorType: 1,
      eventType: 1,
      analog: {
        format: 'twos-complement',
        baseUnit: 1,
        linearization: 0,
        factors: { m: 1, b: 0, bExponent: 0, rExponent: 0 },
        thresholds: { lowerCritical: 0xfb, upperNonCritical: 0x5a, upperCritical: 0x5f },
      },
    });
  });

  it('002-2: a compact record that stands for three sensors', () => {
    const found = decodeSdr(COMPACT);
    expect(found.map((one) => (one.kind === 'sensor' ? [one.name, one.number] : []))).toEqual([
      ['PSU 1', 0x30],
      ['PSU 2', 0x31],
      ['PSU 3', 0x32],
    ]);
  });

  it('names in all four codes', () => {
    const named = (typeLength: string, text: string): string => {
      const id = bytes(typeLength + text);
      const body = Buffer.concat([bytes('20 00 00 00 00 00 00 07 01 00'), id]);
      const [found] = decodeSdr(Buffer.concat([Buffer.from([1, 0, 0x51, 0x12, body.length]), body]));
      return found?.kind === 'controller' ? found.name : 'none';
    };
    expect(named('c3', '424d43')).toBe('BMC');
    expect(named('83', '29dc a6')).toBe('IPMI'); // the example of section 43.15
    expect(named('42', '12 ca')).toBe('12. ');
    expect(named('04', '4200 4d00')).toBe('BM');
  });

  it('what is written is read again', () => {
    fc.assert(
      fc.property(
        fc.record({
          number: fc.integer({ min: 0, max: 255 }),
          m: fc.integer({ min: -512, max: 511 }),
          b: fc.integer({ min: -512, max: 511 }),
          bExponent: fc.integer({ min: -8, max: 7 }),
          rExponent: fc.integer({ min: -8, max: 7 }),
          unit: fc.integer({ min: 0, max: 92 }),
          name: fc.stringMatching(/^[A-Za-z][A-Za-z0-9 ]{0,13}[A-Za-z0-9]$/),
          limit: fc.integer({ min: 0, max: 255 }),
        }),
        ({ number, m, b, bExponent, rExponent, unit, name, limit }) => {
          const record: SensorRecord = {
            kind: 'sensor',
            id: 7,
            name,
            owner: 0x20,
            lun: 0,
            number,
            entity: 3,
            entityInstance: 1,
            sensorType: 1,
            eventType: 1,
            readableMask: 0b010010,
            analog: {
              format: 'unsigned',
              baseUnit: unit,
              modifierUnit: 0,
              combined: 'none',
              rate: 0,
              percent: false,
              linearization: 7,
              factors: { m, b, bExponent, rExponent },
              thresholds: { lowerCritical: limit, upperCritical: 255 - limit },
            },
          };
          expect(decodeSdr(encodeSensorRecord(record))).toEqual([record]);
          expect(decodeFactors(encodeFactors({ m, b, bExponent, rExponent }))).toEqual({ m, b, bExponent, rExponent });
        },
      ),
    );
  });
});

describe('readings become numbers', () => {
  const linear = { m: 1, b: 0, bExponent: 0, rExponent: 0 };
  it.each([
    {
      name: '12 V rail: 63 mV a step',
      raw: 192,
      format: 'unsigned',
      linearization: 0,
      factors: { ...linear, m: 63, rExponent: -3 },
      y: 12.096,
    },
    { name: 'below zero', raw: 0xfb, format: 'twos-complement', linearization: 0, factors: linear, y: -5 },
    { name: 'below zero, one’s complement', raw: 0xfa, format: 'ones-complement', linearization: 0, factors: linear, y: -5 },
    {
      name: 'offset: (2·10 + 5·10²)·10⁻¹',
      raw: 10,
      format: 'unsigned',
      linearization: 0,
      factors: { m: 2, b: 5, bExponent: 2, rExponent: -1 },
      y: 52,
    },
    { name: 'ln', raw: 1, format: 'unsigned', linearization: 1, factors: linear, y: 0 },
    { name: 'log10', raw: 100, format: 'unsigned', linearization: 2, factors: linear, y: 2 },
    { name: 'log2', raw: 8, format: 'unsigned', linearization: 3, factors: linear, y: 3 },
    { name: 'e^x', raw: 0, format: 'unsigned', linearization: 4, factors: linear, y: 1 },
    { name: '10^x', raw: 3, format: 'unsigned', linearization: 5, factors: linear, y: 1000 },
    { name: '2^x', raw: 5, format: 'unsigned', linearization: 6, factors: linear, y: 32 },
    { name: '1/x: a fan that counts periods', raw: 4, format: 'unsigned', linearization: 7, factors: linear, y: 0.25 },
    { name: '1/0 is no number', raw: 0, format: 'unsigned', linearization: 7, factors: linear, y: undefined },
    { name: 'ln 0 is no number', raw: 0, format: 'unsigned', linearization: 1, factors: linear, y: undefined },
    { name: 'square', raw: 5, format: 'unsigned', linearization: 8, factors: linear, y: 25 },
    { name: 'cube', raw: 3, format: 'unsigned', linearization: 9, factors: linear, y: 27 },
    { name: 'square root', raw: 81, format: 'unsigned', linearization: 10, factors: linear, y: 9 },
    { name: 'cube root', raw: 27, format: 'unsigned', linearization: 11, factors: linear, y: 3 },
  ] as const)('002-2: $name', ({ raw, format, linearization, factors, y }) => {
    expect(convertReading(raw, { format, linearization, factors })).toBe(y);
  });

  it('units', () => {
    const unit = { baseUnit: 1, modifierUnit: 0, combined: 'none', rate: 0, percent: false } as const;
    expect(unitName(unit)).toBe('°C');
    expect(unitName({ ...unit, baseUnit: 18 })).toBe('rpm');
    expect(unitName({ ...unit, baseUnit: 66, rate: 3 })).toBe('bit/s');
    expect(unitName({ ...unit, baseUnit: 0, percent: true })).toBe('%');
    expect(unitName({ ...unit, baseUnit: 70, modifierUnit: 23, combined: 'per' })).toBe('byte/min');
    expect(unitName({ ...unit, baseUnit: 92 })).toBe('g'); // the last one of the table
  });

  it('answers', () => {
    expect(getSensorReading(1).parse(bytes('17c0c0'))).toEqual({ raw: 0x17, available: true, states: 0xc0 });
    expect(getSensorReading(1).parse(bytes('00e0c0')).available).toBe(false);
    expect(getSensorReading(1).parse(bytes('00c00180'))).toMatchObject({ available: true, states: 1 });
    expect(getSensorThresholds(1).parse(bytes('1800000055 5f00'))).toEqual({ upperNonCritical: 0x55, upperCritical: 0x5f });
    expect(stateName(0x6f, 0x08, 3)).toBe('input lost');
    expect(stateName(0x01, 0x01, 9)).toBe('upper critical going high');
    expect(getRestartCause.parse(bytes('0400')).cause).toBe('watchdog expired');
    expect(getSystemGuid.parse(bytes('00112233445566778899aabbccddeeff')).smbios).toBe('33221100-5544-7766-8899-aabbccddeeff');
    expect(getUserAccess(2).parse(bytes('0a420134'))).toMatchObject({ maxUsers: 10, enabled: true, privilege: 4, ipmi: true, link: true });
    expect(getLanParameter(3).parse(bytes('110a000001'))).toEqual(bytes('0a000001'));
  });

  it('quirks have a public source each', () => {
    for (const { source, what } of QUIRKS) expect(`${what} ${source}`).toMatch(/https:\/\//);
    expect(quirksOf({ manufacturer: 10876, product: 1 })).toHaveLength(1);
    expect(quirksOf({ manufacturer: 674, product: 1 })).toEqual([]);
  });
});

describe('the event log', () => {
  it('002-2: an entry as ipmi-sel shows it: upper critical going high', () => {
    expect(decodeSelEntry(bytes('0100 02 5c0fa069 2000 04 01 02 01 59 5f5f'))).toMatchObject({
      id: 1,
      at: 0x69a00f5c,
      event: {
        generator: 0x20,
        sensorType: 1,
        sensor: 2,
        eventType: 1,
        offset: 9,
        asserted: true,
        text: 'temperature: upper critical going high',
      },
    });
    expect(decodeSelEntry(bytes('0200 02 10000000 2000 04 22 11 ef 05ffff'))).toMatchObject({
      sinceStart: 16,
      event: { asserted: false, text: 'ACPI power state: S5/G2 soft off' },
    });
    expect(decodeSelEntry(bytes('0300 e0 0102030405060708090a0b0c0d'))).toEqual({ id: 3, type: 0xe0, oem: '0102030405060708090a0b0c0d' });
    expect(getSelInfo.parse(bytes('51 0300 0010 5c0fa069 ffffffff 82'))).toEqual({
      version: '1.5',
      entries: 3,
      freeBytes: 4096,
      addedAt: 0x69a00f5c,
      erasedAt: undefined,
      overflow: true,
    });
    expect(Buffer.from(clearSel(0x1234, 'start').data).toString('hex')).toBe('3412434c52aa');
  });

  it('what is written is read again', () => {
    const event = { generator: 0x20, sensorType: 1, sensor: 2, eventType: 1, offset: 9, asserted: true, data: [9, 0xff, 0xff] as const };
    expect(decodeSelEntry(encodeSelEvent({ id: 7, at: 1_800_000_000, event }))).toMatchObject({ id: 7, at: 1_800_000_000, event });
  });
});

describe('passwords', () => {
  it.each([
    { name: '16 bytes', text: 'sixteen-bytes-pw', bytes: 16, hex: '02027369787465656e2d62797465732d7077' },
    { name: 'empty', text: '', bytes: 16, hex: `0202${'00'.repeat(16)}` },
    { name: 'not ASCII', text: 'pässwörd', bytes: 20, hex: `8202${Buffer.from('pässwörd').toString('hex')}${'00'.repeat(10)}` },
  ] as const)('002-2: $name', ({ text, bytes: size, hex }) => {
    expect(Buffer.from(userPassword(2, 'set', { text, bytes: size }).data).toString('hex')).toBe(hex);
  });

  it('a wrong password in a test has a name', () => {
    expect(completionName(0x80, 6, 0x47)).toBe('80h (the password does not match)');
  });
});

describe('SOL packets', () => {
  it('002-2: both directions (Tables 15-2 and 15-3)', () => {
    const packet = { sequence: 5, ack: 3, accepted: 12, control: 0x40, data: Buffer.from('ls\r') };
    expect(encodeSol(packet).toString('hex')).toBe('05030c406c730d');
    expect(decodeSol(bytes('05030c406c730d'))).toEqual(packet);
    // ipmi_sim 2.0.33 to the first packet of a console, which carried "hello"
    expect(decodeSol(bytes('00010500'))).toEqual({ sequence: 0, ack: 1, accepted: 5, control: 0, data: Buffer.alloc(0) });
    expect(nextSolSequence(15)).toBe(1);
  });
});

describe('fuzz', () => {
  const decoders = Object.values(RECORD_DECODERS);

  it('no bytes of any length make a decoder throw anything but MalformedPacket', () => {
    const property = fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(decoders.length - 1), (data, index) => {
      onlyMalformed(() => decoders[index]?.(data));
    });
    fc.assert(property, { numRuns: FUZZ_RUNS });
  });

  it('every cut and every flipped bit of a record is read or refused', () => {
    for (let length = 0; length <= FULL.length; length++)
      for (const bit of [0, 3, 7]) {
        const data = Buffer.from(FULL.subarray(0, length));
        if (length > 0) data[length - 1] = (data[length - 1] ?? 0) ^ (1 << bit);
        try {
          decodeSdr(data);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedPacket);
        }
      }
  });
});
