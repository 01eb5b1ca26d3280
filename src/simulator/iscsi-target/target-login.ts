/** The login phase of the target (RFC 7143 section 6), pure: a request in, the response out, and at the end who has logged in. */
import type { Random } from 'cdk8s-baremetal-runtime/core/index';
import {
  algorithmNumber,
  CHALLENGE_BYTES,
  type ChapAlgorithm,
  type ChapSecret,
  chooseAlgorithm,
  LONGEST_CHALLENGE_BYTES,
} from 'cdk8s-baremetal-runtime/deploy/iscsi/chap';
import { STAGE_FULL_FEATURE, STAGE_OPERATIONAL, STAGE_SECURITY } from 'cdk8s-baremetal-runtime/deploy/iscsi/login';
import {
  NegotiationError,
  Negotiator,
  type OperationalParameters,
  type Preferences,
} from 'cdk8s-baremetal-runtime/deploy/iscsi/negotiation';
import { PduError, type PduOf, serialAdd } from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu';
import {
  decodeKeys,
  encodeText,
  formatBinary,
  parseBinary,
  parseNumber,
  TextGatherer,
  type TextKeys,
} from 'cdk8s-baremetal-runtime/deploy/iscsi/text';

export interface TargetChap {
  /** What the initiator must prove. */
  readonly user: string;
  readonly secret: ChapSecret;
  /** What we prove when the initiator asks (mutual CHAP). */
  readonly own?: { readonly user: string; readonly secret: ChapSecret };
  /** Default MD5 and SHA-256. */
  readonly algorithms?: readonly ChapAlgorithm[];
}

export interface TargetLoginOptions {
  readonly targetName: string;
  readonly portalGroupTag: number;
  readonly chap?: TargetChap;
  readonly preferences: Preferences;
  readonly random: Random;
  /** Commands that a session may have under way: the window in the responses. */
  readonly windowCommands: number;
  readonly redirect?: { readonly address: string; readonly permanent: boolean };
  /** Fault: answers with this status. */
  readonly loginStatus?: number;
}

export interface LoggedIn {
  readonly initiatorName: string;
  readonly isid: string;
  readonly discovery: boolean;
  readonly parameters: OperationalParameters;
  readonly expCmdSn: number;
  /** Of the next status. */
  readonly statSn: number;
}

export interface TargetLoginStep {
  readonly response: PduOf<'login-response'>;
  /** Before the response is sent, the older session of the same initiator port has to be gone. */
  readonly loggedIn?: LoggedIn;
  /** The connection ends after the response. */
  readonly failed: boolean;
}

const STATUS = {
  initiatorError: 0x0200,
  authentication: 0x0201,
  notFound: 0x0203,
  version: 0x0205,
  missing: 0x0207,
  session: 0x020a,
} as const;

/** A refusal with its login status. */
class Refusal extends Error {
  constructor(readonly status: number) {
    super('login refused');
  }
}

export class TargetLogin {
  private stage: number | undefined;
  private initiatorName: string | undefined;
  private discovery = false;
  private authenticated: boolean;
  private challenge: { algorithm: ChapAlgorithm; identifier: number; bytes: Uint8Array } | undefined;
  private named = false;
  private statSn = 1;
  private readonly text = new TextGatherer();
  private negotiator: Negotiator | undefined;

  constructor(private readonly options: TargetLoginOptions) {
    this.authenticated = options.chap === undefined;
  }

  receive(request: PduOf<'login-request'>, tsih: number): TargetLoginStep {
    try {
      return this.step(request, tsih);
    } catch (error) {
      if (error instanceof Refusal) return { response: this.respond(request, [], error.status, false, 0), failed: true };
      if (error instanceof PduError || error instanceof NegotiationError)
        return { response: this.respond(request, [], STATUS.initiatorError, false, 0), failed: true };
      throw error;
    }
  }

  private step(request: PduOf<'login-request'>, tsih: number): TargetLoginStep {
    if (this.options.loginStatus !== undefined) throw new Refusal(this.options.loginStatus);
    if (request.versionMin > 0) throw new Refusal(STATUS.version);
    if (request.tsih !== 0) throw new Refusal(STATUS.session); // one connection a session
    this.stage ??= request.currentStage;
    if (request.currentStage !== this.stage || this.stage > STAGE_OPERATIONAL) throw new Refusal(STATUS.initiatorError);
    if (this.stage === STAGE_OPERATIONAL && !this.authenticated) throw new Refusal(STATUS.authentication);
    this.text.add(request.data);
    if (request.more) return { response: this.respond(request, [], 0, false, 0), failed: false };
    const keys = decodeKeys(this.text.take());
    const replies = this.name(keys);
    if (replies === 'redirect') {
      const { address = '', permanent = false } = this.options.redirect ?? {};
      return { response: this.respond(request, [['TargetAddress', address]], permanent ? 0x0102 : 0x0101, false, 0), failed: true };
    }
    if (this.stage === STAGE_SECURITY) replies.push(...this.security(keys));
    else replies.push(...this.operational(keys));

    const transit = request.transit && this.authenticated;
    if (!transit) return { response: this.respond(request, replies, 0, false, 0), failed: false };
    const from = this.stage;
    if (request.nextStage <= from || request.nextStage === 2) throw new Refusal(STATUS.initiatorError);
    this.stage = request.nextStage;
    if (this.stage !== STAGE_FULL_FEATURE) return { response: this.respond(request, replies, 0, true, 0), failed: false };
    const response = this.respond(request, replies, 0, true, tsih);
    const loggedIn: LoggedIn = {
      initiatorName: this.initiatorName ?? '',
      isid: Buffer.from(request.isid).toString('hex'),
      discovery: this.discovery,
      parameters: this.negotiatorFor().result(),
      expCmdSn: request.cmdSn,
      statSn: this.statSn,
    };
    return { response, loggedIn, failed: false };
  }

  /** The first request says who, what and how. */
  private name(keys: TextKeys): [string, string][] | 'redirect' {
    if (this.named) return [];
    this.named = true;
    this.initiatorName = keys.get('InitiatorName');
    if (!this.initiatorName) throw new Refusal(STATUS.missing);
    this.discovery = keys.get('SessionType') === 'Discovery';
    if (this.discovery) return [];
    const wanted = keys.get('TargetName');
    if (wanted === undefined) throw new Refusal(STATUS.missing);
    if (wanted !== this.options.targetName) throw new Refusal(STATUS.notFound);
    if (this.options.redirect) return 'redirect';
    return [['TargetPortalGroupTag', String(this.options.portalGroupTag)]];
  }

  private security(keys: TextKeys): [string, string][] {
    const { chap } = this.options;
    const offered = keys.get('AuthMethod')?.split(',');
    if (offered) {
      const method = chap ? 'CHAP' : 'None';
      if (!offered.includes(method)) throw new Refusal(STATUS.authentication);
      const first: [string, string][] = [['AuthMethod', method]];
      return first;
    }
    if (!chap) return [];
    if (keys.has('CHAP_A')) return this.challengeInitiator(keys.get('CHAP_A') ?? '', chap);
    if (keys.has('CHAP_R')) return this.verify(keys, chap);
    return [];
  }

  private challengeInitiator(numbers: string, chap: TargetChap): [string, string][] {
    const algorithm = chooseAlgorithm(numbers, chap.algorithms ?? ['md5', 'sha-256']);
    if (!algorithm) throw new Refusal(STATUS.authentication);
    const identifier = this.options.random.bytes(1)[0] ?? 0;
    const bytes = this.options.random.bytes(CHALLENGE_BYTES);
    this.challenge = { algorithm, identifier, bytes };
    return [
      ['CHAP_A', algorithmNumber(algorithm)],
      ['CHAP_I', String(identifier)],
      ['CHAP_C', formatBinary(bytes)],
    ];
  }

  private verify(keys: TextKeys, chap: TargetChap): [string, string][] {
    const { challenge } = this;
    this.challenge = undefined; // good for one answer
    const answer = parseBinary(keys.get('CHAP_R') ?? '', LONGEST_CHALLENGE_BYTES);
    const user = keys.get('CHAP_N') ?? '';
    // LIO takes such a name for a number in hexadecimal or base64
    if (!challenge || !answer || user !== chap.user || /^0[xb]/i.test(user)) throw new Refusal(STATUS.authentication);
    if (!chap.secret.proves(answer, challenge.algorithm, challenge.identifier, challenge.bytes)) throw new Refusal(STATUS.authentication);
    this.authenticated = true;
    const theirs = keys.get('CHAP_C');
    if (theirs === undefined) return [];
    const bytes = parseBinary(theirs, LONGEST_CHALLENGE_BYTES);
    const identifier = parseNumber(keys.get('CHAP_I') ?? '');
    const reflected = bytes !== undefined && Buffer.compare(bytes, challenge.bytes) === 0;
    if (!chap.own || !bytes || identifier === undefined || identifier > 255 || reflected) throw new Refusal(STATUS.authentication);
    return [
      ['CHAP_N', chap.own.user],
      ['CHAP_R', formatBinary(chap.own.secret.answer(challenge.algorithm, identifier, bytes))],
    ];
  }

  private operational(keys: TextKeys): [string, string][] {
    const negotiator = this.negotiatorFor();
    return [...negotiator.receive(new Map([...keys].filter(([key]) => key !== 'AuthMethod'))), ...negotiator.declareOwn()];
  }

  private negotiatorFor(): Negotiator {
    this.negotiator ??= new Negotiator(this.options.preferences, this.discovery);
    return this.negotiator;
  }

  private respond(
    request: PduOf<'login-request'>,
    keys: Iterable<readonly [string, string]>,
    status: number,
    transit: boolean,
    tsih: number,
  ): PduOf<'login-response'> {
    const statSn = this.statSn;
    this.statSn = serialAdd(this.statSn, 1);
    return {
      kind: 'login-response',
      transit,
      more: false,
      currentStage: request.currentStage,
      nextStage: transit ? request.nextStage : 0,
      versionMax: 0,
      versionActive: 0,
      isid: request.isid,
      tsih,
      itt: request.itt,
      statSn,
      expCmdSn: request.cmdSn,
      maxCmdSn: serialAdd(request.cmdSn, this.options.windowCommands - 1),
      status,
      data: encodeText(keys),
    };
  }
}
