/** `npm run demo` met with everything that a stranger may do to it, on real loopback sockets. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from 'cdk8s-baremetal-contract';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RunningDemo } from '../../src/cli/demo/run-demo.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { type DemoRun, type DemoRunOptions, demo, demoFolders, INTERRUPT, POD, PORT_BASE } from './demo-lab.ts';

const folder = temporaryFolder();
const realTmpdir = process.env.TMPDIR;
const MIB = 1024 * 1024;
const RAKP1 = 0x12;
const NAME = `${POD}-bm-01`;

beforeEach(() => {
  folder.create();
  process.env.TMPDIR = folder.path();
});
afterEach(() => {
  if (realTmpdir === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = realTmpdir;
  folder.remove();
});

/** Nothing of it is left: no folder, no socket, no timer. */
function expectNothingLeft({ network, clock }: DemoRun): void {
  expect(demoFolders(folder.path())).toEqual([]);
  expect([...network.open.values()]).toEqual([]);
  expect([...clock.pending.values()]).toEqual([]);
}

async function clean(options: DemoRunOptions = {}): Promise<DemoRun> {
  const run = await demo(options);
  expectNothingLeft(run);
  return run;
}

function codeOf({ error }: DemoRun): string {
  return error instanceof CodedError ? error.code : `no coded error: ${String(error)}`;
}

/** A small image with a boot sector. */
function writeImage(name = 'small.img', bytes = 4 * MIB): string {
  const path = folder.path(name);
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4096) createHash('sha256').update(`${at}`).digest().copy(content, at);
  content.set([0x55, 0xaa], 510);
  writeFileSync(path, content);
  return path;
}

describe('the demo', () => {
  it('deploys, says where the time went, and leaves nothing', async () => {
    const run = await clean({ nodes: 2, image: writeImage() });
    expect(run.error).toBeUndefined();
    const text = run.lines.join('\n');
    expect(text).toContain('All 2 machines are ACTIVE');
    expect(text).toMatch(/from power-on to ACTIVE, of which \d+\.\d{3} are the protocols' and the firmware's own waiting/);
    expect(text).toMatch(/ {2}\d\.\d{3} {2}until the next look at the power +waits for IPMI/);
    expect(run.lines.at(-1)).toBe('All powered down.');
  });

  it.each([0, -1, 1.5, 201, Number.NaN])('refuses %d machines', async (nodes) => {
    expect(codeOf(await clean({ nodes }))).toBe('DEMO_NODES');
  });

  it.each([-1, 54_913, 99_999])('refuses the port base %d', async (portBase) => {
    expect(codeOf(await clean({ portBase }))).toBe('DEMO_PORT_BASE');
  });
});

describe('a port that is taken', () => {
  it.each([
    { role: 'TFTP', hold: { udp: '127.0.77.1', port: 10_069 }, code: 'CORE_PORT_TAKEN' },
    { role: 'DHCP', hold: { udp: '127.0.77.1', port: 10_067 }, code: 'CORE_PORT_TAKEN' },
    { role: 'HTTP boot', hold: { tcp: '127.0.77.1', port: 7082 }, code: 'CORE_PORT_TAKEN' },
    { role: 'deploy-helper', hold: { tcp: '127.0.77.1', port: 10_000 }, code: 'CORE_PORT_TAKEN' },
    { role: 'the API', hold: { tcp: '127.0.0.1', port: 7081 }, code: 'CORE_PORT_TAKEN' },
    { role: 'the BMC of pod77-bm-01', hold: { udp: '127.1.77.10', port: 10_623 }, code: 'DEMO_PORT_TAKEN' },
  ])('$role: an error that names it', async ({ role, hold, code }) => {
    const port = PORT_BASE + hold.port;
    const held =
      'udp' in hold
        ? await nodeNetwork.udp({ address: hold.udp ?? '', port }, { onMessage: () => undefined })
        : await nodeNetwork.listen({ address: hold.tcp ?? '', port }, () => undefined);
    try {
      const run = await clean({ image: writeImage() });
      expect(codeOf(run)).toBe(code);
      expect(String(run.error)).toContain(role);
      expect(String(run.error)).toContain(`:${port}`);
      expect(String(run.error)).toContain('give --port-base');
    } finally {
      await held.close();
    }
  });
});

describe('an image that is no good', () => {
  const QCOW2 = Buffer.from('514649fb00000003', 'hex');

  it.each([
    { what: 'garbage behind the magic of qcow2', content: Buffer.concat([QCOW2, Buffer.alloc(4096, 0xa5)]), code: /^IMAGE_/ },
    { what: 'a qcow2 cut off in its header', content: Buffer.concat([QCOW2, Buffer.alloc(20)]), code: /^IMAGE_/ },
    { what: 'a gzip file', content: Buffer.from('1f8b0800', 'hex'), code: /^IMAGE_UNSUPPORTED_FORMAT$/ },
    { what: 'an empty file', content: Buffer.alloc(0), code: /^IMAGE_EMPTY$/ },
  ])('$what', async ({ content, code }) => {
    const image = folder.path('bad.img');
    writeFileSync(image, content);
    const run = await clean({ image });
    expect(codeOf(run)).toMatch(code);
    expect(String(run.error)).toContain(image);
    expect(run.lines.join('\n')).not.toContain('bms-core is up'); // before anything is started
  });

  it.each(['missing.img', '.'])('no file: %s', async (name) => {
    const run = await clean({ image: folder.path(name) });
    expect(codeOf(run)).toMatch(/^(DEMO_IMAGE|IMAGE_NOT_A_FILE)$/);
    expect(String(run.error)).toContain(folder.path(name));
  });

  it('replaced after it was registered: not one byte is written', async () => {
    const image = writeImage();
    let blocks: number | undefined;
    const run = await clean({
      image,
      started: () => writeFileSync(image, Buffer.alloc(4 * MIB, 1)),
      watch: (line) => {
        if (line.startsWith('\nTimeline')) blocks = blocksOfDisk();
      },
    });
    expect(codeOf(run)).toBe('DEMO_NOT_ACTIVE');
    expect(String(run.error)).toContain('SHA-256');
    expect(blocks).toBe(0);
    expect(run.events).toEqual([]); // never powered on
  });

  it('larger than the disk: not one byte is written', async () => {
    let blocks: number | undefined;
    const run = await clean({
      image: writeImage(),
      diskBytes: 2 * MIB,
      watch: (line) => {
        if (line.startsWith('\nTimeline')) blocks = blocksOfDisk();
      },
    });
    expect(codeOf(run)).toBe('DEMO_NOT_ACTIVE');
    expect(String(run.error)).toContain(String(2 * MIB));
    expect(blocks).toBe(0);
  });
});

describe('a disk or a BMC that is another than enrolled', () => {
  it("leaves another machine's disk alone", async () => {
    let blocks: number | undefined;
    const run = await clean({
      image: writeImage(),
      enrolledDiskSerial: 'ANOTHER-DISK',
      watch: (line) => {
        if (line.startsWith('\nTimeline')) blocks = blocksOfDisk();
      },
    });
    expect(codeOf(run)).toBe('DEMO_NOT_ACTIVE');
    expect(String(run.error)).toContain('ANOTHER-DISK');
    expect(blocks).toBe(0);
  });

  it('tries a wrong BMC password once, and says so', async () => {
    const run = await clean({ image: writeImage(), enrolledPassword: new Secret('not-the-password') });
    expect(codeOf(run)).toBe('DEMO_NOT_ACTIVE');
    expect(String(run.error)).toContain('another password');
    const attempts = run.network.received.filter(({ data, port }) => port === PORT_BASE + 10_623 && ((data[5] ?? 0) & 0x3f) === RAKP1);
    expect(attempts).toHaveLength(1);
    expect(`${run.lines.join('\n')} ${String(run.error)}`).not.toContain('not-the-password');
    expect(run.events).toEqual([]);
  });
});

describe('a POST that is not the ramdisk’s', () => {
  it('is refused each time, and the deployment goes on', async () => {
    const image = writeImage();
    const answers = new Map<string, { status: number; body: string }>();
    let running: RunningDemo | undefined;
    let strangers: Promise<void> | undefined;
    const post = async (what: string, form: Record<string, string>, localAddress = '127.0.77.99'): Promise<void> => {
      const url = `http://127.0.77.1:${PORT_BASE + 10_000}/`;
      const answer = await nodeNetwork.request({ method: 'POST', url, body: new URLSearchParams(form).toString(), localAddress });
      answers.set(what, { status: answer.status, body: Buffer.from(answer.body).toString() });
    };
    const intrude = async (demo: RunningDemo): Promise<void> => {
      const [record] = await demo.core.store.list(nodeKind);
      const node = record?.value;
      if (!node?.deployment) throw new Error('there is no deployment yet');
      const lease = node.lease?.address ?? '';
      const key = (await demo.core.secrets.read(`deploy-key.${node.deployment.id}`)).reveal();
      const right = { i: String(node.number), k: key, a: lease, n: node.deployment.iqn };
      await post('unknown node', { ...right, i: '4711' });
      await post('wrong key', { ...right, k: 'A'.repeat(52) }, lease);
      await post('another address', { ...right, a: '127.0.77.99' });
      await post("the machine's address, named by another", right);
      await post('wrong target', { ...right, n: 'iqn.2000-01.example:evil' }, lease);
      await post('no key', { i: right.i, a: lease, n: right.n }, lease);
    };
    const repeat = async (demo: RunningDemo): Promise<void> => {
      const [record] = await demo.core.store.list(nodeKind);
      const node = record?.value;
      if (!node?.deployment) throw new Error('there is no deployment any more');
      const key = (await demo.core.secrets.read(`deploy-key.${node.deployment.id}`)).reveal();
      const lease = node.lease?.address ?? '';
      await post('the second time', { i: String(node.number), k: key, a: lease, n: node.deployment.iqn }, lease);
    };
    const run = await clean({
      image,
      started: (demo) => {
        running = demo;
      },
      watch: (what) => {
        if (what === 'deploy ramdisk started' && running) strangers = intrude(running);
        if (what === 'posted to the deploy-helper' && running) {
          const demo = running;
          strangers = strangers?.then(() => repeat(demo));
        }
      },
      keep: async () => strangers,
    });
    expect(run.error).toBeUndefined();
    expect(Object.fromEntries([...answers].map(([what, { status }]) => [what, status]))).toEqual({
      'unknown node': 404,
      'wrong key': 400,
      'another address': expect.toSatisfy((status: number) => status === 400 || status === 409),
      "the machine's address, named by another": expect.toSatisfy((status: number) => status === 400 || status === 409),
      'wrong target': expect.toSatisfy((status: number) => status === 400 || status === 409),
      'no key': 400,
      'the second time': 409,
    });
    expect(run.lines.join('\n')).toContain('The machine is ACTIVE');
  });
});

describe('^C', () => {
  const MOMENTS = [
    'Synthesized',
    'bms-core is up',
    'initializing',
    'Enrolled',
    'Deploying',
    'building',
    'power on',
    'network boot',
    'DHCP lease',
    'loaded',
    'deploy ramdisk started',
    'disk exported',
    'posted to the deploy-helper',
    'prepared → deploying',
    'deploying → deploy complete',
    'told that it is done',
    'reset',
    'running',
    'Timeline of',
    'The machine is ACTIVE',
  ];

  it.each(MOMENTS)('at "%s" ends everything', async (moment) => {
    const run = await clean({ watch: (what, stop) => what.includes(moment) && stop(), image: writeImage() });
    // from the last line on nothing waits for the signal any more
    expect(run.error).toBe(moment === 'The machine is ACTIVE' ? undefined : INTERRUPT);
  });
});

describe('the program', () => {
  const children = new Set<ReturnType<typeof spawn>>();
  beforeAll(() => children.clear());
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL');
  });

  function program(args: readonly string[], onOutput: (text: string, child: ReturnType<typeof spawn>) => void = () => undefined) {
    const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/demo/main.ts', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(child);
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        onOutput(text, child);
      });
    return new Promise<{ code: number | null; signal: NodeJS.Signals | null; text: string }>((resolve) =>
      child.once('close', (code, signal) => {
        children.delete(child);
        resolve({ code, signal, text });
      }),
    );
  }

  it('exits 0 when both machines are ACTIVE', async () => {
    const { code, text } = await program(['--nodes', '2', '--port-base', '21000']);
    expect(text).toContain('All 2 machines are ACTIVE');
    expect(text).toContain('Synthesized wuxi2');
    expect(text).toContain('Where the time went');
    expect(code).toBe(0);
    expect(demoFolders(folder.path())).toEqual([]);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('exits 130 at %s in the middle, with nothing left', async (signal) => {
    let sent = false;
    const { code, text } = await program(['--port-base', '21000'], (output, child) => {
      if (sent || !output.includes('building')) return;
      sent = true;
      child.kill(signal);
    });
    expect(text).toContain('Interrupted: everything is stopped and removed.');
    expect(code).toBe(130);
    expect(demoFolders(folder.path())).toEqual([]);
  });

  it('ends when nobody reads it any more, as before `| head -1`, with nothing left', async () => {
    await program(['--port-base', '21000'], (_, child) => child.stdout?.destroy());
    expect(demoFolders(folder.path())).toEqual([]);
  });

  it.each([
    { args: ['--nodes', '0'], output: 'DEMO_NODES', exit: 1 },
    { args: ['--nodes', 'many'], output: 'It must be a whole number', exit: 1 },
    { args: ['--image', '/nowhere/image'], output: 'DEMO_IMAGE', exit: 1 },
    { args: ['--port-base', '60000'], output: 'DEMO_PORT_BASE', exit: 1 },
  ])('exits $exit at $args, in words', async ({ args, output, exit }) => {
    const { code, text } = await program(args);
    expect(text).toContain(output);
    expect(text).not.toMatch(/^ {4}at /m); // no stack
    expect(code).toBe(exit);
    expect(demoFolders(folder.path())).toEqual([]);
  });
});

/** What the file system has stored of the first machine's disk: a hole costs nothing, a written byte does. */
function blocksOfDisk(): number {
  const [name = ''] = demoFolders(folder.path());
  const path = join(folder.path(), name, `${NAME}.disk`);
  expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
  return statSync(path).blocks;
}
