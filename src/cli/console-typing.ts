/**
 * What is typed or pasted at a console, on its way to the machine. A serial line is slower than a paste: no more is read from the terminal than the BMC takes. One that
 * takes nothing at all would so lock the person out, Ctrl-] included; then the keyboard is read on for that, and characters are dropped, and both are said.
 */
import { type Clock, sleep } from 'cdk8s-baremetal-runtime/core/index';
import type { SolConsole } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { CONSOLE_HELP, ConsoleKeys } from './console-keys.ts';

export interface ConsoleTypingOptions {
  readonly serial: Pick<SolConsole, 'write' | 'sendBreak' | 'close' | 'room' | 'queued' | 'ended'>;
  readonly clock: Clock;
  note(text: string): void;
}

/** Without a single character taken for so long, the keyboard is read again. */
const STUCK_MS = 3000;

export class ConsoleTyping {
  readonly #options: ConsoleTypingOptions;
  readonly #keys = new ConsoleKeys();
  #stuck = false;
  #dropped = 0;
  #over = false;

  constructor(options: ConsoleTypingOptions) {
    this.#options = options;
    void options.serial.ended.then(() => {
      this.#over = true;
    });
  }

  /** For `Terminal.raw`: the promise settles when more may be read. */
  typed(data: Uint8Array): Promise<void> | undefined {
    const { serial, note } = this.#options;
    for (const input of this.#keys.feed(data)) {
      switch (input.kind) {
        case 'send':
          if (this.#stuck) this.#dropped += input.data.length;
          else serial.write(input.data);
          break;
        case 'break':
          serial.sendBreak();
          break;
        case 'help':
          note(`\r${CONSOLE_HELP}.\r`);
          break;
        case 'quit':
          void serial.close();
          return undefined;
      }
    }
    const room = this.#stuck ? undefined : serial.room();
    return room && this.#untilRoom(room);
  }

  async #untilRoom(room: Promise<void>): Promise<void> {
    const { serial, clock, note } = this.#options;
    const stop = new AbortController();
    const free = room.then(() => stop.abort());
    for (let queued = serial.queued; !stop.signal.aborted; ) {
      await sleep(clock, STUCK_MS, stop.signal).catch(() => undefined);
      if (stop.signal.aborted) return;
      if (serial.queued >= queued) break;
      queued = serial.queued;
    }
    this.#stuck = true;
    note(`\rThe BMC takes no characters; ${serial.queued} wait, and what is typed from now on is dropped. Ctrl-] . ends the console.\r`);
    void free.then(() => {
      this.#stuck = false;
      if (this.#over) return; // let go, not taken
      note(`\rThe BMC takes characters again; ${this.#dropped} were dropped.\r`);
      this.#dropped = 0;
    });
  }
}
