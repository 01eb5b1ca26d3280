/** What may be made to go wrong with a simulated BMC. All fields may be changed while it runs; counters count down to 0. */
export interface BmcFaults {
  /** So many of the next packets are lost on their way in … */
  dropRequests: number;
  /** … or on their way out, after the command was carried out. */
  dropReplies: number;
  /** So many of the next commands in a session are answered C0h, node busy. */
  busy: number;
  /** So many of the next answers in a session have a changed byte: their authentication code is wrong. */
  corruptReplies: number;
  /** So many of the next answers in a session belong to another request (a well-formed, authentic, wrong answer). */
  misdirectReplies: number;
  /** Chassis commands get this completion code, and nothing happens. */
  chassisControlCode: number | undefined;
  /** Commands are accepted and the power does not change. */
  stuckPower: boolean;
  /** Open Session is refused with "insufficient resources". */
  sessionTableFull: boolean;
  /** Every answer takes so long. */
  replyDelayMs: number;
  /** A user is locked for `lockoutMs` after so many bad passwords; 0: never. */
  lockoutAfter: number;
  lockoutMs: number;
  /** Of 100 packets in either direction so many are lost, at random … */
  lossPercent: number;
  /** … and so many answers come twice. */
  duplicatePercent: number;
  /** Every log-in fails at the proof, whatever the password. */
  authFailure: boolean;
  /** So many of the next pieces of an SDR find their reservation cancelled. */
  sdrReservationsLost: number;
  /** Largest piece of an SDR that it gives. */
  sdrPieceBytes: number;
  /** After Cold Reset it is silent for so long. */
  restartMs: number;
  /** It restarts before it could answer Cold Reset, as many do. */
  restartsUnanswered: boolean;
  /** No answer to anything, as with the cable pulled. */
  dead: boolean;
}

export function noFaults(): BmcFaults {
  return {
    dropRequests: 0,
    dropReplies: 0,
    busy: 0,
    corruptReplies: 0,
    misdirectReplies: 0,
    chassisControlCode: undefined,
    stuckPower: false,
    sessionTableFull: false,
    replyDelayMs: 0,
    lockoutAfter: 0,
    lockoutMs: 300_000,
    lossPercent: 0,
    duplicatePercent: 0,
    authFailure: false,
    sdrReservationsLost: 0,
    sdrPieceBytes: 255,
    restartMs: 0,
    restartsUnanswered: false,
    dead: false,
  };
}

type Counter = 'dropRequests' | 'dropReplies' | 'busy' | 'corruptReplies' | 'misdirectReplies';

/** True, and one less, while the counter stands above 0. */
export function strike(faults: BmcFaults, counter: Counter): boolean {
  if (faults[counter] <= 0) return false;
  faults[counter] -= 1;
  return true;
}
