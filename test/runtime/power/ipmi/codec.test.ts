import {
  ByteReader,
  checksum,
  cipherSuite,
  completionName,
  decodeAsf,
  decodeOpenSessionRequest,
  decodeOpenSessionResponse,
  decodePacket,
  decodeRakp1,
  decodeRakp2,
  decodeRakp3,
  decodeRakp4,
  decodeRequest,
  decodeResponse,
  decodeRmcp,
  encodeAsf,
  encodeBootFlags,
  encodeOpenSessionRequest,
  encodeOpenSessionResponse,
  encodeRakp1,
  encodeRakp2,
  encodeRakp3,
  encodeRakp4,
  encodeRequest,
  encodeResponse,
  encodeSealed,
  encodeSessionless,
  encodeUnsealed,
  getChannelAuthCapabilities,
  getChannelCipherSuites,
  getChassisStatus,
  getDeviceId,
  MalformedPacket,
  nextSequence,
  openSealed,
  PayloadType,
  type RakpExchange,
  type RmcpPlusPacket,
  rakp2AuthCode,
  rakp3AuthCode,
  rakp4IntegrityCheck,
  SequenceWindow,
  sessionIntegrityKey,
  sessionKeys,
  setSessionPrivilege,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FUZZ_RUNS, seededRandom } from '../support.ts';
import { onlyMalformed, PACKET_DECODERS } from './decoders.ts';
import { AUTH_CAPABILITIES, SESSIONS, SHORT_OPEN_SESSION_ERROR } from './fixtures.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');

function plus(datagramHex: string): RmcpPlusPacket {
  const packet = decodePacket(bytes(datagramHex));
  if (packet.kind !== 'plus') throw new Error('not an RMCP+ packet');
  return packet;
}

describe('recorded packets, both directions', () => {
  it('002-2: Get Channel Authentication Capabilities', () => {
    const command = getChannelAuthCapabilities(4);
    const request = encodeRequest({ netFn: command.netFn, command: command.command, sequence: 0, data: command.data });
    expect(hex(encodeSessionless(request))).toBe(AUTH_CAPABILITIES.request);

    const packet = decodePacket(bytes(AUTH_CAPABILITIES.response));
    if (packet.kind !== 'v15') throw new Error('not a 1.5 packet');
    const response = decodeResponse(packet.payload);
    expect(response).toMatchObject({ netFn: 6, command: 0x38, completionCode: 0, sequence: 0 });
    expect(command.parse(Buffer.from(response.data))).toEqual({ channel: 1, ipmi20: true, twoKey: false, nonNullUsernames: true });
    expect(hex(encodeSessionless(encodeResponse(response)))).toBe(AUTH_CAPABILITIES.response);
  });

  it.each(SESSIONS)('002-2: log-in with suite $suite', (session) => {
    const suite = cipherSuite(session.suite);
    if (!suite) throw new Error('unknown suite');
    const openRequest = decodeOpenSessionRequest(plus(session.openRequest).payload);
    expect(openRequest).toMatchObject({ authentication: suite.authentication, integrity: suite.integrity, confidentiality: 1 });
    expect(hex(encodeUnsealed(PayloadType.openSessionRequest, encodeOpenSessionRequest(openRequest)))).toBe(session.openRequest);
    const openResponse = decodeOpenSessionResponse(plus(session.openResponse).payload);
    expect(hex(encodeUnsealed(PayloadType.openSessionResponse, encodeOpenSessionResponse(openResponse)))).toBe(session.openResponse);

    const rakp1 = decodeRakp1(plus(session.rakp1).payload);
    expect(hex(encodeUnsealed(PayloadType.rakp1, encodeRakp1(rakp1)))).toBe(session.rakp1);
    const rakp2 = decodeRakp2(plus(session.rakp2).payload);
    expect(hex(encodeUnsealed(PayloadType.rakp2, encodeRakp2(rakp2)))).toBe(session.rakp2);
    const rakp3 = decodeRakp3(plus(session.rakp3).payload);
    expect(hex(encodeUnsealed(PayloadType.rakp3, encodeRakp3(rakp3)))).toBe(session.rakp3);
    const rakp4 = decodeRakp4(plus(session.rakp4).payload);
    expect(hex(encodeUnsealed(PayloadType.rakp4, encodeRakp4(rakp4)))).toBe(session.rakp4);

    if (openResponse.bmcSessionId === undefined || rakp2.bmcRandom === undefined) throw new Error('refused');
    const exchange: RakpExchange = {
      suite,
      consoleSessionId: openRequest.consoleSessionId,
      bmcSessionId: openResponse.bmcSessionId,
      consoleRandom: rakp1.consoleRandom,
      bmcRandom: rakp2.bmcRandom,
      bmcGuid: rakp2.bmcGuid,
      role: rakp1.role,
      username: Buffer.from(session.username),
      password: Buffer.from(session.password),
    };
    expect(hex(rakp2AuthCode(exchange))).toBe(session.rakp2Code);
    expect(hex(rakp2.authCode)).toBe(session.rakp2Code);
    expect(hex(rakp3AuthCode(exchange))).toBe(session.rakp3Code);
    expect(hex(rakp3.authCode)).toBe(session.rakp3Code);
    const sik = sessionIntegrityKey(exchange);
    expect(hex(sik)).toBe(session.sik);
    expect(session.rakp4Code.startsWith(hex(rakp4IntegrityCheck(exchange, sik)))).toBe(true);
    expect(hex(rakp4.integrityCheck)).toBe(hex(rakp4IntegrityCheck(exchange, sik)));
    const keys = sessionKeys(suite, sik);
    expect(hex(keys.k1)).toBe(session.k1);
    expect(hex(keys.aesKey)).toBe(session.k2.slice(0, 32));

    const sealedRequest = plus(session.sealedRequest);
    const request = openSealed(sealedRequest, keys);
    const { sequence, ...command } = decodeRequest(request);
    expect(command).toMatchObject({ netFn: 6, command: 0x3b, data: Buffer.from(setSessionPrivilege(4).data) });
    expect(sealedRequest.sessionId).toBe(openResponse.bmcSessionId);
    const response = decodeResponse(openSealed(plus(session.sealedResponse), keys));
    expect(response).toMatchObject({ netFn: 6, command: 0x3b, completionCode: 0, sequence });

    // sealing again with the recorded initialisation vector gives the recorded packet
    const iv = { bytes: () => Uint8Array.from(sealedRequest.payload.subarray(0, 16)) };
    const again = { payloadType: 0, sessionId: sealedRequest.sessionId, sequence: sealedRequest.sequence, payload: request };
    expect(hex(encodeSealed(again, keys, iv))).toBe(session.sealedRequest);
  });

  it('reads an error answer that is cut down to tag and status', () => {
    expect(decodeOpenSessionResponse(plus(SHORT_OPEN_SESSION_ERROR).payload)).toEqual({ tag: 0x11, status: 4, consoleSessionId: 0 });
  });

  it('ASF presence ping and pong (DSP0136 section 3.2.4)', () => {
    expect(hex(encodeAsf({ type: 'ping', tag: 9 }))).toBe('0600ff06000011be80090000');
    const pong = '0600ff06000011be40090010000011be0000000081000000000000' + '00';
    expect(hex(encodeAsf({ type: 'pong', tag: 9, ipmiSupported: true }))).toBe(pong);
    expect(decodeAsf(decodeRmcp(bytes(pong)).message)).toEqual({ type: 'pong', tag: 9, ipmiSupported: true });
  });

  it('Get Device ID and Get Chassis Status answers', () => {
    expect(getDeviceId.parse(bytes('2001028802bf22020009000000'.slice(0, 22)))).toMatchObject({
      deviceId: 0x20,
      firmware: '2.88',
      ipmiVersion: '2.0',
      manufacturer: 0x000222,
      product: 9,
    });
    expect(getChassisStatus.parse(bytes('2b0000'))).toMatchObject({
      powerOn: true,
      overload: true,
      powerFault: true,
      restorePolicy: 'previous',
    });
    expect(getChassisStatus.parse(bytes('011009'))).toMatchObject({
      lastPowerEvent: ['switched on by IPMI'],
      intrusion: true,
      fanFault: true,
    });
    expect(getChassisStatus.parse(bytes('60'))).toMatchObject({
      powerOn: false,
      overload: false,
      powerFault: false,
      restorePolicy: 'unknown',
    });
    expect(getChannelCipherSuites(1).data).toEqual(Uint8Array.of(0x0e, 0, 0x81));
  });

  it('boot flags: persistent PXE as ipmitool shows it (c004000000), one-time UEFI disk', () => {
    expect(hex(encodeBootFlags({ valid: true, persistent: true, efi: false, selector: 1 }))).toBe('c004000000');
    expect(hex(encodeBootFlags({ valid: true, persistent: false, efi: true, selector: 2 }))).toBe('a008000000');
  });

  it('names completion codes, also those that depend on the command', () => {
    expect(completionName(0xc0, 0, 2)).toBe('C0h (node busy)');
    expect(completionName(0x81, 6, 0x3b)).toContain('exceeds');
    expect(completionName(0x81, 0, 8)).toContain('another party');
    expect(completionName(0x81, 0, 2)).toContain('command-specific');
    expect(completionName(0x10, 0, 2)).toContain('OEM');
  });
});

describe('tampering is noticed', () => {
  const session = SESSIONS[0];
  const suite = cipherSuite(3);
  if (!suite) throw new Error('unknown suite');
  const keys = { suite, k1: bytes(session.k1), aesKey: bytes(session.k2).subarray(0, 16) };

  it('any flipped bit of a sealed packet is refused', () => {
    const good = bytes(session.sealedResponse);
    expect(() => openSealed(plus(session.sealedResponse), keys)).not.toThrow();
    for (let bit = 4 * 8; bit < good.length * 8; bit++) {
      const bad = Buffer.from(good);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const open = (): void => {
        const packet = decodePacket(bad);
        if (packet.kind !== 'plus') throw new MalformedPacket('taken for another kind of packet');
        openSealed(packet, keys);
      };
      expect(open, `bit ${bit}`).toThrow(MalformedPacket);
    }
  });

  it('an unprotected packet that names a session is refused', () => {
    const forged = Buffer.from(
      encodeUnsealed(PayloadType.ipmi, encodeResponse({ netFn: 0, command: 1, sequence: 1, completionCode: 0, data: bytes('01') })),
    );
    bytes('a4a3a2a0').copy(forged, 6);
    expect(() => openSealed(plus(hex(forged)), keys)).toThrow('unprotected');
  });
});

describe('sequence window', () => {
  it.each([
    { name: 'in order', feed: [1, 2, 3], accepted: [true, true, true] },
    { name: 'a replay', feed: [1, 2, 1, 2], accepted: [true, true, false, false] },
    { name: 'reordered within the window', feed: [5, 3, 4, 3], accepted: [true, true, true, false] },
    { name: 'too old', feed: [100, 68, 69], accepted: [true, false, true] },
    { name: 'a burst lost', feed: [1, 5000, 4999, 1], accepted: [true, true, true, false] },
    { name: 'zero is outside a session', feed: [0, 1], accepted: [false, true] },
  ])('$name', ({ feed, accepted }) => {
    const window = new SequenceWindow();
    expect(feed.map((sequence) => window.accept(sequence))).toEqual(accepted);
  });

  it('wraps at 32 bits', () => {
    const window = new SequenceWindow(0xffff_fffe);
    expect([0xffff_ffff, 1, 0xffff_ffff, 2].map((sequence) => window.accept(sequence))).toEqual([true, true, false, true]);
    expect(nextSequence(0xffff_ffff)).toBe(1);
  });

  it('property: no number is accepted twice', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 300 }), (feed) => {
        const window = new SequenceWindow();
        const accepted = feed.filter((sequence) => window.accept(sequence));
        expect(new Set(accepted).size).toBe(accepted.length);
      }),
    );
  });
});

describe('fuzz: decoders throw MalformedPacket or nothing', () => {
  const recorded = SESSIONS.flatMap((s) => [s.openResponse, s.rakp2, s.rakp4, s.sealedResponse]).map(bytes);
  it.each(Object.entries(PACKET_DECODERS))('%s, garbage', (_, decode) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (data) => onlyMalformed(() => decode(data))),
      { numRuns: FUZZ_RUNS },
    );
  });

  it('recorded packets, mutated and cut', () => {
    const keysOf = SESSIONS.map((s) => {
      const suite = cipherSuite(s.suite);
      if (!suite) throw new Error('unknown suite');
      return { suite, k1: bytes(s.k1), aesKey: bytes(s.k2).subarray(0, 16) };
    });
    const edits = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.constantFrom(...recorded), edits, fc.nat(200), (packet, changes, keep) => {
        const bad = Buffer.from(packet).subarray(0, Math.max(keep, 8));
        for (const [at, value] of changes) bad[at % bad.length] = value;
        onlyMalformed(() => {
          const decoded = decodePacket(bad);
          if (decoded.kind === 'plus') for (const keys of keysOf) openSealed(decoded, keys);
        });
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe('properties', () => {
  const u8 = fc.nat(255);
  const u32 = fc.nat(0xffff_ffff);

  it('requests and responses survive the wire, and their checksums add up to zero', () => {
    fc.assert(
      fc.property(fc.nat(31), fc.nat(63), u8, u8, fc.uint8Array({ maxLength: 60 }), (half, sequence, command, completionCode, data) => {
        const netFn = half * 2;
        const request = { netFn, lun: 0, sequence, command, data: Buffer.from(data) };
        const encoded = encodeRequest(request);
        expect(decodeRequest(encoded)).toEqual(request);
        expect(checksum(encoded.subarray(0, 3))).toBe(0);
        expect(checksum(encoded.subarray(3))).toBe(0);
        expect(decodeResponse(encodeResponse({ ...request, completionCode }))).toEqual({ ...request, completionCode });
      }),
    );
  });

  it.each([3, 17])('sealed packets of suite %i open to what was sealed; other keys do not open them', (id) => {
    const suite = cipherSuite(id);
    if (!suite) throw new Error('unknown suite');
    const keys = sessionKeys(suite, Buffer.alloc(20, 7));
    const others = sessionKeys(suite, Buffer.alloc(20, 8));
    fc.assert(
      fc.property(u32, u32, fc.uint8Array({ maxLength: 100 }), (sessionId, sequence, payload) => {
        const datagram = encodeSealed({ payloadType: 0, sessionId, sequence, payload }, keys, seededRandom(sequence));
        const packet = plus(hex(datagram));
        expect(packet).toMatchObject({ sessionId, sequence, encrypted: true, authenticated: true });
        expect(hex(openSealed(packet, keys))).toBe(hex(payload));
        expect(() => openSealed(packet, others)).toThrow(MalformedPacket);
        expect((datagram.length - 4 - suite.checkBytes) % 4).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('a reader never reads beyond the end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 10 }), fc.nat(20), (data, count) => {
        const read = (): Buffer => new ByteReader(data, 'it').bytes(count);
        if (count <= data.length) expect(read().length).toBe(count);
        else expect(read).toThrow(MalformedPacket);
      }),
    );
  });
});
