import { port as ports } from 'cdk8s-baremetal-contract/ports';
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Clock, withDeadline } from '../core/clock.ts';
import type { Network } from '../core/network.ts';
import { machineErrors } from './errors.ts';
import type { RamdiskNotifier } from './ports.ts';

export interface RamdiskNotifierOptions {
  readonly network: Network;
  readonly clock: Clock;
  /** Default 10000. */
  readonly port?: number;
  /** For the connection and the line together. Default 10,000. */
  readonly timeoutMs?: number;
}

/**
 * Says `done <token>\n` to port 10000 of the ramdisk (N6). A ramdisk that waits with plain `nc -l` goes on at any connection; ours compares
 * the token with the SHA-256 of `done ` and its deployment key, and goes on waiting at any other line.
 */
export function ramdiskNotifier(options: RamdiskNotifierOptions): RamdiskNotifier {
  const { network, clock, port = ports.deployHelper, timeoutMs = 10_000 } = options;
  return {
    async done(address: string, token: Secret, signal: AbortSignal): Promise<void> {
      const tooLong = (): Error => machineErrors.MACHINE_NOTIFY({ address, reason: `no answer within ${timeoutMs / 1000} s` });
      await withDeadline(
        clock,
        timeoutMs,
        tooLong,
        async (limited) => {
          const connection = await network.connect({ address, port, signal: limited });
          const drop = (): void => connection.destroy();
          limited.addEventListener('abort', drop, { once: true });
          try {
            await connection.write(Buffer.from(`done ${token.reveal()}\n`));
            connection.end();
            // The other side closes when it has read the line; an error here says that it did not.
            for await (const _ of connection) limited.throwIfAborted();
          } finally {
            limited.removeEventListener('abort', drop);
            connection.destroy();
          }
        },
        signal,
      );
    },
  };
}
