import { port as ports } from 'cdk8s-baremetal-contract/ports';
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Clock, sleep, withDeadline } from '../core/clock.ts';
import type { Network, TcpConnection } from '../core/network.ts';
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

/** How long to wait for the other side to close. */
const CLOSE_WAIT_MS = 2_000;

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
          const closed = new AbortController();
          limited.addEventListener('abort', drop, { once: true });
          let told = false;
          try {
            await connection.write(Buffer.from(`done ${token.reveal()}\n`));
            told = true;
            connection.end();
            // One that has taken the line closes, or says nothing: some nc keep their side open as long as their standard input. A reset is a ramdisk
            // that is no more: it went down before it read the line, or because it has.
            await Promise.race([drained(connection), sleep(clock, CLOSE_WAIT_MS, AbortSignal.any([limited, closed.signal]))]);
          } catch (error) {
            throw told && error instanceof Error && !limited.aborted ? Object.assign(error, { maybeTold: true }) : error;
          } finally {
            closed.abort();
            limited.removeEventListener('abort', drop);
            connection.destroy();
          }
        },
        signal,
      );
    },
  };
}

/** Whether this failure of `done` came after the whole line was sent. */
export function maybeTold(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'maybeTold' in error && error.maybeTold === true;
}

async function drained(connection: TcpConnection): Promise<void> {
  for await (const _ of connection); // what it says is of no interest
}
