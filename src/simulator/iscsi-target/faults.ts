/** What can be made to go wrong in a simulated target. All fields may be set and cleared while it runs. */
import type { TcpConnection } from 'cdk8s-baremetal-runtime/core/index';

export interface CommandFault {
  /** Waits before the command is executed. */
  readonly delayMs?: number;
  /** Never executes and never answers; an abort ends it. */
  readonly hang?: boolean;
  /** Answers with this status, without touching the device. */
  readonly status?: number;
  /** CHECK CONDITION with key, additional code and qualifier, without touching the device. */
  readonly sense?: readonly [key: number, asc: number, ascq: number];
  /** Writes this many bytes and then fails with a medium write error. */
  readonly shortWriteBytes?: number;
}

export interface ObservedCommand {
  readonly lun: number;
  readonly opcode: number;
  readonly cdb: Uint8Array;
  readonly initiatorName: string;
  /** Tells sessions apart; a later one has a higher number, up to 65,535. */
  readonly tsih: number;
  /** Counts the commands of the session, from 0. */
  readonly index: number;
}

export interface TargetFaults {
  /** Asked before each command is executed. */
  onCommand?: (command: ObservedCommand) => CommandFault | undefined;
  /** Drops a connection (reset) once it has received so many bytes. */
  dropAfterReceivedBytes?: number;
  /** Inverts the byte at this position of what a connection sends. */
  flipSentByteAt?: number;
  /** Inverts the byte at this position of what a connection receives. */
  flipReceivedByteAt?: number;
  /** Hears everything and says nothing, as a machine that hangs. */
  silent?: boolean;
  /** Answers every login with this status. */
  loginStatus?: number;
}

/** A connection with the faults of the wire in it. */
export function faultyConnection(inner: TcpConnection, faults: TargetFaults): TcpConnection {
  let sent = 0;
  let received = 0;
  return {
    local: inner.local,
    remote: inner.remote,
    end: () => inner.end(),
    destroy: (error) => inner.destroy(error),
    write: (data) => {
      if (faults.silent) return Promise.resolve();
      const pieces = data instanceof Uint8Array ? [data] : data;
      return inner.write(
        pieces.map((piece) => {
          const flipped = flip(piece, sent, faults.flipSentByteAt);
          sent += piece.length;
          return flipped;
        }),
      );
    },
    async *[Symbol.asyncIterator]() {
      for await (const chunk of inner) {
        const flipped = flip(chunk, received, faults.flipReceivedByteAt);
        received += chunk.length;
        if (faults.dropAfterReceivedBytes !== undefined && received >= faults.dropAfterReceivedBytes) {
          inner.destroy();
          return;
        }
        yield flipped;
      }
    },
  };
}

function flip(data: Uint8Array, before: number, position: number | undefined): Uint8Array {
  if (position === undefined || position < before || position >= before + data.length) return data;
  const copy = Uint8Array.from(data);
  copy[position - before] = ~(copy[position - before] ?? 0) & 0xff;
  return copy;
}
