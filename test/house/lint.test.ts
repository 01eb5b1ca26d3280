import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** Inside src/, where the bans apply; ignored by git. */
const FOLDER = 'src/runtime/lint-probe';

/** What must never be written outside core's Node adapters. */
const BANNED = [
  ['the wall clock', 'export const x = Date.now();'],
  ['a new date', 'export const x = new Date();'],
  ['the monotonic clock', 'export const x = performance.now();'],
  ['a timer', 'setTimeout(() => undefined, 1);'],
  ['a repeated timer', 'setInterval(() => undefined, 1);'],
  ['a turn of the loop', 'setImmediate(() => undefined);'],
  ['timers as promises', "import { setTimeout as wait } from 'node:timers/promises';\nexport const x = wait;"],
  ['Math.random', 'export const x = Math.random();'],
  ['random bytes', "import { randomBytes } from 'node:crypto';\nexport const x = randomBytes(1);"],
  ['a UDP socket', "import { createSocket } from 'node:dgram';\nexport const x = createSocket;"],
  ['a TCP socket', "import { connect } from 'node:net';\nexport const x = connect;"],
  ['an HTTP server', "import { createServer } from 'node:http';\nexport const x = createServer;"],
  ['fetch', "export const x = fetch('http://127.0.0.1/');"],
] as const;

const ALLOWED = [
  ['hashing', "import { createHash } from 'node:crypto';\n\nexport const x = createHash;\n"],
  ['arithmetic', 'export const x = Math.floor(2.5);\n'],
] as const;

function lint(name: string, code: string): number | null {
  const file = `${FOLDER}/${name.replaceAll(' ', '-')}.ts`;
  writeFileSync(file, code);
  return spawnSync('node_modules/.bin/biome', ['lint', file], { encoding: 'utf8' }).status;
}

describe('the linter keeps real time, randomness and sockets out of the daemons', () => {
  beforeAll(() => mkdirSync(FOLDER, { recursive: true }));
  afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

  it.each(BANNED)('%s is refused', (name, code) => expect(lint(name, code)).toBe(1));
  it.each(ALLOWED)('%s is fine', (name, code) => expect(lint(name, code)).toBe(0));
});
