/** What is typed at a serial console: characters for the machine, and after Ctrl-] a key for bmctl. */

export type ConsoleInput =
  | { readonly kind: 'send'; readonly data: Uint8Array }
  | { readonly kind: 'quit' }
  | { readonly kind: 'break' }
  | { readonly kind: 'help' };

/** Ctrl-]: ssh's ~ at the start of a line would end the ssh session around bmctl. */
const ESCAPE = 0x1d;

export const CONSOLE_HELP = 'Ctrl-] then: . ends the console, b sends a break, ? shows this, Ctrl-] sends Ctrl-] itself';

export class ConsoleKeys {
  #escaped = false;

  /** In the order of typing. An unknown key after Ctrl-] is dropped with it. */
  feed(data: Uint8Array): readonly ConsoleInput[] {
    const inputs: ConsoleInput[] = [];
    let from = 0;
    const flush = (to: number): void => {
      if (to > from) inputs.push({ kind: 'send', data: data.slice(from, to) });
    };
    for (let i = 0; i < data.length; i++) {
      const key = data[i];
      if (this.#escaped) {
        this.#escaped = false;
        from = i + 1;
        if (key === ESCAPE) inputs.push({ kind: 'send', data: Uint8Array.of(ESCAPE) });
        else if (key === 0x2e) inputs.push({ kind: 'quit' });
        else if (key === 0x62 || key === 0x42) inputs.push({ kind: 'break' });
        else if (key === 0x3f) inputs.push({ kind: 'help' });
      } else if (key === ESCAPE) {
        flush(i);
        from = i + 1;
        this.#escaped = true;
      }
    }
    if (!this.#escaped) flush(data.length);
    return inputs;
  }
}
