import { Secret } from 'cdk8s-baremetal-contract/secret';
import type { TcpConnection } from 'cdk8s-baremetal-runtime/core/index';
import { ramdiskNotifier } from 'cdk8s-baremetal-runtime/machine/index';
import { maybeTold } from 'cdk8s-baremetal-runtime/machine/ramdisk-notifier';
import { SimNetwork, seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator/index';
import { describe, expect, it } from 'vitest';

const token = new Secret('ab'.repeat(32));

function setup() {
  const clock = new VirtualClock();
  const network = new SimNetwork({ clock, random: seededRandom(1) });
  const manager = network.host({ name: 'mgmt', addresses: ['10.0.0.1/24'], segment: 'lan' });
  const ramdisk = network.host({ name: 'bm', addresses: ['10.0.0.11/24'], segment: 'lan' });
  const notifier = ramdiskNotifier({ network: manager, clock });
  const done = (signal = new AbortController().signal) => notifier.done('10.0.0.11', token, signal);
  return { clock, ramdisk, done };
}

describe('N6: telling the ramdisk "done"', () => {
  it('sends one line with the token to port 10000, and is content when the ramdisk closes', async () => {
    const { clock, ramdisk, done } = setup();
    let heard = '';
    await ramdisk.listen({ port: 10_000 }, async (connection) => {
      for await (const bytes of connection) heard += Buffer.from(bytes).toString();
      connection.end();
    });
    await clock.run(done());
    expect(heard).toBe(`done ${token.reveal()}\n`);
    expect(clock.monotonic()).toBeLessThan(1_000);
  });

  it('does not depend on the other side closing', async () => {
    const { clock, ramdisk, done } = setup();
    const open: TcpConnection[] = [];
    await ramdisk.listen({ port: 10_000 }, (connection) => void open.push(connection));
    await clock.run(done());
    expect(clock.monotonic()).toBeLessThan(3_000);
    expect(open).toHaveLength(1);
  });

  it('rejects when nobody listens, when the machine resets the connection, and when it does not answer at all', async () => {
    const { clock, ramdisk, done } = setup();
    await expect(clock.run(done())).rejects.toThrow(/ECONNREFUSED/);
    const listener = await ramdisk.listen({ port: 10_000 }, (connection) => connection.destroy());
    await expect(clock.run(done())).rejects.toThrow();
    await listener.close();
    ramdisk.down();
    await expect(clock.run(done(), { limitMs: 60_000 })).rejects.toThrow();
  });

  it('a connection that breaks after the whole line was sent may mean either: the failure says so; one that was never made does not', async () => {
    const { clock, ramdisk, done } = setup();
    const failure = (): Promise<unknown> => clock.run(done().catch((error: unknown) => error));
    expect(maybeTold(await failure())).toBe(false);
    let heard = '';
    await ramdisk.listen({ port: 10_000 }, async (connection) => {
      for await (const bytes of connection) {
        heard += Buffer.from(bytes).toString();
        break;
      }
      connection.destroy(); // it restarts at once
    });
    expect(maybeTold(await failure())).toBe(true);
    expect(heard).toBe(`done ${token.reveal()}\n`);
  });

  it('ends at once when it is not wanted any more, and never shows the token in an error', async () => {
    const { clock, ramdisk, done } = setup();
    await ramdisk.listen({ port: 10_000 }, () => undefined);
    const controller = new AbortController();
    clock.after(500, () => controller.abort(new Error('not ours any more')));
    await expect(clock.run(done(controller.signal))).rejects.toThrow('not ours any more');
    ramdisk.down();
    const error = await clock.run(
      done().catch((failure: unknown) => failure),
      { limitMs: 60_000 },
    );
    expect(String(error)).not.toContain(token.reveal());
  });
});
