import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { Secret } from 'cdk8s-baremetal-runtime/power/index';
import {
  checkAccess,
  cipherSuite,
  decodeOpenSessionRequest,
  decodePacket,
  encodeOpenSessionResponse,
  encodeRakp2,
  encodeUnsealed,
  type OpenSessionResponse,
  type PacketHandler,
  PayloadType,
  RakpStatus,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { openSession } from 'cdk8s-baremetal-runtime/power/ipmi/session';
import { expect, it } from 'vitest';
import { VirtualClock } from '../support.ts';

const CONSOLE = 0x1234;

it('002-2: a late copy of an answer is not taken for the answer to the next question, whatever the random numbers', async () => {
  const clock = new VirtualClock();
  let hear: PacketHandler | undefined;
  let refusal: Buffer | undefined;
  /** Knows suite 3 and nobody. Its refusal of suite 17 comes twice, the second time after suite 3 was asked for. */
  const answersTo = (datagram: Uint8Array): readonly Buffer[] => {
    const packet = decodePacket(datagram);
    if (packet.kind !== 'plus') return [];
    if (packet.payloadType === PayloadType.rakp1) {
      const refused = { tag: packet.payload.readUInt8(0), status: RakpStatus.unauthorizedName, consoleSessionId: CONSOLE };
      return [encodeUnsealed(PayloadType.rakp2, encodeRakp2(refused))];
    }
    const { tag, authentication, integrity, confidentiality } = decodeOpenSessionRequest(packet.payload);
    const opened = (response: OpenSessionResponse): Buffer =>
      encodeUnsealed(PayloadType.openSessionResponse, encodeOpenSessionResponse(response));
    refusal ??= opened({ tag, status: RakpStatus.noCipherSuiteMatch, consoleSessionId: CONSOLE });
    if (authentication !== cipherSuite(3)?.authentication) return [refusal];
    const chosen = { authentication, integrity, confidentiality };
    return [refusal, opened({ tag, status: 0, maxPrivilege: 4, consoleSessionId: CONSOLE, bmcSessionId: 7, ...chosen })];
  };
  const channel = {
    consoleSessionId: CONSOLE,
    send: (datagram: Uint8Array) => {
      clock.after(1, () => {
        for (const answer of answersTo(datagram)) hear?.(decodePacket(answer));
      });
    },
    listen: (handler: PacketHandler | undefined) => {
      hear = handler;
    },
    close: () => undefined,
  };
  const access = checkAccess({ address: '10.0.0.20', username: 'admin', password: new Secret('x') });
  const random = { bytes: (length: number) => new Uint8Array(length).fill(7) };
  const knownSuite = cipherSuite(17);
  const opening = openSession({ clock, random, logger: silentLogger, channel, access, schedule: () => [100, 200], knownSuite });
  await expect(clock.until(opening)).rejects.toMatchObject({ code: 'IPMI_WRONG_USER' });
});
