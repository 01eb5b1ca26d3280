/** PodAccess through the API server's exec endpoint, by @kubernetes/client-node. */
import { createRequire } from 'node:module';
import { PassThrough, Readable } from 'node:stream';
import type { KubeConfig } from './connection.ts';
import type { PodAccess } from './pod-access.ts';

interface Status {
  readonly status?: string;
  readonly message?: string;
  readonly details?: { readonly causes?: readonly { readonly reason?: string; readonly message?: string }[] };
}

/** What is used of client-node's class. */
interface Exec {
  exec(
    namespace: string,
    pod: string,
    container: string,
    command: string[],
    stdout: NodeJS.WritableStream,
    stderr: NodeJS.WritableStream,
    stdin: NodeJS.ReadableStream | null,
    tty: boolean,
    onStatus: (status: Status) => void,
  ): Promise<{ close(): void; on(event: 'close' | 'error', listener: (reason?: unknown) => void): void }>;
}

/** The operator's package brings it: required through that, since bmctl has no use of its own for the rest. */
const fromOperator = createRequire(import.meta.resolve('../../operator/engine/client-node-transport.ts'));

export function kubernetesPodAccess(config: KubeConfig): PodAccess {
  const { Exec } = fromOperator('@kubernetes/client-node') as { readonly Exec: new (config: KubeConfig) => Exec };
  const exec = new Exec(config);
  return {
    exec: async ({ namespace, pod, container, command, input, signal }) => {
      signal?.throwIfAborted();
      const [output, errors] = [collector(), collector()];
      const ended = Promise.withResolvers<Status>();
      ended.promise.catch(() => undefined); // heard below, where it is waited for
      const stop = (): void => ended.reject(signal?.reason);
      signal?.addEventListener('abort', stop, { once: true });
      // chunks: a frame of the web socket holds what one write brings
      const stdin = input === undefined ? null : Readable.from(chunksOf(input));
      const connecting = exec.exec(namespace, pod, container, [...command], output.stream, errors.stream, stdin, false, ended.resolve);
      try {
        const socket = await Promise.race([connecting, ended.promise.then(() => connecting)]);
        socket.on('error', (reason) => ended.reject(reason));
        socket.on('close', () => ended.reject(new Error('the connection ended before the program did')));
        const status = await ended.promise;
        return { exitCode: exitCodeOf(status), output: output.text(), errors: errors.text() || (status.message ?? '') };
      } finally {
        signal?.removeEventListener('abort', stop);
        // also one that is still being made
        void connecting.then((socket) => socket.close()).catch(() => undefined);
      }
    },
  };
}

const CHUNK_BYTES = 64 * 1024;

function* chunksOf(bytes: Uint8Array): Generator<Uint8Array, void> {
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES) yield bytes.subarray(start, start + CHUNK_BYTES);
}

function collector(): { readonly stream: PassThrough; text(): string } {
  const stream = new PassThrough();
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { stream, text: () => Buffer.concat(chunks).toString('utf8') };
}

/** The API server tells it as a cause of the reason ExitCode. */
function exitCodeOf({ status, details }: Status): number {
  if (status === 'Success') return 0;
  const code = details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  return code === undefined ? 255 : Number(code);
}
