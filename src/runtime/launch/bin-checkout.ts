/** Executable: checkout. */
import { writeSync } from 'node:fs';
import { nodeClock } from '../core/node-clock.ts';
import { checkoutMain } from './checkout-main.ts';
import { nodeProcessRunner } from './node-process-runner.ts';

async function main(): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
  process.exitCode = await checkoutMain({
    environment: process.env,
    runner: nodeProcessRunner,
    clock: nodeClock,
    write: (text) => writeSync(2, text),
    signal: stop.signal,
  });
}

void main();
