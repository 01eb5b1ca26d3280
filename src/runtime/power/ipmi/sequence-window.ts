/**
 * Which session sequence numbers are still acceptable (IPMI v2.0 rev 1.1 section 6.12.13): each number once, and none that lies far
 * behind, so that a recorded packet cannot be played again. Reordering within the window is fine.
 *
 * A jump forward is accepted however far: the number is covered by the integrity code, so only the peer can have sent it, and refusing it would
 * end a session after a burst of lost packets.
 */
const WINDOW = 32;
const HALF = 2 ** 31;

export class SequenceWindow {
  #highest: number;
  /** Bit i: `highest - i` has been seen. */
  #seen = 1;

  /** `before`: the number before the first acceptable one. */
  constructor(before = 0) {
    this.#highest = before;
  }

  /** Call it only for packets whose integrity code is right. True once per number. */
  accept(sequence: number): boolean {
    if (sequence === 0) return false; // 0 is for packets outside a session
    const ahead = (sequence - this.#highest) >>> 0; // 32-bit serial arithmetic: numbers wrap
    if (ahead === 0) return false;
    if (ahead < HALF) {
      this.#seen = ahead >= WINDOW ? 1 : ((this.#seen << ahead) | 1) >>> 0;
      this.#highest = sequence;
      return true;
    }
    const behind = (this.#highest - sequence) >>> 0;
    if (behind >= WINDOW) return false;
    const bit = 2 ** behind;
    if (Math.floor(this.#seen / bit) % 2 === 1) return false;
    this.#seen = (this.#seen | bit) >>> 0;
    return true;
  }
}

/** The number after `sequence`; 0 is skipped. */
export function nextSequence(sequence: number): number {
  return sequence >= 0xffff_ffff ? 1 : sequence + 1;
}
