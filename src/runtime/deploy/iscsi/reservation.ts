/**
 * Persistent reservations (SPC-5 section 5.14): a second lock beside session reinstatement, where a target has them. The latter keeps two
 * replicas of ours apart, which share a name; the former keeps out everybody else. Type "Write Exclusive": others may look, and not write.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import { iscsiErrors } from './errors.ts';
import { PduError } from './pdu.ts';
import { type NamedCdb, OP } from './scsi.ts';

export const PR_OUT = { register: 0, reserve: 1, release: 2, clear: 3, preempt: 4, preemptAndAbort: 5, registerAndIgnore: 6 } as const;
export const PR_IN = { readKeys: 0, readReservation: 1, reportCapabilities: 2 } as const;
export const WRITE_EXCLUSIVE = 1;
export const PR_OUT_BYTES = 24;
const PR_IN_BYTES = 24;
/** Somebody may come in between; but not again and again. */
const MOST_TRIES = 3;

/** Sends one command; rejects with the ISCSI_SCSI_ errors. */
export type Ask = (command: NamedCdb & { readonly dataOut?: Uint8Array; readonly dataIn?: Uint8Array }) => Promise<number>;

/*  0 | 5Fh | service action | scope, type | reserved (2) | 5 parameter list length (4) | control     24 bytes: key (8) | new or other key (8) | … */
export function persistentReserveOut(action: keyof typeof PR_OUT, key: bigint, other: bigint): NamedCdb & { readonly dataOut: Uint8Array } {
  const cdb = Buffer.alloc(10);
  cdb.writeUInt8(OP.persistentReserveOut, 0);
  cdb.writeUInt8(PR_OUT[action], 1);
  const registers = action === 'register' || action === 'registerAndIgnore';
  cdb.writeUInt8(registers ? 0 : WRITE_EXCLUSIVE, 2);
  cdb.writeUInt32BE(PR_OUT_BYTES, 5);
  const dataOut = Buffer.alloc(PR_OUT_BYTES);
  dataOut.writeBigUInt64BE(key, 0);
  dataOut.writeBigUInt64BE(other, 8);
  return { name: `PERSISTENT RESERVE OUT, ${action}`, cdb, dataOut };
}

/*  0 | 5Eh | service action | reserved (5) | 7 allocation length (2) | control */
export function persistentReserveIn(action: keyof typeof PR_IN, allocationBytes: number): NamedCdb {
  const cdb = Buffer.alloc(10);
  cdb.writeUInt8(OP.persistentReserveIn, 0);
  cdb.writeUInt8(PR_IN[action], 1);
  cdb.writeUInt16BE(allocationBytes, 7);
  return { name: `PERSISTENT RESERVE IN, ${action}`, cdb };
}

/**
 * Takes the disk for this session, from whoever has it: an older deployment of the same machine that died. False where the target has no
 * reservations. `key` must not be 0. Rejects with ISCSI_SCSI_RESERVED when somebody takes it back each time.
 */
export async function reserve(ask: Ask, key: bigint): Promise<boolean> {
  try {
    await ask(persistentReserveOut('registerAndIgnore', 0n, key));
  } catch (error) {
    if (isIllegalRequest(error)) return false;
    throw error;
  }
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    try {
      await ask(persistentReserveOut('reserve', key, 0n));
      return true;
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
    const holder = await holderOf(ask);
    if (holder === undefined) continue; // gone in between
    try {
      await preempt(ask, key, holder);
    } catch (error) {
      if (!isConflict(error)) throw error;
      await ask(persistentReserveOut('registerAndIgnore', 0n, key)); // we were thrown out ourselves
    }
  }
  throw iscsiErrors.ISCSI_SCSI_RESERVED({ command: 'PERSISTENT RESERVE OUT' });
}

/** With an end to what the holder has under way, where the target knows that (tgt does not). */
async function preempt(ask: Ask, key: bigint, holder: bigint): Promise<void> {
  try {
    await ask(persistentReserveOut('preemptAndAbort', key, holder));
  } catch (error) {
    if (!isIllegalRequest(error)) throw error;
    await ask(persistentReserveOut('preempt', key, holder));
  }
}

/** Gives the disk back. What is gone by itself is no error. */
export async function release(ask: Ask, key: bigint): Promise<void> {
  try {
    await ask(persistentReserveOut('release', key, 0n));
    await ask(persistentReserveOut('register', key, 0n));
  } catch (error) {
    if (!isConflict(error)) throw error;
  }
}

/** Key of the reservation's holder; undefined when there is none. */
async function holderOf(ask: Ask): Promise<bigint | undefined> {
  const answer = Buffer.alloc(PR_IN_BYTES);
  const moved = await ask({ ...persistentReserveIn('readReservation', answer.length), dataIn: answer });
  if (moved < 8) throw new PduError(`the answer to PERSISTENT RESERVE IN has only ${moved} bytes`);
  return answer.readUInt32BE(4) >= 16 && moved >= 16 ? answer.readBigUInt64BE(8) : undefined;
}

function isConflict(error: unknown): boolean {
  return error instanceof CodedError && error.code === 'ISCSI_SCSI_RESERVED';
}

function isIllegalRequest(error: unknown): boolean {
  return error instanceof CodedError && error.code === 'ISCSI_SCSI_ILLEGAL_REQUEST';
}
