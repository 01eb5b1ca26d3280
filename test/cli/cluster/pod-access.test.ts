/** The exec endpoint as a kubelet speaks it: channels of a web socket, the status on the third. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KubeConfig } from '../../../src/cli/cluster/connection.ts';
import { kubernetesPodAccess } from '../../../src/cli/cluster/kubernetes-pod-access.ts';
import { loadKubeConfig } from '../../../src/operator/engine/client-node-transport.ts';
import { refusal } from './world.ts';

interface Socket {
  send(data: Buffer): void;
  close(): void;
  on(event: 'message', listener: (data: Buffer) => void): void;
}
type Serve = (socket: Socket, request: { readonly url?: string }) => void;
interface SocketServer {
  readonly clients: Iterable<{ terminate(): void }>;
  on(event: 'connection', listener: Serve): void;
  close(): void;
}
// the library that client-node itself speaks through
const { WebSocketServer } = createRequire(import.meta.resolve('@kubernetes/client-node'))('ws') as {
  readonly WebSocketServer: new (options: object) => SocketServer;
};

const [STDIN, STDOUT, STDERR, STATUS] = [0, 1, 2, 3];
const frame = (channel: number, text: string): Buffer => Buffer.concat([Buffer.from([channel]), Buffer.from(text)]);
const status = (object: object): Buffer => frame(STATUS, JSON.stringify(object));

describe('004-18: running a program in a pod', () => {
  let server: Server;
  let sockets: SocketServer;
  let config: KubeConfig;
  let serve: Serve;

  beforeEach(async () => {
    server = createServer();
    sockets = new WebSocketServer({ server, handleProtocols: () => 'v4.channel.k8s.io' });
    sockets.on('connection', (socket, request) => serve(socket, request));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    config = loadKubeConfig();
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    config.loadFromClusterAndUser({ name: 'test', server: address, skipTLSVerify: true }, { name: 'nobody' });
  });
  afterEach(async () => {
    for (const client of sockets.clients) client.terminate();
    sockets.close();
    await new Promise((resolve) => server.close(resolve));
  });

  const where = { namespace: 'onecloud', pod: 'default-glance-1', container: 'dev-sync' };

  it('sends every byte of the input, and takes output, errors and the exit code', async () => {
    const input = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251));
    const received: Buffer[] = [];
    let asked = '';
    serve = (socket, { url }) => {
      asked = url ?? '';
      socket.on('message', (data) => {
        expect(data[0]).toBe(STDIN);
        received.push(data.subarray(1));
        if (Buffer.concat(received).length < input.length) return;
        socket.send(frame(STDOUT, 'out'));
        socket.send(frame(STDERR, 'err'));
        socket.send(
          status({ status: 'Failure', message: 'command terminated', details: { causes: [{ reason: 'ExitCode', message: '7' }] } }),
        );
        socket.close();
      });
    };
    const result = await kubernetesPodAccess(config).exec({ ...where, command: ['/bin/sh', '-c', 'head -c "$1"'], input });
    expect(result).toEqual({ exitCode: 7, output: 'out', errors: 'err' });
    expect(Buffer.concat(received).equals(input)).toBe(true);
    const query = new URL(asked, 'http://x').searchParams;
    expect(asked).toMatch(/^\/api\/v1\/namespaces\/onecloud\/pods\/default-glance-1\/exec\?/);
    expect(query.getAll('command')).toEqual(['/bin/sh', '-c', 'head -c "$1"']);
    expect([query.get('container'), query.get('stdin'), query.get('tty')]).toEqual(['dev-sync', 'true', 'false']);
  });

  it('knows a program that succeeded', async () => {
    serve = (socket) => socket.send(status({ status: 'Success' }));
    expect(await kubernetesPodAccess(config).exec({ ...where, command: ['true'] })).toEqual({ exitCode: 0, output: '', errors: '' });
  });

  it('rejects when the connection ends before the program', async () => {
    serve = (socket) => socket.close();
    expect((await refusal(kubernetesPodAccess(config).exec({ ...where, command: ['true'] }))).message).toMatch(/ended before the program/);
  });

  it('ends with its signal', async () => {
    const stop = new AbortController();
    serve = () => stop.abort(new Error('enough'));
    const ended = refusal(kubernetesPodAccess(config).exec({ ...where, command: ['sleep', '1000'], signal: stop.signal }));
    expect((await ended).message).toBe('enough');
  });
});
