/** What every `Network` promises. Run against real sockets and against the simulated ones: what passes here may rely on both. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HttpServer, Network, TcpConnection, TcpListener, UdpSocket } from '../../../src/runtime/core/network.ts';

export interface NetworkUnderTest {
  /** Two ends that reach each other; they may be the same machine. */
  readonly server: Network;
  readonly client: Network;
  /** The server's address as the client sees it, and a second address that belongs to the client's machine. */
  readonly serverAddress: string;
  readonly clientAddress: string;
  /** Waits for `work`, driving whatever time there is. */
  run<T>(work: Promise<T>): Promise<T>;
}

const MEGABYTE = 1024 * 1024;

export function describeNetwork(name: string, setUp: () => NetworkUnderTest): void {
  describe(`${name} keeps the network contract`, () => {
    let net: NetworkUnderTest;
    let opened: { close(): Promise<void> }[];
    beforeEach(() => {
      net = setUp();
      opened = [];
    });
    afterEach(async () => {
      await net.run(Promise.all(opened.map((one) => one.close())));
    });

    /** Runs a scenario to its end; sockets registered by `kept` are closed after it, whatever happens. */
    const scenario = (title: string, work: () => Promise<void>): void => it(title, () => net.run(work()));
    const kept = <T extends { close(): Promise<void> }>(one: T): T => {
      opened.push(one);
      return one;
    };
    const listen = async (onConnection: (connection: TcpConnection) => void): Promise<TcpListener> =>
      kept(await net.server.listen({ address: net.serverAddress, port: 0 }, onConnection));
    const connect = (listener: TcpListener): Promise<TcpConnection> => net.client.connect(listener.local);
    const udp = async (network: Network, address: string, onMessage: (data: Uint8Array, port: number, socket: UdpSocket) => void) =>
      kept(await network.udp({ address }, { onMessage: (data, from, socket) => onMessage(data, from.port, socket) }));

    describe('UDP', () => {
      scenario('carries datagrams both ways, whole and with their sender', async () => {
        const echo = await udp(net.server, net.serverAddress, (data, port, socket) =>
          socket.send(data, { address: net.clientAddress, port }),
        );
        const answers: string[] = [];
        const done = Promise.withResolvers<void>();
        const client = await udp(net.client, net.clientAddress, (data, port) => {
          answers.push(`${port}:${Buffer.from(data)}`);
          if (answers.length === 2) done.resolve();
        });
        client.send(Buffer.from('one'), echo.local);
        client.send(Buffer.alloc(0), echo.local);
        await done.promise;
        expect(answers.sort()).toEqual([`${echo.local.port}:`, `${echo.local.port}:one`]);
      });

      scenario('refuses a port that is taken, and gives it out again after close', async () => {
        const first = await net.server.udp({ address: net.serverAddress }, { onMessage: () => undefined });
        const again = { address: net.serverAddress, port: first.local.port };
        await expect(net.server.udp(again, { onMessage: () => undefined })).rejects.toMatchObject({ code: 'EADDRINUSE' });
        await first.close();
        await first.close();
        first.send(Buffer.from('nobody hears this'), first.local);
        kept(await net.server.udp(again, { onMessage: () => undefined }));
      });

      scenario('refuses an address of another machine', async () => {
        await expect(net.server.udp({ address: '198.51.100.1' }, { onMessage: () => undefined })).rejects.toMatchObject({
          code: 'EADDRNOTAVAIL',
        });
      });

      scenario('tells of a datagram that is too large, and the socket lives on', async () => {
        const failed = Promise.withResolvers<Error>();
        const heard = Promise.withResolvers<Uint8Array>();
        const target = await udp(net.server, net.serverAddress, heard.resolve);
        const sender = kept(await net.client.udp({}, { onMessage: () => undefined, onError: failed.resolve }));
        sender.send(new Uint8Array(65_600), target.local);
        expect(await failed.promise).toMatchObject({ code: 'EMSGSIZE' });
        sender.send(Buffer.from('still here'), target.local);
        expect(`${Buffer.from(await heard.promise)}`).toBe('still here');
      });

      scenario('the buffer belongs to the caller again after send', async () => {
        const heard = Promise.withResolvers<Uint8Array>();
        const target = await udp(net.server, net.serverAddress, heard.resolve);
        const sender = await udp(net.client, net.clientAddress, () => undefined);
        const data = Buffer.from('before');
        sender.send(data, target.local);
        data.fill('x');
        expect(`${Buffer.from(await heard.promise)}`).toBe('before');
      });
    });

    describe('TCP', () => {
      scenario('echoes megabytes through back-pressure', async () => {
        const listener = await listen((connection) => void echo(connection));
        const connection = await connect(listener);
        const sent = pattern(4 * MEGABYTE);
        const sending = (async () => {
          for (let at = 0; at < sent.length; at += 100_000) await connection.write(sent.subarray(at, at + 100_000));
          connection.end();
        })();
        const received = await readAll(connection);
        await sending;
        expect(Buffer.compare(received, sent)).toBe(0);
      });

      scenario('a reader that stops makes the writer wait, and wakes it by reading on', async () => {
        const gate = Promise.withResolvers<void>();
        const total = Promise.withResolvers<number>();
        const listener = await listen(async (connection) => {
          await gate.promise;
          total.resolve((await readAll(connection)).length);
          connection.end();
        });
        const connection = await connect(listener);
        const block = new Uint8Array(MEGABYTE);
        let written = 0;
        const writing = (async () => {
          for (; written < 64; written++) await connection.write(block);
          connection.end();
        })();
        // as many turns of a small UDP ping-pong as would carry it all, were it not for the reader
        await pingPong(net, kept, 200);
        expect(written).toBeLessThan(64);
        gate.resolve();
        await writing;
        expect(await total.promise).toBe(64 * MEGABYTE);
        connection.destroy();
      });

      scenario('a buffer belongs to the caller again when write has resolved', async () => {
        const gate = Promise.withResolvers<void>();
        const heard = Promise.withResolvers<Buffer>();
        const listener = await listen(async (connection) => {
          await gate.promise;
          readAll(connection).then(heard.resolve, heard.reject);
        });
        const connection = await connect(listener);
        const buffer = new Uint8Array(150_000);
        for (let i = 1; i <= 100; i++) {
          buffer.fill(i);
          const written = connection.write(buffer);
          if (i === 2) gate.resolve();
          await written;
        }
        connection.end();
        const received = await heard.promise;
        expect(received.length).toBe(100 * buffer.length);
        expect(received.findIndex((byte, at) => byte !== Math.floor(at / buffer.length) + 1)).toBe(-1);
      });

      scenario('the client may end its side and still read the answer', async () => {
        const listener = await listen(async (connection) => {
          const asked = await readAll(connection);
          await connection.write(Buffer.from(`you said ${asked}`));
          connection.end();
        });
        const connection = await connect(listener);
        await connection.write(Buffer.from('hello'));
        connection.end();
        expect(`${await readAll(connection)}`).toBe('you said hello');
      });

      scenario('the server may end its side and still read what the client says', async () => {
        const heard = Promise.withResolvers<Buffer>();
        const listener = await listen((connection) => {
          connection.end();
          readAll(connection).then(heard.resolve, heard.reject);
        });
        const connection = await connect(listener);
        expect((await readAll(connection)).length).toBe(0);
        await connection.write(Buffer.from('late words'));
        connection.end();
        expect(`${await heard.promise}`).toBe('late words');
      });

      scenario('both ends know both addresses', async () => {
        const accepted = Promise.withResolvers<TcpConnection>();
        const listener = await listen(accepted.resolve);
        const connection = await net.client.connect({ ...listener.local, localAddress: net.clientAddress });
        const other = await accepted.promise;
        expect(connection.local.address).toBe(net.clientAddress);
        expect(connection.remote).toEqual(listener.local);
        expect(other.local).toEqual(listener.local);
        expect(other.remote).toEqual(connection.local);
        connection.destroy();
      });

      scenario('a port where nobody listens refuses', async () => {
        const listener = await net.server.listen({ address: net.serverAddress, port: 0 }, () => undefined);
        await listener.close();
        await expect(net.client.connect(listener.local)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      });

      scenario('a port is taken until its listener closes', async () => {
        const listener = await net.server.listen({ address: net.serverAddress, port: 0 }, () => undefined);
        await expect(net.server.listen(listener.local, () => undefined)).rejects.toMatchObject({ code: 'EADDRINUSE' });
        const connection = await connect(listener);
        await listener.close();
        kept(await net.server.listen(listener.local, () => undefined));
        connection.destroy();
      });

      scenario('a closed listener drops what it had accepted', async () => {
        const accepted = Promise.withResolvers<TcpConnection>();
        const listener = await listen(accepted.resolve);
        const connection = await connect(listener);
        const other = await accepted.promise;
        const reading = outcome(readAll(connection));
        await listener.close();
        expect(await reading).not.toBe('pending');
        await expect(other.write(Buffer.from('x'))).rejects.toThrow();
        connection.destroy();
      });

      scenario('destroy rejects pending reads and writes with its reason, and the peer learns of a reset', async () => {
        const accepted = Promise.withResolvers<TcpConnection>();
        const listener = await listen(accepted.resolve);
        const connection = await connect(listener);
        const other = await accepted.promise;
        const reading = outcome(readAll(connection));
        const otherReading = outcome(readAll(other));
        const writing = outcome(writeForever(connection));
        const reason = new Error('changed my mind');
        connection.destroy(reason);
        connection.destroy(new Error('a second reason is too late'));
        expect(await reading).toBe(reason);
        expect(await writing).toBe(reason);
        expect(await otherReading).toMatchObject({ code: 'ECONNRESET' });
        await expect(connection.write(Buffer.from('x'))).rejects.toBe(reason);
        await expect(other.write(Buffer.from('x'))).rejects.toThrow();
      });

      scenario('leaving the loop over a connection drops it', async () => {
        const dropped = Promise.withResolvers<unknown>();
        const listener = await listen((connection) => {
          void outcome(writeForever(connection)).then(dropped.resolve);
        });
        for await (const chunk of await connect(listener)) {
          expect(chunk.length).toBeGreaterThan(0);
          break;
        }
        expect(await dropped.promise).toBeInstanceOf(Error);
      });

      scenario('a reader that has reached the end may still write as much as it likes', async () => {
        const sent = pattern(MEGABYTE);
        const listener = await listen(async (connection) => {
          await readAll(connection);
          for (const slice of Array.from({ length: 16 }, (_, i) => sent.subarray((i * MEGABYTE) / 16, ((i + 1) * MEGABYTE) / 16)))
            await connection.write(slice);
          connection.end();
        });
        const connection = await connect(listener);
        connection.end();
        expect(Buffer.compare(await readAll(connection), sent)).toBe(0);
      });

      scenario('write after end is refused', async () => {
        const listener = await listen((connection) => void echo(connection));
        const connection = await connect(listener);
        connection.end();
        connection.end();
        await expect(connection.write(Buffer.from('x'))).rejects.toThrow();
        expect((await readAll(connection)).length).toBe(0);
      });

      scenario('an aborted connect rejects with the reason', async () => {
        const reason = new Error('no longer wanted');
        await expect(net.client.connect({ address: net.serverAddress, port: 1, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
        const late = new AbortController();
        const listener = await listen(() => undefined);
        const connecting = outcome(net.client.connect({ ...listener.local, signal: late.signal }));
        late.abort(reason);
        expect(await connecting).toBe(reason);
      });

      scenario('a signal that aborts after the connect changes nothing', async () => {
        const listener = await listen((connection) => void echo(connection));
        const late = new AbortController();
        const connection = await net.client.connect({ ...listener.local, signal: late.signal });
        late.abort(new Error('too late'));
        await connection.write(Buffer.from('alive'));
        connection.end();
        expect(`${await readAll(connection)}`).toBe('alive');
      });
    });

    describe('HTTP', () => {
      const serve = async (handler: Parameters<Network['serveHttp']>[1], maxBodyBytes?: number): Promise<HttpServer & { url: string }> => {
        const server = kept(
          await net.server.serveHttp({ address: net.serverAddress, port: 0, ...(maxBodyBytes !== undefined && { maxBodyBytes }) }, handler),
        );
        return { ...server, url: `http://${net.serverAddress}:${server.local.port}` };
      };

      scenario('gives the handler the request and the client the response', async () => {
        const { url, local } = await serve(async (request) => ({
          status: 201,
          headers: { 'content-type': 'application/json', 'X-Made-By': 'the handler' },
          body: JSON.stringify({
            method: request.method,
            path: request.path,
            a: request.query.getAll('a'),
            header: request.headers['x-test'],
            body: `${Buffer.from(request.body)}`,
            remote: request.remote.address,
            local: request.local,
          }),
        }));
        const response = await net.client.request({
          method: 'POST',
          url: `${url}/a%20b/c?a=1&a=%26`,
          headers: { 'X-Test': 'yes' },
          body: 'text',
          localAddress: net.clientAddress,
        });
        expect(response.status).toBe(201);
        expect(response.headers).toMatchObject({ 'content-type': 'application/json', 'x-made-by': 'the handler' });
        expect(JSON.parse(`${Buffer.from(response.body)}`)).toEqual({
          method: 'POST',
          path: '/a b/c',
          a: ['1', '&'],
          header: 'yes',
          body: 'text',
          remote: net.clientAddress,
          local,
        });
      });

      scenario('HEAD and 204 have no body', async () => {
        const { url } = await serve(async ({ path }) =>
          path === '/none' ? { status: 204 } : { status: 200, headers: { 'content-length': '5' }, body: 'hello' },
        );
        expect(await net.client.request({ url: `${url}/none` })).toMatchObject({ status: 204, body: { length: 0 } });
        const head = await net.client.request({ url: `${url}/`, method: 'HEAD' });
        expect(head).toMatchObject({ status: 200, body: { length: 0 }, headers: { 'content-length': '5' } });
      });

      scenario('a body above the limit is answered 413 before the handler, one at the limit is not', async () => {
        let seen = 0;
        const { url } = await serve(async ({ body }) => {
          seen++;
          return { status: 200, body: `${body.length}` };
        }, 100_000);
        expect((await net.client.request({ url, method: 'POST', body: new Uint8Array(100_000) })).status).toBe(200);
        expect((await net.client.request({ url, method: 'POST', body: new Uint8Array(100_001) })).status).toBe(413);
        expect((await net.client.request({ url, method: 'POST', body: new Uint8Array(8 * MEGABYTE) })).status).toBe(413);
        expect(seen).toBe(1);
      });

      scenario('a path that cannot be decoded is answered 400', async () => {
        const { url } = await serve(async () => ({ status: 200 }));
        expect((await net.client.request({ url: `${url}/%ff%zz` })).status).toBe(400);
        expect((await net.client.request({ url: `${url}/a%00b` })).status).toBe(400);
      });

      scenario('a handler that throws is answered 500, and the next request is served', async () => {
        const { url } = await serve(async ({ path }) => {
          if (path === '/bad') throw new Error('secret detail');
          return { status: 200, body: 'fine' };
        });
        const failed = await net.client.request({ url: `${url}/bad` });
        expect(failed.status).toBe(500);
        expect(`${Buffer.from(failed.body)}`).not.toContain('secret');
        expect((await net.client.request({ url: `${url}/good` })).status).toBe(200);
      });

      scenario('streams a body of megabytes', async () => {
        const sent = pattern(3 * MEGABYTE);
        const { url } = await serve(async () => ({ status: 200, body: slices(sent, 70_000) }));
        const response = await net.client.request({ url });
        expect(Buffer.compare(response.body, sent)).toBe(0);
      });

      scenario('a stream that fails midway is not taken for a whole answer', async () => {
        const { url } = await serve(async () => ({
          status: 200,
          body: (async function* () {
            yield Buffer.from('half');
            throw new Error('the disk is gone');
          })(),
        }));
        await expect(net.client.request({ url })).rejects.toThrow();
      });

      scenario('the handler learns that the client has gone', async () => {
        const started = Promise.withResolvers<void>();
        const gone = Promise.withResolvers<void>();
        const { url } = await serve(async ({ signal }) => {
          signal.addEventListener('abort', () => gone.resolve());
          started.resolve();
          await gone.promise;
          return { status: 200 };
        });
        const abort = new AbortController();
        const reason = new Error('impatient');
        const asking = outcome(net.client.request({ url, signal: abort.signal }));
        await started.promise;
        abort.abort(reason);
        expect(await asking).toBe(reason);
        await gone.promise;
      });

      scenario('a stream is left when the client goes', async () => {
        const left = Promise.withResolvers<void>();
        const { url } = await serve(async () => ({
          status: 200,
          body: (async function* () {
            try {
              for (;;) yield new Uint8Array(10_000);
            } finally {
              left.resolve();
            }
          })(),
        }));
        await expect(net.client.request({ url, maxBodyBytes: 50_000 })).rejects.toThrow(/larger than allowed/);
        await left.promise;
      });

      scenario('an answer above the limit is an error', async () => {
        const { url } = await serve(async () => ({ status: 200, body: new Uint8Array(1001) }));
        expect((await net.client.request({ url, maxBodyBytes: 1001 })).body.length).toBe(1001);
        await expect(net.client.request({ url, maxBodyBytes: 1000 })).rejects.toThrow(/larger than allowed/);
      });

      scenario('a stream: the head at once, the body as it comes, to its end', async () => {
        const more = Promise.withResolvers<void>();
        const { url } = await serve(async () => ({
          status: 200,
          headers: { 'x-kind': 'stream' },
          body: (async function* () {
            yield 'first';
            await more.promise;
            yield 'second';
          })(),
        }));
        const { status, headers, body } = await net.client.requestStream({ url });
        expect([status, headers['x-kind']]).toEqual([200, 'stream']);
        let text = '';
        for await (const piece of body) {
          text += Buffer.from(piece);
          more.resolve(); // not before the first piece has arrived
        }
        expect(text).toBe('firstsecond');
        const plain = await net.client.requestStream({ url: `${(await serve(async () => ({ status: 404, body: 'not here' }))).url}/` });
        expect([plain.status, `${await readAll(plain.body)}`]).toEqual([404, 'not here']);
      });

      scenario('a stream that is cut off, or given up, throws', async () => {
        const gone = Promise.withResolvers<void>();
        const { url } = await serve(async ({ path, signal }) => {
          signal.addEventListener('abort', () => gone.resolve());
          return {
            status: 200,
            body: (async function* () {
              yield 'begun';
              if (path === '/cut') throw new Error('the server fails');
              await gone.promise;
            })(),
          };
        });
        // before or after its head, as the network has it
        const cut = net.client.requestStream({ url: `${url}/cut` }).then(({ body }) => readAll(body));
        expect(await outcome(cut)).toBeInstanceOf(Error);
        const stop = new AbortController();
        const endless = await net.client.requestStream({ url: `${url}/endless`, signal: stop.signal });
        const reading = outcome(readAll(endless.body));
        stop.abort(new Error('enough'));
        expect(await reading).toBeInstanceOf(Error);
        await gone.promise; // the server is told
      });

      scenario('requests that keep their connection are answered one after another and at once', async () => {
        const { url } = await serve(async ({ path }) => ({ status: 200, body: path }));
        const ask = async (path: string): Promise<string> =>
          `${Buffer.from((await net.client.request({ url: `${url}${path}`, keepAlive: true })).body)}`;
        expect([await ask('/a'), await ask('/b'), ...(await Promise.all([ask('/c'), ask('/d')]))]).toEqual(['/a', '/b', '/c', '/d']);
      });

      scenario('nobody there: refused; already aborted: the reason', async () => {
        const listener = await net.server.listen({ address: net.serverAddress, port: 0 }, () => undefined);
        await listener.close();
        const url = `http://${net.serverAddress}:${listener.local.port}/`;
        await expect(net.client.request({ url })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
        const reason = new Error('never mind');
        await expect(net.client.request({ url, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      });

      scenario('close lets a running request end, and frees the port', async () => {
        const started = Promise.withResolvers<void>();
        const finish = Promise.withResolvers<void>();
        const server = await net.server.serveHttp({ address: net.serverAddress, port: 0 }, async () => {
          started.resolve();
          await finish.promise;
          return { status: 200, body: 'just in time' };
        });
        const asking = net.client.request({ url: `http://${net.serverAddress}:${server.local.port}/` });
        await started.promise;
        const closing = server.close(20_000);
        finish.resolve();
        expect(`${Buffer.from((await asking).body)}`).toBe('just in time');
        await closing;
        kept(await net.server.serveHttp({ address: net.serverAddress, port: server.local.port }, async () => ({ status: 200 })));
      });

      scenario('close drops a request that outlives the grace', async () => {
        const started = Promise.withResolvers<void>();
        const server = await net.server.serveHttp({ address: net.serverAddress, port: 0 }, async ({ signal }) => {
          started.resolve();
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          return { status: 200 };
        });
        const asking = outcome(net.client.request({ url: `http://${net.serverAddress}:${server.local.port}/` }));
        await started.promise;
        await server.close(1);
        expect(await asking).toBeInstanceOf(Error);
      });

      scenario('understands a client that writes the bytes itself', async () => {
        const { local } = await serve(async ({ method, path, body }) => ({ status: 200, body: `${method} ${path} ${Buffer.from(body)}` }));
        const connection = await net.client.connect(local);
        for (const part of ['POST /x HTTP/1.1\r\nHost: a\r\nConnec', 'tion: close\r\ncontent-length: 4\r\n\r', '\nab', 'cd'])
          await connection.write(Buffer.from(part));
        const answer = `${await readAll(connection)}`;
        expect(answer).toMatch(/^HTTP\/1\.1 200 /);
        expect(answer).toMatch(/\r\n\r\n(.*\r\n)?POST \/x abcd/);
      });

      scenario('answers 400 to what is no HTTP', async () => {
        const { local } = await serve(async () => ({ status: 200 }));
        const connection = await net.client.connect(local);
        await connection.write(Buffer.from('\x16\x03\x01 this is TLS\r\n\r\n'));
        expect(`${await readAll(connection)}`).toMatch(/^HTTP\/1\.1 400 /);
      });
    });
  });
}

async function echo(connection: TcpConnection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
  connection.end();
}

async function readAll(connection: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of connection) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function writeForever(connection: TcpConnection): Promise<never> {
  const block = new Uint8Array(100_000);
  for (;;) await connection.write(block);
}

/** What a promise came to: its value, or its error as a value. */
function outcome(work: Promise<unknown>): Promise<unknown> {
  return work.catch((error: unknown) => error);
}

/** Bytes in which a lost or swapped piece shows. */
function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + (i >> 16)) & 0xff;
  return bytes;
}

async function* slices(data: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += step) yield data.subarray(at, at + step);
}

async function pingPong(net: NetworkUnderTest, kept: <T extends { close(): Promise<void> }>(one: T) => T, turns: number): Promise<void> {
  const done = Promise.withResolvers<void>();
  let left = turns;
  const server = kept(await net.server.udp({ address: net.serverAddress }, { onMessage: (data, from, socket) => socket.send(data, from) }));
  const client = kept(
    await net.client.udp(
      { address: net.clientAddress },
      {
        onMessage: (data, from, socket) => {
          if (--left === 0) done.resolve();
          else socket.send(data, from);
        },
      },
    ),
  );
  client.send(Buffer.from('ping'), server.local);
  await done.promise;
}
