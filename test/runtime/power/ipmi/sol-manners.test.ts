import { decodeSol, encodeSol } from 'cdk8s-baremetal-runtime/power/ipmi/sol';
import { SolConsole } from 'cdk8s-baremetal-runtime/power/ipmi/sol-console';
import { expect, it } from 'vitest';
import { VirtualClock } from '../support.ts';

it('002-2: a BMC that takes no characters, without saying so by NACK, is asked twice a second and loses none', async () => {
  const clock = new VirtualClock();
  let hear: (payload: Buffer) => void = () => undefined;
  let room = 0;
  const got: string[] = [];
  const session = {
    bmc: 'x:623',
    suite: { integrity: 1, confidentiality: 1 },
    run: async () => ({ inboundBytes: 100 }),
    close: async () => undefined,
    onPayload: (handler: typeof hear | undefined) => {
      hear = handler ?? (() => undefined);
    },
    sendPayload: (_type: number, payload: Buffer) => {
      const { sequence, data } = decodeSol(payload);
      got.push(Buffer.from(data.subarray(0, room)).toString('latin1'));
      const answer = encodeSol({ sequence: 0, ack: sequence, accepted: room, control: 0, data: new Uint8Array(0) });
      clock.after(1, () => hear(Buffer.from(answer)));
    },
  };
  const console = await SolConsole.open({ session: session as never, clock, onData: () => undefined });
  console.write(Buffer.from('reboot'));
  await clock.advance(5_000);
  expect(got.length).toBeLessThan(12);
  room = 4;
  await clock.advance(2_000);
  expect(got.join('')).toBe('reboot');
  await clock.until(console.close());
});
