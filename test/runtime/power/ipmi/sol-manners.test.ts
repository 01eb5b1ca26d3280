import { powerErrors } from 'cdk8s-baremetal-runtime/power/index';
import { decodeSol, encodeSol, type SolPacket, SolStatus } from 'cdk8s-baremetal-runtime/power/ipmi/sol';
import { SolConsole } from 'cdk8s-baremetal-runtime/power/ipmi/sol-console';
import { expect, it } from 'vitest';
import { VirtualClock } from '../support.ts';

/** A BMC whose serial port takes `room` characters of each packet, and what it took. */
async function slowBmc(clock: VirtualClock, room: number, onEvent?: (event: string) => void) {
  let hear: (payload: Buffer) => void = () => undefined;
  const bmc = {
    room,
    got: [] as string[],
    run: () => ({ inboundBytes: 100 }),
    deactivate: () => bmc.say(DEACTIVATED),
    say: (packet: SolPacket) => hear(Buffer.from(encodeSol(packet))),
  };
  const session = {
    bmc: 'x:623',
    suite: { integrity: 1, confidentiality: 1 },
    run: async () => bmc.run(),
    close: async () => undefined,
    onPayload: (handler: typeof hear | undefined) => {
      hear = handler ?? (() => undefined);
    },
    sendPayload: (_type: number, payload: Buffer) => {
      const { sequence, data } = decodeSol(payload);
      if (sequence === 0) return;
      bmc.got.push(Buffer.from(data.subarray(0, bmc.room)).toString('latin1'));
      const accepted = Math.min(bmc.room, data.length);
      const answer = encodeSol({ sequence: 0, ack: sequence, accepted, control: 0, data: new Uint8Array(0) });
      clock.after(1, () => hear(Buffer.from(answer)));
    },
  };
  const console = await SolConsole.open({ session: session as never, clock, onData: () => undefined, ...(onEvent && { onEvent }) });
  return { bmc, console };
}

const DEACTIVATED = { sequence: 0, ack: 0, accepted: 0, control: SolStatus.deactivated, data: new Uint8Array(0) };

it('002-2: a BMC that takes no characters, without saying so by NACK, is asked twice a second and loses none', async () => {
  const clock = new VirtualClock();
  const { bmc, console } = await slowBmc(clock, 0);
  console.write(Buffer.from('reboot'));
  await clock.advance(5_000);
  expect(bmc.got.length).toBeLessThan(12);
  bmc.room = 4;
  await clock.advance(2_000);
  expect(bmc.got.join('')).toBe('reboot');
  await clock.until(console.close());
});

it('002-2: a paste is bounded: there is room for more only when the BMC has taken most of what waits, and in the end it has all of it in order', async () => {
  const clock = new VirtualClock();
  const { bmc, console } = await slowBmc(clock, 10);
  const paste = Array.from({ length: 100 }, (_, i) => `${i},`.padEnd(1000, '.')).join('');
  let most = 0;
  const writing = (async () => {
    for (let at = 0; at < paste.length; at += 1000) {
      console.write(Buffer.from(paste.slice(at, at + 1000)));
      most = Math.max(most, console.queued);
      await console.room();
    }
  })();
  await clock.until(writing);
  expect(most).toBeLessThanOrEqual(4096 + 1000);
  while (console.queued > 0) await clock.advance(100);
  expect(bmc.got.join('')).toBe(paste);
  expect(console.room()).toBeUndefined();
});

it('a BMC that is too busy for a keep-alive has answered: the console goes on', async () => {
  const clock = new VirtualClock();
  const { bmc, console } = await slowBmc(clock, 10);
  bmc.run = () => {
    throw powerErrors.IPMI_COMPLETION({ bmc: 'x:623', command: 'Get Device ID', completion: 'C0h (node busy)' });
  };
  await clock.advance(60_000);
  console.write(Buffer.from('reboot'));
  await clock.advance(1_000);
  expect(bmc.got.join('')).toBe('reboot');
  bmc.run = () => {
    throw powerErrors.IPMI_NO_ANSWER({ bmc: 'x:623', what: 'Get Device ID', tries: 4, waitedMs: 10_000 });
  };
  await clock.advance(60_000);
  expect(await clock.until(console.ended)).toMatchObject({ code: 'IPMI_CONSOLE_LOST' });
});

it('a break that comes twice, since its acknowledgement was lost, is told once', async () => {
  const clock = new VirtualClock();
  const events: string[] = [];
  const { bmc } = await slowBmc(clock, 10, (event) => events.push(event));
  const repeated = { sequence: 1, ack: 0, accepted: 0, control: SolStatus.break, data: Buffer.from('x') };
  bmc.say(repeated);
  bmc.say(repeated);
  bmc.say({ ...repeated, sequence: 2 });
  expect(events).toEqual(['break', 'break']);
});

it('002-2: who waits for room is let go when the BMC ends the console', async () => {
  const clock = new VirtualClock();
  const { bmc, console } = await slowBmc(clock, 0);
  console.write(Buffer.alloc(5000, 'x'));
  const room = console.room();
  expect(room).toBeDefined();
  await clock.advance(1000);
  bmc.deactivate();
  await clock.until(room ?? Promise.resolve());
  expect((await clock.until(console.ended))?.message).toContain('the BMC deactivated it');
  expect(console.room()).toBeUndefined();
  expect(clock.pending).toBe(0);
});
