/**
 * Operational parameters (RFC 7143 section 13): a table of keys with the way in which each is agreed, and one negotiator for
 * both sides. Pure.
 */
import { type Digests, NO_DIGESTS } from './pdu-stream.ts';
import { parseNumber, type TextKeys } from './text.ts';

export type DigestName = 'CRC32C' | 'None';

/** What one side wants; both sides' wishes together give the parameters. Sizes in bytes. */
export interface Preferences {
  /** In order of preference. */
  readonly headerDigest: readonly DigestName[];
  readonly dataDigest: readonly DigestName[];
  /** Yes when either side wants the target to ask for all data but the immediate. */
  readonly initialR2T: boolean;
  /** Yes when both sides allow data in the command's own PDU. */
  readonly immediateData: boolean;
  /** Data of one R2T or one Data-In sequence. */
  readonly maxBurstLength: number;
  /** Data that may come unasked, immediate included. */
  readonly firstBurstLength: number;
  readonly maxOutstandingR2T: number;
  /** Data segment that this side takes in one PDU. */
  readonly maxRecvDataSegmentLength: number;
}

/** What both sides agreed on. */
export interface OperationalParameters {
  readonly digests: Digests;
  readonly initialR2T: boolean;
  readonly immediateData: boolean;
  readonly maxBurstBytes: number;
  readonly firstBurstBytes: number;
  readonly maxOutstandingR2T: number;
  /** Data segment that the peer takes. */
  readonly maxSendBytes: number;
  /** Data segment that we take. */
  readonly maxReceiveBytes: number;
}

export const DEFAULT_PREFERENCES: Preferences = {
  headerDigest: ['None', 'CRC32C'],
  dataDigest: ['None', 'CRC32C'],
  initialR2T: false,
  immediateData: true,
  maxBurstLength: 1024 * 1024,
  firstBurstLength: 256 * 1024,
  maxOutstandingR2T: 8,
  maxRecvDataSegmentLength: 256 * 1024,
};

/** An answer outside of what the offer allows. */
export class NegotiationError extends Error {
  override readonly name = 'NegotiationError';
  constructor(
    readonly key: string,
    readonly ours: string,
    readonly theirs: string,
  ) {
    super(`${key}=${theirs} is no answer to ${key}=${ours}`);
  }
}

type Rule =
  | { readonly agree: 'list'; readonly assumed: string }
  | { readonly agree: 'min' | 'max'; readonly lowest: number; readonly highest: number; readonly assumed: string }
  | { readonly agree: 'and' | 'or'; readonly assumed: 'Yes' | 'No' }
  /** Each side says its own; nothing is answered. */
  | { readonly agree: 'declare'; readonly lowest: number; readonly highest: number; readonly assumed: string };

const LARGEST = 0xffffff; // 2^24 - 1
/** `assumed` is the default of section 13, which holds when neither side names the key. */
const RULES: Readonly<Record<string, Rule>> = {
  HeaderDigest: { agree: 'list', assumed: 'None' },
  DataDigest: { agree: 'list', assumed: 'None' },
  MaxRecvDataSegmentLength: { agree: 'declare', lowest: 512, highest: LARGEST, assumed: '8192' },
  MaxConnections: { agree: 'min', lowest: 1, highest: 65535, assumed: '1' },
  InitialR2T: { agree: 'or', assumed: 'Yes' },
  ImmediateData: { agree: 'and', assumed: 'Yes' },
  MaxBurstLength: { agree: 'min', lowest: 512, highest: LARGEST, assumed: '262144' },
  FirstBurstLength: { agree: 'min', lowest: 512, highest: LARGEST, assumed: '65536' },
  DefaultTime2Wait: { agree: 'max', lowest: 0, highest: 3600, assumed: '2' },
  DefaultTime2Retain: { agree: 'min', lowest: 0, highest: 3600, assumed: '20' },
  MaxOutstandingR2T: { agree: 'min', lowest: 1, highest: 65535, assumed: '1' },
  DataPDUInOrder: { agree: 'or', assumed: 'Yes' },
  DataSequenceInOrder: { agree: 'or', assumed: 'Yes' },
  ErrorRecoveryLevel: { agree: 'min', lowest: 0, highest: 2, assumed: '0' },
};
/** The only ones that mean anything in a discovery session. */
const DISCOVERY_KEYS = new Set(['HeaderDigest', 'DataDigest', 'MaxRecvDataSegmentLength']);
/** Keys that announce and never ask (section 13), and so get no answer. */
const ANNOUNCED = new Set([
  'TargetAlias',
  'InitiatorAlias',
  'TargetAddress',
  'TargetPortalGroupTag',
  'InitiatorName',
  'TargetName',
  'SessionType',
]);

/** One side of one negotiation: what it offered, what is settled. */
export class Negotiator {
  private readonly ours: ReadonlyMap<string, string>;
  private readonly open = new Set<string>();
  private readonly settled = new Map<string, string>();
  private declared = false;

  constructor(
    private readonly preferences: Preferences,
    private readonly discovery = false,
  ) {
    this.ours = wishes(preferences);
  }

  /** The keys that an initiator proposes. */
  offer(): Map<string, string> {
    const offered = new Map([...this.ours].filter(([key]) => !this.discovery || DISCOVERY_KEYS.has(key)));
    for (const key of offered.keys()) if (RULES[key]?.agree !== 'declare') this.open.add(key);
    this.declared = true;
    return offered;
  }

  /** Takes the peer's answers and offers; returns what has to be answered. Throws `NegotiationError`. */
  receive(keys: TextKeys): Map<string, string> {
    const replies = new Map<string, string>();
    for (const [key, theirs] of keys) {
      const rule = RULES[key];
      const ours = this.ours.get(key);
      if (!rule || ours === undefined) {
        if (!ANNOUNCED.has(key) && !isVerdict(theirs)) replies.set(key, 'NotUnderstood');
      } else if (rule.agree === 'declare') {
        this.settled.set(key, String(numberWithin(key, rule, ours, theirs)));
        if (!this.declared) replies.set(key, ours);
        this.declared = true;
      } else if (this.open.delete(key)) this.settled.set(key, checkAnswer(key, rule, ours, theirs));
      else if (!isVerdict(theirs)) {
        const answer = this.settled.get(key) ?? agree(key, rule, ours, theirs);
        replies.set(key, answer);
        if (answer !== 'Reject') this.settled.set(key, answer);
      }
    }
    return replies;
  }

  /** What a target declares of itself even if the initiator did not. */
  declareOwn(): Map<string, string> {
    if (this.declared) return new Map();
    this.declared = true;
    return new Map([['MaxRecvDataSegmentLength', String(this.preferences.maxRecvDataSegmentLength)]]);
  }

  /** The parameters; keys that nobody named have the standard's defaults. */
  result(): OperationalParameters {
    const text = (key: string): string => this.settled.get(key) ?? this.decided(key) ?? RULES[key]?.assumed ?? '';
    const number = (key: string): number => Number(text(key));
    const maxBurstBytes = number('MaxBurstLength');
    const digests = { header: text('HeaderDigest') === 'CRC32C', data: text('DataDigest') === 'CRC32C' };
    return {
      digests: digests.header || digests.data ? digests : NO_DIGESTS,
      initialR2T: text('InitialR2T') === 'Yes',
      immediateData: text('ImmediateData') === 'Yes',
      maxBurstBytes,
      firstBurstBytes: Math.min(number('FirstBurstLength'), maxBurstBytes), // section 13.14 forbids more
      maxOutstandingR2T: number('MaxOutstandingR2T'),
      maxSendBytes: number('MaxRecvDataSegmentLength'),
      maxReceiveBytes: this.preferences.maxRecvDataSegmentLength,
    };
  }

  /** An offer that settles the matter whatever the peer wants needs no answer (section 6.2.2), and LIO gives none. */
  private decided(key: string): string | undefined {
    const agree = RULES[key]?.agree;
    const ours = this.open.has(key) ? this.ours.get(key) : undefined;
    return (agree === 'and' && ours === 'No') || (agree === 'or' && ours === 'Yes') ? ours : undefined;
  }
}

function wishes(preferences: Preferences): Map<string, string> {
  const yesNo = (value: boolean): string => (value ? 'Yes' : 'No');
  return new Map([
    ['HeaderDigest', preferences.headerDigest.join(',')],
    ['DataDigest', preferences.dataDigest.join(',')],
    ['MaxRecvDataSegmentLength', String(preferences.maxRecvDataSegmentLength)],
    ['MaxConnections', '1'],
    ['InitialR2T', yesNo(preferences.initialR2T)],
    ['ImmediateData', yesNo(preferences.immediateData)],
    ['MaxBurstLength', String(preferences.maxBurstLength)],
    ['FirstBurstLength', String(Math.min(preferences.firstBurstLength, preferences.maxBurstLength))],
    ['DefaultTime2Wait', '0'],
    ['DefaultTime2Retain', '0'], // at recovery level 0 nothing is kept for a lost connection
    ['MaxOutstandingR2T', String(preferences.maxOutstandingR2T)],
    ['DataPDUInOrder', 'Yes'],
    ['DataSequenceInOrder', 'Yes'],
    ['ErrorRecoveryLevel', '0'],
  ]);
}

/** The three answers that are not values (section 6.2). */
function isVerdict(value: string): boolean {
  return value === 'NotUnderstood' || value === 'Irrelevant' || value === 'Reject';
}

/** The answer to the peer's offer `theirs`. */
function agree(key: string, rule: Exclude<Rule, { agree: 'declare' }>, ours: string, theirs: string): string {
  switch (rule.agree) {
    case 'list': {
      const allowed = ours.split(',');
      return theirs.split(',').find((value) => allowed.includes(value)) ?? 'Reject';
    }
    case 'min':
      return String(Math.min(numberWithin(key, rule, ours, theirs), Number(ours)));
    case 'max':
      return String(Math.max(numberWithin(key, rule, ours, theirs), Number(ours)));
    case 'and':
      return booleanOf(key, ours, theirs) && ours === 'Yes' ? 'Yes' : 'No';
    case 'or':
      return booleanOf(key, ours, theirs) || ours === 'Yes' ? 'Yes' : 'No';
  }
}

/** The value that holds after the peer answered `theirs` to our offer `ours`. */
function checkAnswer(key: string, rule: Exclude<Rule, { agree: 'declare' }>, ours: string, theirs: string): string {
  if (theirs === 'Irrelevant' || theirs === 'NotUnderstood') return rule.assumed;
  // an answer is right when it is what we would have answered to it
  const answer = theirs === 'Reject' ? theirs : agree(key, rule, ours, theirs);
  const settled = rule.agree === 'min' || rule.agree === 'max' ? String(parseNumber(theirs)) : theirs;
  if (answer === 'Reject' || answer !== settled) throw new NegotiationError(key, ours, theirs);
  return answer;
}

function numberWithin(key: string, rule: { lowest: number; highest: number }, ours: string, theirs: string): number {
  const value = parseNumber(theirs);
  if (value === undefined || value < rule.lowest || value > rule.highest) throw new NegotiationError(key, ours, theirs);
  return value;
}

function booleanOf(key: string, ours: string, theirs: string): boolean {
  if (theirs !== 'Yes' && theirs !== 'No') throw new NegotiationError(key, ours, theirs);
  return theirs === 'Yes';
}
