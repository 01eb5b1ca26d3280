/**
 * Logging in: from nothing to the keys of a session.
 *
 *   console                                          BMC
 *      │ ── Get Channel Authentication Capabilities ──▶ │  does it speak 2.0?              (the first time only)
 *      │ ── Get Channel Cipher Suites ────────────────▶ │  which suites?                   (unless one is named, the first time only)
 *      │ ── Open Session Request (the best suite) ────▶ │  ◀── its session ID
 *      │ ── RAKP 1 (random, user) ─────────────────────▶ │  ◀── RAKP 2: the BMC proves that it knows the password
 *      │ ── RAKP 3 (the proof of the console) ─────────▶ │  ◀── RAKP 4: both hold the same keys
 *
 * The BMC proves itself first. So a wrong password is noticed here, at RAKP 2, before the BMC has seen a wrong proof that it would
 * count towards locking the account; RAKP 3 then only tells it to forget the session.
 */
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Random } from '../../core/random.ts';
import { codeOf, powerErrors } from '../errors.ts';
import type { CheckedAccess } from './access.ts';
import type { BmcChannel } from './bmc-socket.ts';
import { MalformedPacket } from './bytes.ts';
import { type CipherSuite, cipherSuiteIds, sameCode } from './cipher-suite.ts';
import { getChannelAuthCapabilities, getChannelCipherSuites, type IpmiCommand } from './commands.ts';
import { completionName } from './completion-code.ts';
import { Exchange } from './exchange.ts';
import { decodeResponse, encodeRequest, type IpmiResponse } from './message.ts';
import type { Packet } from './packet.ts';
import {
  decodeOpenSessionResponse,
  decodeRakp2,
  decodeRakp4,
  encodeOpenSessionRequest,
  encodeRakp1,
  encodeRakp3,
  NAME_ONLY_LOOKUP,
  type OpenSessionResponse,
  RAKP_RANDOM_BYTES,
  type Rakp2,
  type Rakp4,
  type RakpExchange,
  RakpStatus,
  rakp2AuthCode,
  rakp3AuthCode,
  rakp4IntegrityCheck,
  rakpStatusName,
  sessionIntegrityKey,
  sessionKeys,
} from './rakp.ts';
import { jittered, type RetransmissionSchedule } from './retransmission.ts';
import { encodeUnsealed, PayloadType, type SessionKeys } from './rmcp-plus.ts';
import { encodeSessionless } from './session-v15.ts';

export interface HandshakeContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly channel: BmcChannel;
  readonly access: CheckedAccess;
  readonly schedule: RetransmissionSchedule;
  /** A log-in with this suite went through before: it is tried first, and what it implies is not asked again. */
  readonly knownSuite?: CipherSuite | undefined;
}

export interface Established {
  readonly keys: SessionKeys;
  readonly bmcSessionId: number;
}

/** The BMC lost track of a session in the making; nothing says that the credentials are wrong. */
class Desynchronised extends Error {
  constructor(
    readonly step: string,
    readonly status: number,
  ) {
    super(`${step}: ${rakpStatusName(status)}`);
  }
}

export async function handshake(context: HandshakeContext, signal?: AbortSignal): Promise<Established> {
  const { access, logger, knownSuite } = context;
  if (!knownSuite) await checkVersion(context, signal);
  const suites = await inOrder(context, signal);
  const tags = new Tags(context);
  try {
    return await logIn(context, suites, tags, signal);
  } catch (error) {
    if (!(error instanceof Desynchronised)) throw error;
    logger.debug({ bmc: access.bmc, reason: error.message }, 'logging in once more');
  }
  // Once only: a refusal at RAKP 4 may have been counted as a bad password.
  try {
    return await logIn(context, suites, tags, signal);
  } catch (error) {
    if (!(error instanceof Desynchronised)) throw error;
    if (error.status === RakpStatus.invalidIntegrityCheck)
      throw powerErrors.IPMI_WRONG_PASSWORD({ bmc: access.bmc, user: access.username }, { cause: error });
    throw powerErrors.IPMI_SESSION_REFUSED({ bmc: access.bmc, step: error.step, status: rakpStatusName(error.status) }, { cause: error });
  }
}

/**
 * The suites to try, best first. A BMC that lists its suites is asked for one of them at once: some firmware leaves a suite that it does not know unanswered. The
 * list is not protected and may be wrong, so it changes the order and rules nothing out.
 */
async function inOrder(context: HandshakeContext, signal: AbortSignal | undefined): Promise<readonly CipherSuite[]> {
  const { access, knownSuite } = context;
  if (access.suites.length === 1) return access.suites;
  if (knownSuite) return [...access.suites].sort((a, b) => Number(b.id === knownSuite.id) - Number(a.id === knownSuite.id));
  const listed = await discoverSuites(context, signal);
  return [...access.suites].sort((a, b) => Number(listed.includes(b.id)) - Number(listed.includes(a.id)));
}

/** Tables 22-17 and 22-18, at most 64 pieces of 16 bytes. Empty when the BMC does not say. */
async function discoverSuites(context: HandshakeContext, signal: AbortSignal | undefined): Promise<readonly number[]> {
  const pieces: Uint8Array[] = [];
  try {
    for (let index = 0; index < MOST_LIST_PIECES; index++) {
      const command = getChannelCipherSuites(index);
      const response = await askSessionless({ ...context, schedule: (random) => jittered(DISCOVERY_WAITS_MS, random) }, command, signal);
      if (response.completionCode !== 0) break;
      const piece = command.parse(response.data as Buffer);
      pieces.push(piece);
      if (piece.length < LIST_PIECE_BYTES) break;
    }
  } catch (error) {
    if (!(error instanceof MalformedPacket) && codeOf(error) !== 'IPMI_NO_ANSWER') throw error;
  }
  return cipherSuiteIds(Buffer.concat(pieces));
}

const MOST_LIST_PIECES = 64;
const LIST_PIECE_BYTES = 16;
/** It answered a moment ago; what it does not know it may leave unanswered. */
const DISCOVERY_WAITS_MS = [1000, 1500];

function askSessionless(context: HandshakeContext, command: IpmiCommand<unknown>, signal: AbortSignal | undefined): Promise<IpmiResponse> {
  const sequence = (context.random.bytes(1)[0] ?? 0) & 0x3f;
  const request = encodeSessionless(encodeRequest({ netFn: command.netFn, command: command.command, sequence, data: command.data }));
  return ask(context, signal, command.name, request, (packet) => {
    if (packet.kind !== 'v15' || packet.sessionId !== 0) return undefined;
    const answer = decodeResponse(packet.payload);
    return answer.command === command.command && answer.sequence === sequence ? answer : undefined;
  });
}

async function checkVersion(context: HandshakeContext, signal: AbortSignal | undefined): Promise<void> {
  const { access } = context;
  const command = getChannelAuthCapabilities(access.privilegeLevel);
  const response = await askSessionless(context, command, signal);
  if (response.completionCode !== 0) {
    const completion = completionName(response.completionCode, command.netFn, command.command);
    throw powerErrors.IPMI_COMPLETION({ bmc: access.bmc, command: command.name, completion });
  }
  try {
    if (command.parse(response.data as Buffer).ipmi20) return;
  } catch (error) {
    if (!(error instanceof MalformedPacket)) throw error; // a BMC of before 2004 answers fewer bytes
  }
  throw powerErrors.IPMI_NO_RMCP_PLUS({ bmc: access.bmc });
}

async function logIn(
  context: HandshakeContext,
  suites: readonly CipherSuite[],
  tags: Tags,
  signal: AbortSignal | undefined,
): Promise<Established> {
  const { access, channel, random } = context;
  const { bmc } = access;
  const user = access.username;
  const { suite, bmcSessionId } = await openSession(context, suites, tags, signal);

  const { consoleSessionId } = channel;
  const tag = tags.next();
  const role = NAME_ONLY_LOOKUP | access.privilegeLevel;
  const username = Buffer.from(user);
  const consoleRandom = random.bytes(RAKP_RANDOM_BYTES);
  const rakp1 = encodeRakp1({ tag, bmcSessionId, consoleRandom, role, username });
  const rakp2 = await ask<Rakp2>(context, signal, 'RAKP 1', encodeUnsealed(PayloadType.rakp1, rakp1), (packet) =>
    payloadOf(packet, PayloadType.rakp2, decodeRakp2, tag, consoleSessionId),
  );
  if (rakp2.bmcRandom === undefined) throw refusal(access, 'RAKP 2', rakp2.status);

  const exchange: RakpExchange = {
    suite,
    consoleSessionId,
    bmcSessionId,
    consoleRandom,
    bmcRandom: rakp2.bmcRandom,
    bmcGuid: rakp2.bmcGuid,
    role,
    username,
    password: Buffer.from(access.password.reveal()),
  };
  if (!sameCode(rakp2AuthCode(exchange), rakp2.authCode)) {
    const status = RakpStatus.invalidIntegrityCheck;
    channel.send(encodeUnsealed(PayloadType.rakp3, encodeRakp3({ tag, status, bmcSessionId, authCode: new Uint8Array(0) })));
    throw powerErrors.IPMI_WRONG_PASSWORD({ bmc, user });
  }

  const rakp3 = encodeRakp3({ tag, status: 0, bmcSessionId, authCode: rakp3AuthCode(exchange) });
  const rakp4 = await ask<Rakp4>(context, signal, 'RAKP 3', encodeUnsealed(PayloadType.rakp3, rakp3), (packet) =>
    payloadOf(packet, PayloadType.rakp4, decodeRakp4, tag, consoleSessionId),
  );
  if (rakp4.status !== 0) {
    // The BMC proved at RAKP 2 that its password is ours. If ours does not satisfy it now, it answered a repeated RAKP 1 with another random.
    if (rakp4.status === RakpStatus.invalidIntegrityCheck) throw new Desynchronised('RAKP 4', rakp4.status);
    throw refusal(access, 'RAKP 4', rakp4.status);
  }
  const sik = sessionIntegrityKey(exchange);
  if (!sameCode(rakp4IntegrityCheck(exchange, sik), rakp4.integrityCheck)) throw powerErrors.IPMI_IMPOSTOR({ bmc, user });
  return { keys: sessionKeys(suite, sik), bmcSessionId };
}

/**
 * Tell the answers to different questions apart: none comes twice in a handshake, since what comes late may look like a refusal. The first is unpredictable, since
 * cut-down error answers carry nothing else of ours.
 */
class Tags {
  #next: number;

  constructor({ random }: HandshakeContext) {
    this.#next = random.bytes(1)[0] ?? 0;
  }

  next(): number {
    const tag = this.#next;
    this.#next = (tag + 1) & 0xff;
    return tag;
  }
}

const SUITE_STATUSES: ReadonlySet<number> = new Set([
  RakpStatus.invalidAuthenticationAlgorithm,
  RakpStatus.invalidIntegrityAlgorithm,
  0x06, // no matching authentication payload
  0x07, // no matching integrity payload
  RakpStatus.invalidConfidentialityAlgorithm,
  RakpStatus.noCipherSuiteMatch,
  RakpStatus.illegalParameter, // firmware older than suite 17 does not recognise its numbers
]);

async function openSession(
  context: HandshakeContext,
  suites: readonly CipherSuite[],
  tags: Tags,
  signal: AbortSignal | undefined,
): Promise<{ suite: CipherSuite; bmcSessionId: number }> {
  const { access, channel } = context;
  for (const suite of suites) {
    const { authentication, integrity, confidentiality } = suite;
    const { consoleSessionId } = channel;
    const tag = tags.next();
    const request = encodeOpenSessionRequest({ tag, maxPrivilege: 0, consoleSessionId, authentication, integrity, confidentiality });
    const packet = encodeUnsealed(PayloadType.openSessionRequest, request);
    const answer = await ask<OpenSessionResponse>(context, signal, 'Open Session', packet, (received) =>
      payloadOf(received, PayloadType.openSessionResponse, decodeOpenSessionResponse, tag, consoleSessionId),
    );
    if (answer.bmcSessionId === undefined) {
      if (SUITE_STATUSES.has(answer.status)) continue;
      throw refusal(access, 'Open Session', answer.status);
    }
    // A BMC that chose something weaker than was proposed is not followed.
    const same = answer.authentication === authentication && answer.integrity === integrity && answer.confidentiality === confidentiality;
    if (same) return { suite, bmcSessionId: answer.bmcSessionId };
  }
  throw powerErrors.IPMI_CIPHER_SUITE_UNSUPPORTED({ bmc: access.bmc, suites: access.suites.map((suite) => suite.id) });
}

function refusal(access: CheckedAccess, step: string, status: number): Error {
  const { bmc, username: user, privilege } = access;
  switch (status) {
    case RakpStatus.unauthorizedName:
    case RakpStatus.invalidNameLength:
      return powerErrors.IPMI_WRONG_USER({ bmc, user });
    case RakpStatus.invalidIntegrityCheck:
      return powerErrors.IPMI_WRONG_PASSWORD({ bmc, user });
    case RakpStatus.invalidRole:
    case RakpStatus.unauthorizedRole:
      return powerErrors.IPMI_PRIVILEGE_REFUSED({ bmc, user, privilege, why: rakpStatusName(status) });
    case RakpStatus.invalidSessionId:
    case RakpStatus.inactiveSessionId:
      return new Desynchronised(step, status);
    default:
      return powerErrors.IPMI_SESSION_REFUSED({ bmc, step, status: rakpStatusName(status) });
  }
}

/** The decoded payload when `packet` is the awaited set-up message, else undefined. */
function payloadOf<T extends { readonly tag: number; readonly status: number; readonly consoleSessionId: number }>(
  packet: Packet,
  type: number,
  decode: (payload: Uint8Array) => T,
  tag: number,
  consoleSessionId: number,
): T | undefined {
  if (packet.kind !== 'plus' || packet.payloadType !== type || packet.sessionId !== 0 || packet.encrypted) return undefined;
  const message = decode(packet.payload);
  const forUs = message.consoleSessionId === consoleSessionId || (message.status !== 0 && message.consoleSessionId === 0);
  return message.tag === tag && forUs ? message : undefined;
}

/** Sends until `accept` takes an answer. What cannot be decoded counts as not received. */
async function ask<T>(
  { clock, random, channel, access, schedule }: HandshakeContext,
  signal: AbortSignal | undefined,
  what: string,
  datagram: Uint8Array,
  accept: (packet: Packet) => T | undefined,
): Promise<T> {
  const exchange: Exchange<T> = new Exchange<T>({
    clock,
    waits: schedule(random),
    bmc: access.bmc,
    what,
    signal,
    send: () => channel.send(datagram),
  });
  channel.listen((packet) => {
    try {
      const answer = accept(packet);
      if (answer !== undefined) exchange.settle(answer);
    } catch (error) {
      if (!(error instanceof MalformedPacket)) exchange.fail(error);
    }
  });
  try {
    return await exchange.start();
  } finally {
    channel.listen(undefined);
  }
}
