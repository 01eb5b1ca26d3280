/** How many commands of a disk are under way at once, and which belong together. */

/** The places for commands under way, shared by all that use one disk. */
export class Slots {
  private readonly queue: (() => void)[] = [];
  constructor(private free: number) {}

  take(): Promise<void> | undefined {
    if (this.free > 0) {
      this.free--;
      return undefined;
    }
    return new Promise((resolve) => this.queue.push(resolve));
  }

  give(): void {
    const next = this.queue.shift();
    if (next) next();
    else this.free++;
  }
}

/** Runs `work` on each piece of an extent, as many at once as there are slots. After the first failure it starts no more; settles when none is under way. */
export async function eachPiece(
  slots: Slots,
  { offset, bytes, pieceBytes }: { readonly offset: number; readonly bytes: number; readonly pieceBytes: number },
  work: (at: number, length: number) => Promise<void>,
): Promise<void> {
  const running: Promise<void>[] = [];
  let failed = false;
  for (let at = offset; at < offset + bytes; at += pieceBytes) {
    await slots.take();
    if (failed) {
      slots.give();
      break;
    }
    const piece = work(at, Math.min(pieceBytes, offset + bytes - at)).finally(() => slots.give());
    piece.catch(() => {
      failed = true;
    });
    running.push(piece);
  }
  // all of them: the caller's buffer is in use until the last one is settled
  const failure = (await Promise.allSettled(running)).find((result) => result.status === 'rejected');
  if (failure) throw failure.reason;
}
