import type { TcpConnection } from 'cdk8s-baremetal-runtime/core/index';
import { NO_DATA, NO_TAG } from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu';
import { framePdu, NO_DIGESTS } from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu-stream';
import { PduTransport } from 'cdk8s-baremetal-runtime/deploy/iscsi/transport';
import { describe, expect, it } from 'vitest';

const numbers = { cmdSn: 1, expStatSn: 1 };
const ping = Buffer.concat(
  framePdu({ kind: 'nop-in', itt: NO_TAG, ttt: 1, lun: 0, statSn: 1, expCmdSn: 1, maxCmdSn: 2, data: NO_DATA }, NO_DIGESTS),
);

/** Sends pings in chunks of a thousand, as long as it is read. */
function pinging(chunks: number, write: () => Promise<void>): { connection: TcpConnection; sent: () => number } {
  let sent = 0;
  const chunk = Buffer.concat(Array.from({ length: 1000 }, () => ping));
  const connection = {
    write,
    end: () => undefined,
    destroy: () => undefined,
    async *[Symbol.asyncIterator]() {
      for (; sent < chunks; sent++) {
        await Promise.resolve();
        yield chunk;
      }
    },
  } as unknown as TcpConnection;
  return { connection, sent: () => sent * 1000 };
}

describe('a peer that sends and does not read', () => {
  const run = async (write: () => Promise<void>): Promise<{ error: Error | undefined; answered: number }> => {
    const { connection, sent } = pinging(300, write);
    const transport = new PduTransport(connection);
    let error: Error | undefined;
    transport.onPdu = () => transport.send({ kind: 'nop-out', immediate: true, lun: 0, itt: NO_TAG, ttt: 1, ...numbers, data: NO_DATA });
    transport.onEnd = (reason) => {
      error = reason;
    };
    await transport.run();
    return { error, answered: sent() };
  };

  it('is left, before what waits for it fills the memory', async () => {
    const { error, answered } = await run(() => new Promise(() => undefined));
    expect(String(error)).toMatch(/it sends and does not read/);
    expect(answered).toBeLessThan(200_000);
  });

  it('is not meant by one that pings as often, and reads', async () => {
    expect(await run(async () => undefined)).toEqual({ error: undefined, answered: 300_000 });
  });
});
