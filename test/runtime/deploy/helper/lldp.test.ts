/** What switches say: frames of lldpd and of others' documentation, frames that lie, and any bytes at all. */
import { decodeLldp, type LldpNeighbour, parseReport } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const RUNS = Number(process.env.FUZZ_RUNS ?? 3_000);

/** lldpd 1.0.16 on a veth, as a card heard it: `lldpd -S 'Test "switch" OS 1.2'`. */
const LLDPD =
  '0180c200000e9a51d3cb199588cc0207049a51d3cb19950407039a51d3cb1995060200780a02766d0c1454657374202273776974636822204f5320312e32' +
  '0e04009c008010181102fe800000000000009851d3fffecb199502000000020008027631fe0900120f030100000000fe0900120f0100000000' +
  '0036000000';
const HEADER = '0180c200000e00040096220088cc';

const hex = (...parts: string[]): Buffer => Buffer.from(parts.join(''), 'hex');
const value = (type: number, content: string | Uint8Array): string => {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from([(type << 1) | (bytes.length >> 8), bytes.length & 255]), bytes]).toString('hex');
};
const text = (type: number, subtype: number, words: string): string =>
  value(type, Buffer.concat([Buffer.from([subtype]), Buffer.from(words)]));
const CHASSIS = value(1, hex('04', '000400962200'));
const PORT = text(2, 5, 'Gi0/13');
const TTL = value(3, hex('0078'));
const vlan = (subtype: number, id: number): string =>
  value(127, hex('0080c2', subtype.toString(16).padStart(2, '0'), id.toString(16).padStart(4, '0')));

const neighbour = (...parts: string[]): Partial<LldpNeighbour> => {
  const decoded = decodeLldp(hex(...parts));
  if (decoded.kind === 'invalid') throw new Error(decoded.reason);
  return decoded.neighbour;
};

describe('002-13: an LLDP frame', () => {
  it('of lldpd says who is there', () => {
    expect(neighbour(LLDPD)).toEqual({
      chassisId: '9a:51:d3:cb:19:95',
      portId: '9a:51:d3:cb:19:95',
      ttlSeconds: 120,
      portDescription: 'v1',
      systemName: 'vm',
      systemDescription: 'Test "switch" OS 1.2',
      managementAddresses: ['fe80::9851:d3ff:fecb:1995'],
    });
  });

  it('of a switch names port, VLANs and where it is managed', () => {
    const frame = [
      HEADER,
      CHASSIS,
      PORT,
      TTL,
      value(4, 'rack 7, server 12'),
      value(5, 'leaf-7b'),
      value(8, hex('0501', '0a000007', '02', '00000001', '00')),
    ];
    expect(neighbour(...frame, vlan(1, 120), vlan(7, 4094), '0000')).toEqual({
      chassisId: '00:04:00:96:22:00',
      portId: 'Gi0/13',
      ttlSeconds: 120,
      portDescription: 'rack 7, server 12',
      systemName: 'leaf-7b',
      managementAddresses: ['10.0.0.7'],
      portVlan: 120,
      managementVlan: 4094,
    });
  });

  it.each<[string, string[], Partial<LldpNeighbour>]>([
    ['behind a priority tag', ['0180c200000e0004009622008100e00088cc', CHASSIS, PORT, TTL, '0000'], { portId: 'Gi0/13' }],
    ['without an end', [HEADER, CHASSIS, PORT, TTL], { portId: 'Gi0/13' }],
    ['with padding behind its end', [HEADER, CHASSIS, PORT, TTL, '0000', value(5, 'nobody')], { portId: 'Gi0/13' }],
    ['with a network address for a chassis', [HEADER, value(1, hex('05', '01', '0a000001')), PORT, TTL], { chassisId: '10.0.0.1' }],
    ['with a chassis of a kind that is no text', [HEADER, value(1, hex('01', '000102')), PORT, TTL], { chassisId: '000102' }],
    ['with no VLAN', [HEADER, CHASSIS, PORT, TTL, vlan(1, 0), vlan(7, 4095)], {}],
    ['with a VLAN that is cut off', [HEADER, CHASSIS, PORT, TTL, value(127, hex('0080c20100'))], {}],
    ['of two names the first', [HEADER, CHASSIS, PORT, TTL, value(5, 'a'), value(5, 'b')], { systemName: 'a' }],
    ['with a name that plays with terminals', [HEADER, CHASSIS, PORT, TTL, value(5, 'a\x1b[2Jb\u202e\0')], { systemName: 'a [2Jb' }],
    ['with an address that is longer than its value', [HEADER, CHASSIS, PORT, TTL, value(8, hex('ff010a0000'))], {}],
  ])('%s', (_, frame, expected) => {
    const { portVlan, managementVlan, managementAddresses, ...rest } = neighbour(...frame);
    expect([portVlan, managementVlan, managementAddresses]).toEqual([undefined, undefined, undefined]);
    expect(rest).toEqual({ chassisId: '00:04:00:96:22:00', portId: 'Gi0/13', ttlSeconds: 120, ...expected });
  });

  it.each<[string, string[], string]>([
    ['half a header', ['0180c200000e'], 'it is shorter than an Ethernet header'],
    ['another protocol', ['ffffffffffff0004009622000806', CHASSIS], 'it is not LLDP'],
    ['a value beyond the end', [HEADER, CHASSIS, PORT, TTL, '0aff41'], 'a value is longer than the frame'],
    ['port before chassis', [HEADER, PORT, CHASSIS, TTL], 'it does not begin with chassis, port and time to live'],
    ['no time to live', [HEADER, CHASSIS, PORT], 'it does not begin with chassis, port and time to live'],
    ['two ports', [HEADER, CHASSIS, PORT, TTL, PORT], 'it names chassis, port or time to live twice'],
    ['a chassis of nothing', [HEADER, value(1, hex('04')), PORT, TTL], 'its chassis or its port has no identifier'],
    ['half a time to live', [HEADER, CHASSIS, PORT, value(3, hex('01'))], 'its time to live is no number'],
  ])('counts for nothing with %s', (_, frame, reason) => {
    expect(decodeLldp(hex(...frame))).toEqual({ kind: 'invalid', reason });
  });

  it('of any bytes is read or refused, never an exception', () => {
    const anyValues = fc
      .array(fc.tuple(fc.integer({ min: 0, max: 127 }), fc.uint8Array({ maxLength: 60 })), { maxLength: 8 })
      .map((all) => all.map(([type, content]) => value(type, content)).join(''));
    const frames = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.concat([hex(HEADER), bytes])),
      anyValues.map((values) => hex(HEADER, CHASSIS, PORT, TTL, values)),
      // one byte of a real one changed, or its end cut off
      fc.tuple(fc.nat(LLDPD.length / 2 - 1), fc.nat(255), fc.nat(LLDPD.length / 2)).map(([at, byte, end]) => {
        const bytes = hex(LLDPD);
        bytes[at] = byte;
        return bytes.subarray(0, end);
      }),
    );
    fc.assert(
      fc.property(frames, (frame) => {
        const decoded = decodeLldp(frame);
        if (decoded.kind === 'invalid') return;
        const { chassisId, portId, ttlSeconds, managementAddresses = [], ...rest } = decoded.neighbour;
        expect(chassisId.length * portId.length).toBeGreaterThan(0);
        expect(ttlSeconds).toBeLessThan(65_536);
        for (const word of [chassisId, portId, ...managementAddresses, ...Object.values(rest).map(String)])
          expect(word).not.toMatch(/\p{Cc}/u);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('002-13: the report of an inspection', () => {
  const interfacesOf = (lldpFrame: unknown): unknown => {
    const facts = { interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', lldpFrame }] };
    const parsed = parseReport(Buffer.from(JSON.stringify({ node: 1, key: 'K', facts })));
    return parsed.kind === 'report' ? parsed.report.facts?.interfaces : parsed.reason;
  };
  const card = { name: 'eth0', mac: '02:00:00:00:00:01' };

  it('turns the frame that a card heard into its switch and port', () => {
    expect(interfacesOf(hex(HEADER, CHASSIS, PORT, TTL, value(5, 'leaf-7b'), vlan(7, 99)).toString('hex'))).toEqual([
      { ...card, switchId: '00:04:00:96:22:00', switchPort: 'Gi0/13', lldp: { systemName: 'leaf-7b', managementVlan: 99 } },
    ]);
  });

  it.each([
    ['a frame that makes no sense', HEADER, 'it does not begin with chassis, port and time to live'],
    ['no hexadecimal', 'zz', 'it is no Ethernet frame in hexadecimal'],
    ['half a byte', '0', 'it is no Ethernet frame in hexadecimal'],
    ['a jumbo', '00'.repeat(9_000), 'it is no Ethernet frame in hexadecimal'],
    ['no text', { a: 1 }, 'it is no Ethernet frame in hexadecimal'],
    ['a neighbour that leaves', `${HEADER}${CHASSIS}${PORT}${value(3, hex('0000'))}`, 'the neighbour said that it leaves'],
  ])('costs %s its own meaning, not the inspection', (_, frame, lldpRefused) => {
    expect(interfacesOf(frame)).toEqual([{ ...card, lldpRefused }]);
  });
});
