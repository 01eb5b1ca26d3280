/** A server that accepts and then says nothing: the deadline is the clock's, and git is gone with all it started. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../../src/runtime/core/clock.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { checkout } from '../../../src/runtime/launch/checkout.ts';
import { nodeProcessRunner } from '../../../src/runtime/launch/node-process-runner.ts';
import { hasGit } from './git-repository.ts';

describe.skipIf(!hasGit)('a server that hangs', () => {
  let server: Server;
  let directory: string;
  let port: number;
  const open = new Set<Socket>();
  let connected: Promise<void>;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'launch-hang-'));
    server = createServer();
    connected = new Promise((resolve) => {
      server.on('connection', (socket) => {
        open.add(socket);
        socket.on('error', () => undefined);
        resolve();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    port = typeof address === 'object' && address ? address.port : 0;
  });
  afterEach(async () => {
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(directory, { recursive: true, force: true });
  });

  /** A clock whose only timer is fired by hand. */
  function handClock(): { clock: Clock; fire: () => void; delays: number[] } {
    const delays: number[] = [];
    let fire = (): void => undefined;
    const clock: Clock = {
      now: () => 0,
      monotonic: () => 0,
      after: (delayMs, callback) => {
        delays.push(delayMs);
        fire = callback;
        return { cancel: () => undefined };
      },
    };
    return { clock, fire: () => fire(), delays };
  }
  const options = () => ({
    project: `http://127.0.0.1:${port}/a.git`,
    revision: 'a'.repeat(40),
    target: join(directory, 'volume/a'),
    protocols: ['http' as const],
    runner: nodeProcessRunner,
    log: silentLogger,
  });
  const gitProcesses = () =>
    execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(`127.0.0.1:${port}`));

  it('003-4: is given up at the deadline, by name, with nothing left: no process, no tree', async () => {
    const { clock, fire, delays } = handClock();
    const result = checkout({ ...options(), clock, deadlineMs: 5000 }).catch((error: unknown) => error);
    await connected;
    expect(gitProcesses().length).toBeGreaterThan(0);
    fire();
    expect(String(await result)).toContain(`LAUNCH_GIT_DEADLINE: http://127.0.0.1:${port}/a.git did not deliver the revision within 5 s`);
    expect(delays).toEqual([5000]);
    expect(gitProcesses()).toEqual([]);
    expect(readdirSync(join(directory, 'volume'))).toEqual([]);
  });
  it('003-4: is given up when the container is stopped', async () => {
    const { clock } = handClock();
    const stop = new AbortController();
    const result = checkout({ ...options(), clock, signal: stop.signal }).catch((error: unknown) => error);
    await connected;
    stop.abort(new Error('stopped by SIGTERM'));
    expect(String(await result)).toContain('stopped by SIGTERM');
    expect(gitProcesses()).toEqual([]);
  });
});
