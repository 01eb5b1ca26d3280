import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  DhcpCodecError,
  type DhcpMessage,
  decodeDhcp,
  decodeSubOptions,
  encodeDhcp,
  encodeSubOptions,
} from '../../../../src/runtime/boot/dhcp/codec.ts';
import {
  addressOption,
  clientArch,
  clientGuid,
  clientKind,
  macOf,
  messageType,
  numberOption,
  OPTION,
  PXE,
  RELAY,
  relayAgentOptions,
  requestedOptions,
  textOption,
  userClasses,
} from '../../../../src/runtime/boot/dhcp/options.ts';
import { encodeReply } from '../../../../src/runtime/boot/dhcp/reply.ts';
import * as captures from './captures.ts';

const FUZZ_RUNS = Number(process.env.FUZZ_RUNS ?? 5000);
const CAPTURES: Readonly<Record<string, Uint8Array>> = { ...captures };

describe('captures, decoded', () => {
  it('reads the Intel ROM', () => {
    const message = decodeDhcp(captures.INTEL_PXE_DISCOVER);
    expect(message).toMatchObject({ op: 'request', xid: 0x3456789a, secs: 4, broadcast: true, ciaddr: '0.0.0.0', giaddr: '0.0.0.0' });
    expect(messageType(message)).toBe('discover');
    expect(macOf(message)).toBe('52:54:00:12:34:56');
    expect(clientKind(message)).toBe('pxe');
    expect(clientArch(message)).toBe(0);
    expect(numberOption(message, OPTION.maxMessageSize)).toBe(1260);
    expect(clientGuid(message)).toEqual({ state: 'ok', uuid: '4c4c4544-0057-3610-8047-b4c04f315a31' });
    expect(requestedOptions(message)?.has(OPTION.bootFile)).toBe(true);
    expect([...(message.options.get(OPTION.clientNdi) ?? [])]).toEqual([1, 2, 1]);
  });

  const kinds = [
    { name: 'EDK2 x64', data: captures.EDK2_X64_DISCOVER, kind: 'pxe', arch: 7, mac: '52:54:00:aa:bb:07' },
    { name: 'EDK2 HTTP', data: captures.EDK2_HTTP_DISCOVER, kind: 'uefi-http', arch: 16, mac: '52:54:00:aa:bb:10' },
    { name: 'iPXE', data: captures.IPXE_DISCOVER, kind: 'ipxe', arch: 0, mac: '52:54:00:12:34:56' },
    { name: 'relayed', data: captures.RELAYED_DISCOVER, kind: 'pxe', arch: 0, mac: '52:54:00:12:34:56' },
  ];
  it.each(kinds)('tells what $name is', ({ data, kind, arch, mac }) => {
    const message = decodeDhcp(data);
    expect({ kind: clientKind(message), arch: clientArch(message), mac: macOf(message) }).toEqual({ kind, arch, mac });
  });

  it('reads iPXE’s bare user class and a well-formed list', () => {
    expect(userClasses(decodeDhcp(captures.IPXE_DISCOVER))).toEqual(['iPXE']);
    const list = withOptions([[OPTION.userClass, Uint8Array.of(4, 0x69, 0x50, 0x58, 0x45, 2, 0x68, 0x69)]]);
    expect(userClasses(list)).toEqual(['iPXE', 'hi']);
  });

  it('reads relay agent information', () => {
    const message = decodeDhcp(captures.RELAYED_DISCOVER);
    expect(message.giaddr).toBe('10.128.192.254');
    expect([...(relayAgentOptions(message).get(RELAY.remoteId) ?? [])]).toEqual([0, 6, 0, 0x1b, 0x21, 0xaa, 0xbb, 0xcc]);
  });

  it('reads the boot item of a boot server request', () => {
    const message = decodeDhcp(captures.PXE_BOOT_SERVER_REQUEST);
    const vendor = decodeSubOptions(message.options.get(OPTION.vendorSpecific) ?? new Uint8Array(), { padding: true });
    expect([...(vendor.get(PXE.bootItem) ?? [])]).toEqual([0x80, 0, 0, 0]);
    expect(message.ciaddr).toBe('192.168.50.100');
  });

  it('reads a server’s offer', () => {
    const message = decodeDhcp(captures.DNSMASQ_OFFER);
    expect(message).toMatchObject({ op: 'reply', yiaddr: '192.168.50.100', siaddr: '192.168.50.20', file: 'pxelinux.0' });
    expect(addressOption(message, OPTION.serverId)).toBe('192.168.50.20');
  });
});

describe('both directions', () => {
  it.each(Object.entries(CAPTURES).map(([name, data]) => ({ name, data })))(
    '$name is written back byte for byte, but for its padding',
    ({ data }) => {
      const again = encodeDhcp(decodeDhcp(data));
      const used = data.findLastIndex((byte) => byte !== 0) + 1; // END is the last byte that is not padding
      expect(Buffer.from(again.subarray(0, used)).toString('hex')).toBe(Buffer.from(data.subarray(0, used)).toString('hex'));
      expect(again.subarray(used).every((byte) => byte === 0)).toBe(true);
      expect(again.length).toBeGreaterThanOrEqual(300);
    },
  );

  it('survives a round trip with any content', () => {
    fc.assert(
      fc.property(anyMessage(), (message) => {
        expect(decodeDhcp(encodeDhcp(message, { maxBytes: 65_507 }))).toEqual(message);
      }),
      { numRuns: FUZZ_RUNS / 5 },
    );
  });

  it('survives a round trip in 548 bytes, or says that it does not fit', () => {
    let overloaded = 0;
    fc.assert(
      fc.property(anyMessage(), (message) => {
        let bytes: Uint8Array;
        try {
          bytes = encodeDhcp(message);
        } catch (error) {
          expect(error).toBeInstanceOf(DhcpCodecError);
          return;
        }
        expect(bytes.length).toBeLessThanOrEqual(548);
        if (message.file === '' && bytes[108] !== 0) overloaded++;
        expect(decodeDhcp(bytes)).toEqual(message);
      }),
      { numRuns: FUZZ_RUNS / 5 },
    );
    expect(overloaded).toBeGreaterThan(0); // the property did reach option overload
  });
});

describe('long and overloaded options', () => {
  it('splits a value over 255 bytes and joins it again (RFC 3396)', () => {
    const long = Uint8Array.from({ length: 600 }, (_, index) => index & 0xff);
    const bytes = encodeDhcp(withOptions([[OPTION.vendorSpecific, long]]), { maxBytes: 1472 });
    expect([bytes[240], bytes[241], bytes[497], bytes[498]]).toEqual([43, 255, 43, 255]);
    expect(decodeDhcp(bytes).options.get(OPTION.vendorSpecific)).toEqual(long);
  });

  it('reads options from file, then from sname', () => {
    const data = new Uint8Array(captures.INTEL_PXE_DISCOVER);
    data.set([52, 1, 3, 12, 1, 0x61, 255], 240);
    data.set([12, 1, 0x62, 255], 108);
    data.set([12, 1, 0x63, 52, 1, 1, 255], 44);
    const message = decodeDhcp(data);
    expect(textOption(message, OPTION.hostname)).toBe('abc');
    expect([message.sname, message.file, message.options.has(52)]).toEqual(['', '', false]);
  });

  it('leaves the relay’s option 82 where the relay looks for it, last, or out where it fits nowhere (RFC 3046 section 2.2)', () => {
    const relay = new Uint8Array(130).fill(7);
    const full = [OPTION.hostname, OPTION.domainName, 224].map((code): [number, Uint8Array] => [code, new Uint8Array(70)]);
    const bytes = encodeDhcp({ ...withOptions([...full, [OPTION.relayAgent, relay]]), op: 'reply' });
    expect(bytes.length).toBeLessThanOrEqual(548);
    const behind = Buffer.from(bytes.subarray(240));
    expect(behind.indexOf(Buffer.concat([Buffer.of(OPTION.relayAgent, relay.length), relay, Buffer.of(255)]))).toBeGreaterThan(0);
    for (const [code, value] of full) expect(decodeDhcp(bytes).options.get(code)).toEqual(value);

    const named = { ...withOptions([...full, [OPTION.relayAgent, relay]]), op: 'reply' as const, file: 'pxelinux.0' };
    expect(() => encodeDhcp(named)).toThrow(DhcpCodecError);
    const without = decodeDhcp(encodeReply({ message: named, maxBytes: 548, to: { address: '10.0.0.1', port: 67 } })).options;
    for (const [code, value] of full) expect(without.get(code)).toEqual(value);
    expect(without.has(OPTION.relayAgent)).toBe(false);
  });

  it('puts nothing into fields that are in use', () => {
    const big: DhcpMessage = {
      ...withOptions([
        [OPTION.vendorSpecific, new Uint8Array(250)],
        [224, new Uint8Array(60)],
      ]),
      file: 'pxelinux.0',
      sname: 'x',
    };
    expect(() => encodeDhcp(big)).toThrow(DhcpCodecError);
    expect(decodeDhcp(encodeDhcp({ ...big, sname: '' })).options.get(224)).toEqual(new Uint8Array(60));
  });
});

describe('what is refused', () => {
  const discover = (change: (data: Uint8Array) => void): Uint8Array => {
    const data = new Uint8Array(captures.INTEL_PXE_DISCOVER);
    change(data);
    return data;
  };
  const cases: { name: string; data: Uint8Array; says: RegExp }[] = [
    { name: 'nothing', data: new Uint8Array(), says: /shorter/ },
    { name: 'a cut header', data: captures.INTEL_PXE_DISCOVER.subarray(0, 239), says: /shorter/ },
    { name: 'an unknown op', data: discover((data) => data.set([3], 0)), says: /op 3/ },
    { name: 'an hlen over 16', data: discover((data) => data.set([17], 2)), says: /hlen/ },
    { name: 'plain BOOTP', data: discover((data) => data.set([0, 0, 0, 0], 236)), says: /magic/ },
    { name: 'a value over the end', data: captures.INTEL_PXE_DISCOVER.subarray(0, 250), says: /option 55 runs over/ },
    { name: 'a code without a length', data: discover(() => undefined).subarray(0, 244), says: /option 55 runs over/ },
    { name: 'a two-byte message type', data: discover((data) => data.set([53, 2, 1, 1, 255], 240)), says: /option 53 has 2/ },
    { name: 'a doubled message type', data: discover((data) => data.set([53, 1, 1, 53, 1, 1, 255], 240)), says: /option 53 has 2/ },
    { name: 'a five-byte address', data: discover((data) => data.set([50, 5, 1, 2, 3, 4, 5, 255], 240)), says: /option 50/ },
    { name: 'an odd architecture list', data: discover((data) => data.set([93, 3, 0, 7, 0, 255], 240)), says: /option 93/ },
    { name: 'an overload of 4', data: discover((data) => data.set([52, 1, 4, 255], 240)), says: /option 52/ },
  ];
  it.each(cases)('$name', ({ data, says }) => {
    expect(() => decodeDhcp(data)).toThrow(DhcpCodecError);
    expect(() => decodeDhcp(data)).toThrow(says);
  });

  it('tolerates a missing END', () => {
    const data = captures.EDK2_X64_DISCOVER;
    expect(decodeDhcp(data.subarray(0, data.length - 1)).options).toEqual(decodeDhcp(data).options);
  });

  it('writes no option that has another meaning, no foreign address and no text beyond its field', () => {
    for (const code of [0, 52, 255, 256, 1.5]) expect(() => encodeDhcp(withOptions([[code, Uint8Array.of(1)]]))).toThrow(DhcpCodecError);
    for (const bad of [{ yiaddr: '1.2.3' }, { yiaddr: '01.2.3.4' }, { file: 'x'.repeat(128) }, { sname: 'a\0b' }, { file: '名' }])
      expect(() => encodeDhcp({ ...withOptions([]), ...bad })).toThrow(DhcpCodecError);
  });

  it('never throws anything but its own error, whatever arrives', () => {
    const valid = Object.values(CAPTURES);
    const mutated = fc
      .tuple(fc.constantFrom(...valid), fc.array(fc.tuple(fc.nat(700), fc.integer({ min: 0, max: 255 })), { maxLength: 12 }), fc.nat(700))
      .map(([data, edits, cut]) => {
        const copy = new Uint8Array(data);
        for (const [at, byte] of edits) if (at < copy.length) copy[at] = byte;
        return copy.subarray(0, Math.max(cut, 236));
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 700 }), mutated), (data) => {
        try {
          const message = decodeDhcp(data);
          // the readers of single options must bear whatever was let through
          clientGuid(message);
          clientKind(message);
          relayAgentOptions(message);
          addressOption(message, OPTION.requestedAddress);
          textOption(message, OPTION.vendorClass);
        } catch (error) {
          expect(error).toBeInstanceOf(DhcpCodecError);
        }
        try {
          decodeSubOptions(data, { padding: true });
        } catch (error) {
          expect(error).toBeInstanceOf(DhcpCodecError);
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe('sub-options', () => {
  it.each([true, false])('survive a round trip (with END: %s)', (end) => {
    const map = fc
      .array(fc.tuple(fc.integer({ min: 1, max: 254 }), fc.uint8Array({ maxLength: 40 })), { maxLength: 6 })
      .map((rows) => new Map(rows));
    fc.assert(
      fc.property(map, (options) => {
        expect(decodeSubOptions(encodeSubOptions(options, { end }), { padding: end })).toEqual(options);
      }),
    );
  });
});

function withOptions(options: [number, Uint8Array][]): DhcpMessage {
  const none = '0.0.0.0';
  return {
    op: 'request',
    hardwareType: 1,
    hardwareAddress: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56),
    hops: 0,
    xid: 1,
    secs: 0,
    broadcast: false,
    ciaddr: none,
    yiaddr: none,
    siaddr: none,
    giaddr: none,
    sname: '',
    file: '',
    options: new Map(options),
  };
}

function anyMessage(): fc.Arbitrary<DhcpMessage> {
  const address = fc.ipV4();
  const text = (maxLength: number): fc.Arbitrary<string> =>
    fc.oneof(fc.constant(''), fc.string({ maxLength, unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)) }));
  const fixed: Record<number, number> = { 1: 4, 50: 4, 51: 4, 53: 1, 54: 4, 57: 2, 58: 4, 59: 4, 3: 8, 6: 4, 93: 2 };
  const option = fc
    .integer({ min: 1, max: 254 })
    .filter((code) => code !== 52)
    .chain((code) => {
      const length = fixed[code];
      return fc.tuple(
        fc.constant(code),
        fc.uint8Array(length === undefined ? { maxLength: 320, size: 'max' } : { minLength: length, maxLength: length }),
      );
    });
  return fc.record({
    op: fc.constantFrom('request', 'reply'),
    hardwareType: fc.nat(255),
    hardwareAddress: fc.uint8Array({ maxLength: 16 }),
    hops: fc.nat(255),
    xid: fc.nat(0xffffffff),
    secs: fc.nat(0xffff),
    broadcast: fc.boolean(),
    ciaddr: address,
    yiaddr: address,
    siaddr: address,
    giaddr: address,
    sname: text(63),
    file: text(127),
    options: fc.array(option, { maxLength: 6 }).map((rows) => new Map(rows)),
  });
}
