/**
 * The initiator's side of RFC 7143 section 4.2.2: which command number comes next, how far the target's window reaches, and which status is expected.
 * All of them wrap around.
 */
import { serialAdd, serialBefore } from './pdu.ts';

export class SequenceNumbers {
  private cmdSn: number;
  private maxCmdSn: number;
  private expStatSn: number;

  constructor(initial: { readonly cmdSn: number; readonly maxCmdSn: number; readonly expStatSn: number }) {
    this.cmdSn = initial.cmdSn;
    this.maxCmdSn = initial.maxCmdSn;
    this.expStatSn = initial.expStatSn;
  }

  /** What the next PDU carries. */
  get present(): { readonly cmdSn: number; readonly expStatSn: number } {
    return { cmdSn: this.cmdSn, expStatSn: this.expStatSn };
  }

  /** Whether the target takes one more command. */
  get open(): boolean {
    return !serialBefore(this.maxCmdSn, this.cmdSn);
  }

  /** A command has been sent; not one that is immediate. */
  used(): void {
    this.cmdSn = serialAdd(this.cmdSn, 1);
  }

  /** Section 4.2.2.1: an older window, from a PDU that was overtaken, changes nothing. */
  window(expCmdSn: number, maxCmdSn: number): void {
    if (serialBefore(maxCmdSn, serialAdd(expCmdSn, -1))) return;
    if (serialBefore(this.maxCmdSn, maxCmdSn)) this.maxCmdSn = maxCmdSn;
  }

  status(statSn: number): void {
    const next = serialAdd(statSn, 1);
    if (serialBefore(this.expStatSn, next)) this.expStatSn = next;
  }
}
