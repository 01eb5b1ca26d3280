/** The terminal that bmctl runs in. */
import type { ReadStream, WriteStream } from 'node:tty';
import type { Terminal } from './surroundings.ts';

const CTRL_C = 0x03;
const BACKSPACES: ReadonlySet<number> = new Set([0x08, 0x7f]);
const ENDS: ReadonlySet<number> = new Set([0x0a, 0x0d, 0x04]);

export function nodeTerminal(input: ReadStream, output: WriteStream): Terminal {
  const raw: Terminal['raw'] = (onKeys) => {
    let over = false;
    const listener = (data: Buffer): void => {
      const handled = onKeys(data);
      if (!handled) return;
      input.pause();
      const resume = (): void => {
        if (!over) input.resume();
      };
      handled.then(resume, resume);
    };
    input.setRawMode(true);
    input.on('data', listener);
    input.resume();
    return () => {
      over = true;
      input.off('data', listener);
      input.setRawMode(false);
      input.pause();
    };
  };
  return {
    raw,
    write: (data) => void output.write(data),
    askHidden(question) {
      output.write(question);
      return new Promise((resolve, reject) => {
        const typed: number[] = [];
        const restore = raw((keys) => {
          for (const key of keys) {
            if (key === CTRL_C || ENDS.has(key)) {
              restore();
              output.write('\n');
              if (key === CTRL_C) reject(new Error('interrupted'));
              else resolve(Buffer.from(typed).toString('utf8'));
              return;
            }
            if (!BACKSPACES.has(key)) typed.push(key);
            // a character may have several bytes: those that continue it go with it
            else while ((typed.pop() ?? 0) >> 6 === 0b10);
          }
        });
      });
    },
  };
}
