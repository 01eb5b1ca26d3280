/** What Node and OpenSSL say when an answer does not come as it should, in words that fit into a sentence. */
import type { TcpConnection } from 'cdk8s-baremetal-runtime/core/index';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { describe, expect, it } from 'vitest';

async function withAnswer(bytes: string, ask: (port: number) => Promise<unknown>): Promise<string> {
  const answering = async (connection: TcpConnection): Promise<void> => {
    for await (const _ of connection) {
      await connection.write(Buffer.from(bytes));
      return connection.end();
    }
  };
  const server = await nodeNetwork.listen(
    { address: '127.0.0.1', port: 0 },
    (connection) => void answering(connection).catch(() => undefined),
  );
  try {
    return await ask(server.local.port).then(
      () => 'answered',
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
  } finally {
    await server.close();
  }
}

async function wholeStream(url: string): Promise<void> {
  const { body } = await nodeNetwork.requestStream({ url });
  for await (const _ of body);
}

describe('an HTTP client', () => {
  it.each([
    ['with its certificate pinned', { certificate: { sha256: '00'.repeat(32) } }],
    ['judged by authorities', {}],
  ])('says that there is no TLS, %s', async (_, options) => {
    const ask = (port: number) => nodeNetwork.request({ url: `https://127.0.0.1:${port}/`, ...options });
    expect(await withAnswer('HTTP/1.1 400 Bad Request\r\n\r\n', ask)).toBe('what listens there does not speak TLS');
  });

  it('says that an answer was cut short', async () => {
    const ask = (port: number) => wholeStream(`http://127.0.0.1:${port}/`);
    expect(await withAnswer('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf', ask)).toBe('the connection ended within the answer');
    expect(await withAnswer('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhalf', ask)).toBe('answered');
  });
});
