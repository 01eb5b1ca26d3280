/** The keyboard of bmctl console before a BMC that is slow, or takes nothing. */
import { expect, it } from 'vitest';
import { ConsoleTyping } from '../../src/cli/console-typing.ts';
import { VirtualClock } from '../runtime/power/support.ts';

function typing() {
  const clock = new VirtualClock();
  const end = Promise.withResolvers<Error | undefined>();
  const serial = {
    queued: 0,
    breaks: 0,
    closed: false,
    full: undefined as PromiseWithResolvers<void> | undefined,
    write(data: Uint8Array) {
      this.queued += data.length;
      if (this.queued > 100) this.full ??= Promise.withResolvers<void>();
    },
    room() {
      return this.full?.promise;
    },
    drain(count: number) {
      this.queued -= count;
      if (this.queued > 50) return;
      this.full?.resolve();
      this.full = undefined;
    },
    sendBreak() {
      this.breaks += 1;
    },
    async close() {
      this.closed = true;
      this.full?.resolve(); // who waits for room is let go
      end.resolve(undefined);
    },
    ended: end.promise,
  };
  const notes: string[] = [];
  const keyboard = new ConsoleTyping({ serial, clock, note: (text) => notes.push(text.trim()) });
  return { clock, serial, notes, type: (text: string) => keyboard.typed(Buffer.from(text, 'latin1')) };
}

it('002-2: reads no more from the terminal than the BMC takes, however slow it is', async () => {
  const { clock, serial, notes, type } = typing();
  expect(type('x'.repeat(100))).toBeUndefined();
  const more = type('y'.repeat(50));
  expect(more).toBeDefined();
  let read = false;
  void more?.then(() => {
    read = true;
  });
  for (let second = 0; second < 99; second++) {
    await clock.advance(1000);
    serial.drain(1);
  }
  expect(read).toBe(false); // 51 are left
  serial.drain(1);
  await clock.advance(0);
  expect(read).toBe(true);
  expect(notes).toEqual([]);
  expect(clock.pending).toBe(0);
});

it('002-2: a BMC that takes nothing does not lock the keyboard: it says so, and break and end still work', async () => {
  const { clock, serial, notes, type } = typing();
  const more = type('x'.repeat(150));
  await clock.advance(3000);
  await more;
  expect(notes).toEqual([expect.stringContaining('takes no characters; 150 wait')]);
  expect(type('lost')).toBeUndefined();
  expect(type('\x1db')).toBeUndefined();
  expect(serial).toMatchObject({ queued: 150, breaks: 1, closed: false });
  serial.drain(150);
  await clock.advance(0);
  expect(notes.at(-1)).toBe('The BMC takes characters again; 4 were dropped.');
  type('kept');
  expect(serial.queued).toBe(4);
  type('\x1d.');
  expect(serial.closed).toBe(true);
});

it('a console that ends while the BMC takes nothing is not said to go on', async () => {
  const { clock, serial, notes, type } = typing();
  const more = type('x'.repeat(150));
  await clock.advance(3000);
  await more;
  type('lost\x1d.');
  await clock.advance(0);
  expect(serial.closed).toBe(true);
  expect(notes).toEqual([expect.stringContaining('takes no characters; 150 wait')]);
});
