/**
 * One SCSI command until it succeeds or is known to fail: what a disk says in passing (unit attention after a reset, busy, a
 * full task set, becoming ready) is waited out; the rest becomes a named error.
 */
import { type Clock, type Random, randomInt, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { iscsiErrors } from './errors.ts';
import { describeSense, SENSE_KEY, type Sense, senseError } from './sense.ts';
import type { IscsiSession } from './session.ts';
import type { ScsiCommand } from './tasks.ts';

export interface RunContext {
  readonly session: IscsiSession;
  readonly clock: Clock;
  readonly random: Random;
  /** How long a busy disk is waited for. Default 60,000. */
  readonly patienceMs?: number;
}

const STATUS = { good: 0x00, checkCondition: 0x02, conditionMet: 0x04, busy: 0x08, reservationConflict: 0x18, taskSetFull: 0x28 } as const;
const STATUS_NAMES: Readonly<Record<number, string>> = { 8: 'busy', 40: 'task set full', 48: 'ACA active', 64: 'task aborted' };
/** A reset gives one unit attention for each cause (SPC-5 section 5.17), a few at most. */
const MOST_UNIT_ATTENTIONS = 8;
/** 50 ms, 100, 200 … 3,200, each with up to half as much again so that many commands do not come back at once. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 3_200;
const PATIENCE_MS = 60_000;

/** Resolves with the bytes moved. */
export async function runCommand(context: RunContext, command: ScsiCommand): Promise<number> {
  const { session, clock, patienceMs = PATIENCE_MS } = context;
  const since = clock.monotonic();
  let pauseMs = FIRST_PAUSE_MS;
  for (let attentions = 0; ; ) {
    const { status, sense, movedBytes } = await session.execute(command);
    if (succeeded(status, sense)) return movedBytes;
    if (status === STATUS.checkCondition && sense?.key === SENSE_KEY.unitAttention && ++attentions < MOST_UNIT_ATTENTIONS) continue;
    const waited = clock.monotonic() - since;
    const passing = status === STATUS.busy || status === STATUS.taskSetFull || becomingReady(sense);
    if (!passing || waited + pauseMs > patienceMs) throw failure(command.name, status, sense, Math.round(waited));
    await sleep(clock, pauseMs + randomInt(context.random, pauseMs / 2 + 1), session.over);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  }
}

function succeeded(status: number, sense: Sense | undefined): boolean {
  if (status === STATUS.good || status === STATUS.conditionMet) return true;
  // a recovered error did what was asked; a deferred one speaks of an earlier command and is not ours to hide
  return status === STATUS.checkCondition && !sense?.deferred && sense?.key === SENSE_KEY.recoveredError;
}

function becomingReady(sense: Sense | undefined): boolean {
  return sense?.key === SENSE_KEY.notReady && sense.asc === 0x04 && sense.ascq === 0x01;
}

function failure(command: string, status: number, sense: Sense | undefined, waitedMs: number): Error {
  switch (status) {
    case STATUS.checkCondition:
      return senseError(sense?.deferred ? `${command}, about an earlier command` : command, sense);
    case STATUS.busy:
    case STATUS.taskSetFull:
      return iscsiErrors.ISCSI_SCSI_BUSY({ command, status: STATUS_NAMES[status] ?? '', waitedMs });
    case STATUS.reservationConflict:
      return iscsiErrors.ISCSI_SCSI_RESERVED({ command });
    default: {
      const name = STATUS_NAMES[status] ?? `${status.toString(16)}h`;
      return iscsiErrors.ISCSI_SCSI_STATUS({ command, status: sense ? `${name}, ${describeSense(sense)}` : name });
    }
  }
}
