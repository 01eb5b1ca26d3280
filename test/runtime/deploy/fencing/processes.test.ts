/** Helpers and targets as processes of this machine, stopped and killed in the middle. KILLS gives the number of random histories. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { sleep } from 'cdk8s-baremetal-runtime/core/clock';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { seededRandom } from 'cdk8s-baremetal-simulator/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { MIB } from '../iscsi/lab.ts';
import { missingPrograms, Tgtd } from '../iscsi/tgtd.ts';
import type { HelperArguments, JobRecord } from './helper.ts';

const missing = missingPrograms({ tgtd: 'tgt', tgtadm: 'tgt' });
const KILLS = Number(process.env.KILLS ?? 1);
const NAME = 'iqn.2026-11.io.bms:fenced';
const IMAGE_BYTES = 24 * MIB;
const HELPER = fileURLToPath(new URL('helper.ts', import.meta.url));

class Helper {
  readonly lines: string[] = [];
  readonly ended: Promise<unknown>;
  private readonly process: ChildProcess;
  private waiting: (() => void)[] = [];

  constructor(given: HelperArguments) {
    this.process = spawn(process.execPath, ['--import', 'tsx', HELPER, JSON.stringify(given)], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.ended = once(this.process, 'close').then(() => this.tell());
    if (this.process.stdout)
      createInterface({ input: this.process.stdout }).on('line', (line) => {
        this.lines.push(line);
        this.tell();
      });
  }

  get last(): string {
    return this.lines.at(-1) ?? '';
  }

  async says(pattern: RegExp): Promise<void> {
    while (!this.lines.some((line) => pattern.test(line))) {
      if (this.process.exitCode !== null || this.process.signalCode !== null) throw new Error(`it ended with: ${this.lines.join('; ')}`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  signal(name: NodeJS.Signals): void {
    this.process.kill(name);
  }

  private tell(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

describe.skipIf(missing.length > 0)('helpers and targets that are stopped and killed', () => {
  const folder = temporaryFolder();
  let tgtd: Tgtd;
  const helpers: Helper[] = [];
  const startTarget = async (port?: number): Promise<void> => {
    tgtd = await Tgtd.start(folder.path(), port);
    tgtd.addDisk(1, NAME, folder.path('disk'), 2 * IMAGE_BYTES, { keep: port !== undefined });
    tgtd.admin('--op', 'new', '--mode', 'account', '--user', 'deployment', '--password', 'secret-of-the-deployment');
    tgtd.admin('--op', 'bind', '--mode', 'account', '--tid', '1', '--user', 'deployment');
  };
  const image = (name: string): string => {
    const path = folder.path(name);
    writeFileSync(path, seededRandom(name).bytes(IMAGE_BYTES));
    return path;
  };
  const owner = (name: string, synced?: number): void => {
    const job: JobRecord = { owner: name, ...(synced !== undefined && { synced }) };
    writeFileSync(folder.path('record'), JSON.stringify(job));
  };
  const synced = (): number | undefined => (JSON.parse(readFileSync(folder.path('record'), 'utf8')) as JobRecord).synced;
  const start = (name: string, imagePath: string, bytesPerSecond = 0): Helper => {
    const helper = new Helper({
      name,
      port: tgtd.port,
      iqn: NAME,
      image: imagePath,
      cache: folder.path(`cache-${name}`),
      record: folder.path('record'),
      bytesPerSecond,
      syncEveryBytes: 4 * MIB,
    });
    helpers.push(helper);
    return helper;
  };
  const onDisk = (): Buffer => readFileSync(folder.path('disk')).subarray(0, IMAGE_BYTES);
  const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

  beforeEach(async () => {
    folder.create();
    await startTarget();
  });
  afterEach(async () => {
    for (const helper of helpers.splice(0)) {
      helper.signal('SIGKILL');
      await helper.ended;
    }
    await tgtd.stop();
    folder.remove();
  });

  it('N10: a helper under SIGSTOP that wakes up late writes nothing any more', async () => {
    const [older, newer] = [image('older'), image('newer')];
    owner('a');
    const a = start('a', older, 8 * MIB);
    await a.says(/^wrote/);
    a.signal('SIGSTOP');
    // its lease has run out, and another replica has the machine: with another image, so that every byte of the first one shows
    owner('b');
    const b = start('b', newer);
    await b.says(/^done/);
    const before = digest(folder.path('disk'));
    a.signal('SIGCONT');
    await a.ended;
    expect(a.last).toMatch(/^failed (?:the machine belongs to b|the connection .* was lost|the iSCSI session)/);
    expect(digest(folder.path('disk'))).toBe(before);
    expect(Buffer.compare(onDisk(), readFileSync(newer))).toBe(0);
  }, 60_000);

  it('N10: one that wakes up in the middle of its successor’s work does not stop it', async () => {
    const [older, newer] = [image('older'), image('newer')];
    owner('a');
    const a = start('a', older, 8 * MIB);
    await a.says(/^wrote/);
    a.signal('SIGSTOP');
    owner('b');
    const b = start('b', newer, 16 * MIB);
    await b.says(/^synced/);
    a.signal('SIGCONT');
    await Promise.all([a.ended, b.ended]);
    expect(a.last).toMatch(/^failed/);
    expect(b.last).toMatch(/^done/);
    expect(Buffer.compare(onDisk(), readFileSync(newer))).toBe(0);
  }, 60_000);

  it.each(Array.from({ length: KILLS }, (_, seed) => seed))(
    'N8: kill -9 of helper and target at random, history %i: it goes on and the disk holds the image',
    async (seed) => {
      const random = seededRandom(`kills ${seed}`);
      const path = image('image');
      let name = 'a';
      owner(name);
      let helper = start(name, path, 24 * MIB);
      for (let kills = 0; kills < 3; kills++) {
        await helper.says(/^wrote/);
        await sleep(nodeClock, random.fraction() * 400);
        if (random.fraction() < 0.5) {
          helper.signal('SIGKILL');
          await helper.ended;
          name = name === 'a' ? 'b' : 'a';
          owner(name, synced());
          helper = start(name, path, 24 * MIB);
        } else {
          const { port } = tgtd;
          await tgtd.stop();
          await startTarget(port);
        }
      }
      await helper.ended;
      expect(helper.last).toBe(`done ${digest(path)}`);
      expect(Buffer.compare(onDisk(), readFileSync(path))).toBe(0);
    },
    120_000,
  );
});
