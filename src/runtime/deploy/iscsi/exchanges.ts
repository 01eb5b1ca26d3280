/** Requests that are no SCSI commands, and their answers by initiator task tag: task management, text, logout. */
import type { Clock } from 'cdk8s-baremetal-runtime/core/index';
import { PduError, type PduOf, type ReceivedPdu } from './pdu.ts';

export type ExchangeKind = 'task-response' | 'text-response' | 'logout-response';

export class Exchanges {
  private readonly pending = new Map<number, { take: (pdu: ReceivedPdu) => void; fail: (error: Error) => void }>();

  constructor(
    private readonly clock: Clock,
    private readonly timeoutMs: number,
  ) {}

  has(itt: number): boolean {
    return this.pending.has(itt);
  }

  /** Resolves with the answer; calls `onLate` when there is none in time, and leaves what follows to it. */
  begin<K extends ExchangeKind>(kind: K, itt: number, send: (itt: number) => void, onLate: () => void): Promise<PduOf<K>> {
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(this.timeoutMs, onLate);
      this.pending.set(itt, {
        take: (pdu) => {
          if (pdu.kind !== kind) throw new PduError(`it answered with ${pdu.kind} where ${kind} was due`);
          timer.cancel();
          this.pending.delete(itt);
          resolve(pdu as PduOf<K>);
        },
        fail: (error) => {
          timer.cancel();
          reject(error);
        },
      });
      send(itt);
    });
  }

  /** An answer that nobody waits for any more is none. */
  take(pdu: ReceivedPdu & { readonly itt: number }): void {
    this.pending.get(pdu.itt)?.take(pdu);
  }

  failAll(error: Error): void {
    for (const { fail } of this.pending.values()) fail(error);
    this.pending.clear();
  }
}
