/**
 * The login phase of an initiator (RFC 7143 section 6), pure: `start` gives the first request, `receive` what to do about each
 * response. Security (None, or CHAP one-way or mutual) → operational parameters → full feature phase.
 */
import type { CodedError } from 'cdk8s-baremetal-contract';
import type { Random } from 'cdk8s-baremetal-runtime/core/index';
import {
  algorithmNumber,
  CHALLENGE_BYTES,
  type ChapAlgorithm,
  type ChapCredentials,
  chooseAlgorithm,
  LONGEST_CHALLENGE_BYTES,
} from './chap.ts';
import { iscsiErrors, loginStatusError } from './errors.ts';
import { NegotiationError, Negotiator, type OperationalParameters, type Preferences } from './negotiation.ts';
import { type PduOf, serialAdd } from './pdu.ts';
import { decodeKeys, encodeText, formatBinary, parseBinary, parseNumber, TextGatherer, type TextKeys } from './text.ts';

export const STAGE_SECURITY = 0;
export const STAGE_OPERATIONAL = 1;
export const STAGE_FULL_FEATURE = 3;

export interface LoginOptions {
  /** For messages only. */
  readonly portal: string;
  readonly initiatorName: string;
  /** Absent: a discovery session. */
  readonly targetName?: string;
  /** Six bytes. The same name and ISID make the target drop an older session (section 6.3.5). */
  readonly isid: Uint8Array;
  readonly chap?: ChapCredentials;
  readonly preferences: Preferences;
  readonly random: Random;
  readonly initialCmdSn: number;
}

export interface LoginResult {
  readonly parameters: OperationalParameters;
  readonly tsih: number;
  readonly portalGroupTag: number | undefined;
  readonly expStatSn: number;
  readonly expCmdSn: number;
  readonly maxCmdSn: number;
}

export type LoginStep =
  | { readonly next: 'send'; readonly request: PduOf<'login-request'> }
  | { readonly next: 'done'; readonly result: LoginResult }
  /** The target lives elsewhere; `address` as it was written, e.g. "192.0.2.7:3260,1". */
  | { readonly next: 'redirect'; readonly address: string; readonly permanent: boolean };

/** A login takes 3 to 5 rounds; more than this is a peer that plays for time. */
const MOST_ROUNDS = 32;

export class InitiatorLogin {
  private stage: number = STAGE_SECURITY;
  private askedTransit = false;
  private rounds = 0;
  private expStatSn = 0;
  private portalGroupTag: number | undefined;
  private readonly text = new TextGatherer();
  private readonly negotiator: Negotiator;
  /** What the target has to answer, once we have challenged it. */
  private challenge: { algorithm: ChapAlgorithm; identifier: number; bytes: Uint8Array } | undefined;
  private answered = false;
  private targetProven = false;

  constructor(private readonly options: LoginOptions) {
    const { chap } = options;
    if (chap?.target?.secret.equals(chap.secret)) throw iscsiErrors.ISCSI_CHAP_SAME_SECRET({});
    this.negotiator = new Negotiator(options.preferences, options.targetName === undefined);
  }

  start(): PduOf<'login-request'> {
    const { initiatorName, targetName, chap } = this.options;
    const keys: [string, string][] = [
      ['InitiatorName', initiatorName],
      ['SessionType', targetName === undefined ? 'Discovery' : 'Normal'],
    ];
    if (targetName !== undefined) keys.push(['TargetName', targetName]);
    // only what will be accepted is offered: a target can then not talk us out of CHAP
    keys.push(['AuthMethod', chap ? 'CHAP' : 'None']);
    return this.request(keys, !chap);
  }

  /** Throws a CodedError, or PduError for text that cannot be read. */
  receive(response: PduOf<'login-response'>): LoginStep {
    if (response.status >>> 8 === 1) {
      const keys = decodeKeys(response.data);
      return { next: 'redirect', address: keys.get('TargetAddress') ?? '', permanent: response.status === 0x0102 };
    }
    if (response.status !== 0) throw loginStatusError(response.status, this.where());
    if (++this.rounds > MOST_ROUNDS) throw this.broken(`the login is not over after ${MOST_ROUNDS} rounds`);
    if (response.versionActive !== 0) throw this.broken(`it chose version ${response.versionActive}`);
    if (response.currentStage !== this.stage) throw this.broken(`it answered for stage ${response.currentStage} in stage ${this.stage}`);
    this.expStatSn = serialAdd(response.statSn, 1);
    this.text.add(response.data);
    if (response.more) return { next: 'send', request: this.request([], false) };
    const keys = decodeKeys(this.text.take());
    const tag = keys.get('TargetPortalGroupTag');
    if (tag !== undefined) this.portalGroupTag = parseNumber(tag);

    const replies = this.stage === STAGE_SECURITY ? this.security(keys) : this.operational(keys);
    if (!response.transit) return { next: 'send', request: this.request(replies.keys, replies.ready) };
    if (!this.askedTransit) throw this.broken('it left a stage that we had not finished');
    return this.transit(response);
  }

  private transit(response: PduOf<'login-response'>): LoginStep {
    const { chap } = this.options;
    if (this.stage === STAGE_SECURITY && chap) {
      if (!this.answered) throw iscsiErrors.ISCSI_CHAP_REFUSED({ ...this.where(), reason: 'the target sent no challenge' });
      if (chap.target && !this.targetProven) throw iscsiErrors.ISCSI_CHAP_TARGET_UNPROVEN(this.where());
    }
    if (this.stage === STAGE_SECURITY && response.nextStage === STAGE_OPERATIONAL) {
      this.stage = STAGE_OPERATIONAL;
      return { next: 'send', request: this.request(this.negotiator.offer(), true) };
    }
    if (this.stage !== STAGE_OPERATIONAL || response.nextStage !== STAGE_FULL_FEATURE)
      throw this.broken(`it went from stage ${this.stage} to stage ${response.nextStage}`);
    const { expCmdSn, maxCmdSn, tsih } = response;
    const parameters = this.negotiator.result();
    return {
      next: 'done',
      result: { parameters, tsih, portalGroupTag: this.portalGroupTag, expStatSn: this.expStatSn, expCmdSn, maxCmdSn },
    };
  }

  private security(keys: TextKeys): { keys: Iterable<readonly [string, string]>; ready: boolean } {
    const { chap } = this.options;
    const wanted = chap ? 'CHAP' : 'None';
    const method = keys.get('AuthMethod');
    if (method !== undefined && method !== wanted)
      throw iscsiErrors.ISCSI_CHAP_REFUSED({ ...this.where(), reason: `the target answered AuthMethod=${method} to our ${wanted}` });
    if (!chap) return { keys: [], ready: true };
    if (keys.has('CHAP_C')) return { keys: this.answer(keys, chap), ready: true };
    if (keys.has('CHAP_R')) this.verify(keys, chap);
    else if (!this.answered) return { keys: [['CHAP_A', (chap.algorithms ?? ['md5']).map(algorithmNumber).join(',')]], ready: false };
    return { keys: [], ready: true };
  }

  /** Answers the target's challenge, and challenges it in turn for mutual CHAP. */
  private answer(keys: TextKeys, chap: ChapCredentials): [string, string][] {
    const refused = (reason: string): CodedError => iscsiErrors.ISCSI_CHAP_REFUSED({ ...this.where(), reason });
    if (this.answered) throw refused('the target sent a second challenge');
    const algorithm = chooseAlgorithm(keys.get('CHAP_A') ?? '', chap.algorithms ?? ['md5']);
    if (!algorithm) throw refused('the target chose no algorithm of ours');
    const identifier = parseNumber(keys.get('CHAP_I') ?? '');
    const challenge = parseBinary(keys.get('CHAP_C') ?? '', LONGEST_CHALLENGE_BYTES);
    if (identifier === undefined || identifier > 255 || !challenge) throw refused('the challenge of the target cannot be read');
    this.answered = true;
    const reply: [string, string][] = [
      ['CHAP_N', chap.user],
      ['CHAP_R', formatBinary(chap.secret.answer(algorithm, identifier, challenge))],
    ];
    if (chap.target) {
      const { random } = this.options;
      const ownIdentifier = random.bytes(1)[0] ?? 0;
      const bytes = random.bytes(CHALLENGE_BYTES);
      // ours repeating theirs would let them reflect our own answer (section 9.2.1)
      if (Buffer.compare(bytes, challenge) === 0) throw refused('the target sent our own challenge');
      this.challenge = { algorithm, identifier: ownIdentifier, bytes };
      reply.push(['CHAP_I', String(ownIdentifier)], ['CHAP_C', formatBinary(bytes)]);
    }
    return reply;
  }

  private verify(keys: TextKeys, chap: ChapCredentials): void {
    if (!chap.target || !this.challenge) return;
    const { algorithm, identifier, bytes } = this.challenge;
    const answer = parseBinary(keys.get('CHAP_R') ?? '', LONGEST_CHALLENGE_BYTES);
    const nameFits = chap.target.user === undefined || keys.get('CHAP_N') === chap.target.user;
    if (!answer || !nameFits || !chap.target.secret.proves(answer, algorithm, identifier, bytes))
      throw iscsiErrors.ISCSI_CHAP_TARGET_UNPROVEN(this.where());
    this.targetProven = true;
  }

  private operational(keys: TextKeys): { keys: Iterable<readonly [string, string]>; ready: boolean } {
    try {
      return { keys: this.negotiator.receive(keys), ready: true };
    } catch (error) {
      if (!(error instanceof NegotiationError)) throw error;
      const { key, ours, theirs } = error;
      throw iscsiErrors.ISCSI_NEGOTIATION({ portal: this.options.portal, key, ours, theirs: theirs.slice(0, 64) });
    }
  }

  private request(keys: Iterable<readonly [string, string]>, transit: boolean): PduOf<'login-request'> {
    this.askedTransit = transit;
    return {
      kind: 'login-request',
      immediate: true,
      transit,
      more: false,
      currentStage: this.stage,
      nextStage: transit ? (this.stage === STAGE_SECURITY ? STAGE_OPERATIONAL : STAGE_FULL_FEATURE) : 0,
      versionMax: 0,
      versionMin: 0,
      isid: this.options.isid,
      tsih: 0,
      itt: 0,
      cid: 0,
      cmdSn: this.options.initialCmdSn,
      expStatSn: this.expStatSn,
      data: encodeText(keys),
    };
  }

  private where(): { portal: string; target: string } {
    return { portal: this.options.portal, target: this.options.targetName ?? 'discovery' };
  }

  private broken(reason: string): CodedError {
    return iscsiErrors.ISCSI_PROTOCOL({ portal: this.options.portal, reason });
  }
}
