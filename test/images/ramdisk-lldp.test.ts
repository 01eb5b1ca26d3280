/** What the ramdisk hears of switches: its own scripts, and lldpd at the other end of a cable that is no hardware. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeLldp } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { missingForNamespaces, NamespacePair } from '../support/netns.ts';
import { busyboxShell, dashShell, PARTS, sourced } from './support.ts';

const base = mkdtempSync(join(tmpdir(), 'ramdisk-lldp-'));
afterAll(() => rmSync(base, { recursive: true }));
let number = 0;
let run: string;
beforeEach(() => {
  run = join(base, `run${number++}`);
  mkdirSync(join(run, 'lldp'), { recursive: true });
});

const FRAME = '0180c200000e00040096220088cc020704000400962200040705476930' + '2f3133' + '060200780000';
/** As the kernel gives it: behind a header for checksums. */
const record = (frame: string): Buffer => Buffer.concat([Buffer.alloc(10), Buffer.from(frame, 'hex')]);
/** Only the last may be shorter: a file has no ends of frames. */
const full = (frame: string): Buffer => Buffer.concat([record(frame), Buffer.alloc(2048)]).subarray(0, 2048);

const busybox = busyboxShell(base);
const shells = [busybox, dashShell()].filter((shell) => shell !== undefined);

describe.each(shells)('002-13: under $name', (shell) => {
  it.each<[string, Buffer[], string | undefined]>([
    ['the first LLDP frame, and no other', [full('ffffffffffff0004009622000806'), full('88cc'.repeat(3)), record(FRAME)], FRAME],
    ['one with a priority tag', [record(FRAME.replace('88cc', '8100e00088cc'))], FRAME.replace('88cc', '8100e00088cc')],
    ['none where there is none', [full('ffffffffffff00040096220008004500')], undefined],
    ['none of a device that gives nothing', [], undefined],
  ])('hears %s', async (_, records, expected) => {
    writeFileSync(join(run, 'device'), Buffer.concat(records));
    const { output } = await shell.run(`sh ${PARTS}/hear-lldp eth0 ${run}/device; ls -A ${run}/lldp`, { RUN: run });
    const file = join(run, 'lldp/eth0');
    expect([output, existsSync(file) ? readFileSync(file, 'utf8') : undefined]).toEqual(expected ? ['eth0\n', expected] : ['', undefined]);
  });

  it.each([
    ['as long as a switch may be silent, for a card with a cable', { eth0: '1' }, [], 35],
    ['no longer than a carrier needs, for cards without one', { eth0: '0', eth1: '0' }, [], 5],
    ['not at all once every cable has said something', { eth0: '1', eth1: '1' }, ['eth0', 'eth1'], 0],
    ['for the one that is missing', { eth0: '1', eth1: '1' }, ['eth1'], 35],
  ] as const)('listens %s', async (_, carriers, heard, seconds) => {
    for (const [card, carrier] of Object.entries(carriers)) {
      mkdirSync(join(run, 'class/net', card, 'device'), { recursive: true });
      writeFileSync(join(run, 'class/net', card, 'carrier'), `${carrier}\n`);
    }
    for (const card of heard) writeFileSync(join(run, 'lldp', card), FRAME);
    const { output } = await shell.run(sourced(['lldp'], 'sleep() { :; }; ip() { :; }; until_heard; echo $heard_for'), {
      RUN: run,
      SYS: run,
    });
    expect(output).toBe(`${seconds}\n`);
  });

  it('a kernel that cannot listen delays an inspection by the time that carriers need', async () => {
    mkdirSync(join(run, 'class/net/eth0/device'), { recursive: true });
    writeFileSync(join(run, 'class/net/eth0/carrier'), '1\n');
    const script = 'modprobe() { return 1; }; sleep() { :; }; ip() { :; }; start_listening; until_heard; echo $heard_for';
    expect((await shell.run(sourced(['lldp'], script), { RUN: run, SYS: run, PROC: run })).output).toBe('5\n');
  });

  it('posts what it heard beside the card that heard it', async () => {
    mkdirSync(join(run, 'class/net/eth0/device'), { recursive: true });
    mkdirSync(join(run, 'block'));
    writeFileSync(join(run, 'class/net/eth0/address'), '02:00:00:00:00:01\n');
    writeFileSync(join(run, 'meminfo'), 'MemTotal: 1024 kB\n');
    writeFileSync(join(run, 'lldp/eth0'), FRAME);
    const { output } = await shell.run(sourced(['http', 'disk', 'facts'], 'facts'), { RUN: run, SYS: run, PROC: run });
    expect(JSON.parse(output).interfaces).toEqual([{ name: 'eth0', mac: '02:00:00:00:00:01', lldpFrame: FRAME }]);
  });
});

const missing =
  missingForNamespaces([
    { name: 'lldpd', debian: 'lldpd' },
    { name: 'lldpcli', debian: 'lldpd' },
  ]) ?? (busybox === undefined ? 'busybox is missing' : missingMacvtap());
if (missing !== undefined) console.warn(`skipped, hearing lldpd: ${missing}`);

describe.skipIf(missing !== undefined)('002-13: a card hears lldpd', () => {
  it('through the kernel’s macvtap alone, and sends nothing itself', async () => {
    const pair = await NamespacePair.create();
    try {
      const { left: machine, right: network } = pair;
      const folder = join(run, 'class/net/eth0');
      mkdirSync(join(folder, 'device'), { recursive: true });
      writeFileSync(join(folder, 'carrier'), '1\n');
      symlinkSync('/sys/class/net/bmstap0', join(run, 'class/net/bmstap0'));
      // lldpd and its lldpcli are a user of their own
      chmodSync(base, 0o755);
      const socket = join(run, 'lldpd.socket');
      network.spawn(['lldpd', '-d', '-I', 'eth0', '-u', socket, '-S', 'A switch']);
      await until(() => existsSync(socket));
      const script = [
        'modprobe() { :; }',
        `PATH=${join(base, 'bin')}`,
        'LLDP_SECONDS=20',
        'start_listening',
        `tx() { cat ${run}/class/net/bmstap0/statistics/tx_packets; }`,
        'before=$(tx); until_heard_once() { until [ -e $RUN/lldp/eth0 ] || [ $((waited += 1)) -gt 200 ]; do usleep 100000; done; }',
        'until_heard_once; echo sent $(($(tx) - before))',
        'until_heard',
        'ip link show | grep -c bmstap',
      ].join('\n');
      const hearing = machine.exec(['busybox', 'sh', '-c', sourced(['lldp'], script)], {
        env: { RUN: run, SYS: run, PROC: '/proc', LIB: PARTS },
      });
      // every second in place of every thirty; said again, since lldpd forgets it while it starts
      let heard: string | undefined;
      void hearing.then(({ output }) => (heard = output));
      for (let pauses = 0; heard === undefined && pauses < 100; pauses++) {
        if (pauses % 20 === 0) {
          await network.exec(['lldpcli', '-u', socket, 'configure', 'lldp', 'tx-interval', '1']);
          await network.exec(['lldpcli', '-u', socket, 'update']);
        }
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(heard).toBe('sent 0\n0\n');
      const decoded = decodeLldp(Buffer.from(readFileSync(join(run, 'lldp/eth0'), 'utf8'), 'hex'));
      expect(decoded).toMatchObject({
        kind: 'neighbour',
        neighbour: { systemDescription: 'A switch', portDescription: 'eth0', ttlSeconds: 4 },
      });
    } finally {
      await pair.close();
    }
  });
});

/** Of this machine's kernel, and a device node beside it. */
function missingMacvtap(): string | undefined {
  const script = 'ip link add d0 type veth peer name d1 && ip link add link d0 name m0 type macvtap && mknod $1 c 1 3';
  const made = spawnSync('unshare', ['--net', 'sh', '-c', script, 'sh', join(base, 'probe')]);
  return made.status === 0 ? undefined : `no macvtap can be made here: ${made.stderr.toString().trim()}`;
}

async function until(is: () => boolean): Promise<void> {
  for (let tries = 0; !is() && tries < 100; tries++) await new Promise((resolve) => setTimeout(resolve, 50));
}
