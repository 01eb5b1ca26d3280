/**
 * The ramdisk in a machine of its own, against programs that are not ours: libiscsi as initiator, lldpd as switch. `npm run test:ramdisk` builds its
 * flavours and runs this; it needs root and QEMU, and a minute or two under emulation.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseReport } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findProgram, LabNetwork, missingForNamespaces } from '../../lab/support/namespace.ts';
import { Guest, missingForGuests } from '../../lab/support/qemu.ts';

const FLAVOURS = 'lib/ramdisk';
const IMAGE = 'lib/image/amd64-minimal/disk.raw';
const LIMIT_MS = 180_000;
const MIB = 1024 * 1024;
const KEY = 'KEYOFTHISTEST';
const IQN = 'iqn.2026-11.io.bms:0bbee737-c1f4';
const INITIATOR = 'iqn.2026-11.io.bms:initiator';
const MAC = '52:54:00:77:00:0a';
const [SERVER, MACHINE] = ['10.77.0.1', '10.77.0.60'];

const missing =
  process.env.BMS_LAB !== '1'
    ? 'it is not asked for (npm run test:ramdisk)'
    : (['amd64-cloud', 'amd64-cloud-tgt', 'amd64-cloud-kexec', 'arm64-cloud']
        .map((flavour) => join(FLAVOURS, flavour, 'deploy_ramdisk'))
        .concat(IMAGE)
        .filter((path) => !existsSync(path))
        .map((path) => `${path} is not built (npm run test:ramdisk)`)[0] ??
      missingForNamespaces([
        { name: 'qemu-system-x86_64', debian: 'qemu-system-x86' },
        { name: 'iscsi-inq', debian: 'libiscsi-bin' },
        { name: 'lldpd', debian: 'lldpd' },
        { name: 'busybox', debian: 'busybox-static' },
      ]) ??
      missingForGuests({ kind: 'bios' }));
const missingArm = findProgram('qemu-system-aarch64') ? undefined : 'qemu-system-aarch64 is missing (Debian package qemu-system-arm)';
if (missing !== undefined) console.warn(`skipped, the ramdisk in a machine: ${missing}`);
else if (missingArm !== undefined) console.warn(`skipped, the ramdisk in a machine of arm64: ${missingArm}`);

describe.skipIf(missing !== undefined)('002-13: the ramdisk in a machine', () => {
  let folder: string;
  let network: LabNetwork;
  let guest: Machine;
  let posts: string;
  const signal = (): AbortSignal => AbortSignal.timeout(LIMIT_MS);
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'bms-ramdisk-'));
    network = await LabNetwork.create(`${SERVER}/24`);
    posts = '';
    // takes whatever is posted
    const helper = network.namespace.spawn([process.execPath, '-e', HELPER]);
    helper.stdout?.on('data', (chunk: Buffer) => (posts += chunk.toString()));
    helper.stderr?.resume();
  });
  afterEach(async () => {
    await guest?.stop();
    await network.close();
    rmSync(folder, { recursive: true });
  });

  async function start(flavour: string, words: string, disk: string): Promise<void> {
    const files = join(FLAVOURS, flavour);
    const cmdline = [
      `${flavour.startsWith('arm64') ? '' : 'console=ttyS0 '}deployment_id=7`,
      `deployment_key=${KEY} BOOTIF=01-${MAC.replaceAll(':', '-')} ip=${MACHINE}:${SERVER}::255.255.255.0`,
      words,
    ];
    const more = ['-kernel', join(files, 'deploy_kernel'), '-initrd', join(files, 'deploy_ramdisk'), '-append', cmdline.join(' ')];
    const firmware = { kind: 'bios' } as const;
    guest = flavour.startsWith('arm64')
      ? await armMachine(network, disk, more)
      : await Guest.start({ network, mac: MAC, firmware, folder, disks: [disk], boot: 'c', more, ...debug });
  }

  const says = async (pattern: RegExp): Promise<void> => {
    const match = await guest.until(pattern, signal());
    if (!match) throw new Error(`the console never said ${pattern.source}; it ends with\n${guest.console.slice(-2000)}`);
  };
  const finish = async (): Promise<void> => {
    const word = createHash('sha256').update(`done ${KEY}`).digest('hex');
    await network.namespace.exec(['sh', '-c', `echo "done ${word}" | busybox nc -w 2 ${MACHINE} 10000`]);
  };

  it.each([
    ['the kernel’s own target', 'amd64-cloud'],
    ['tgtd', 'amd64-cloud-tgt'],
    ...(missingArm === undefined ? [['the kernel of arm64', 'arm64-cloud']] : []),
  ] as [string, string][])(
    'exports its disk by %s to whoever knows the secret, and to nobody when it is done',
    async (_, flavour) => {
      const disk = blank(join(folder, 'disk'));
      await start(flavour, `iscsi_target_iqn=${IQN} iscsi_initiator=${INITIATOR}`, disk);
      await says(/posted; waiting for the image/);
      expect(Object.fromEntries(new URLSearchParams(posts.trim()))).toEqual({ i: '7', k: KEY, a: MACHINE, n: IQN, p: '3260', l: '1' });

      const user = IQN.replace(/^.*:/, 'bms-');
      const secret = createHash('sha256').update(`chap ${KEY}`).digest('hex').slice(0, 32);
      const login = async (credentials: string, initiator = INITIATOR): Promise<{ code: number | null; output: string }> => {
        const url = `iscsi://${credentials}${MACHINE}/${IQN}/1`;
        return network.namespace.exec(['timeout', '20', 'iscsi-inq', '-i', initiator, '-e', '1', '-c', '128', url]);
      };
      expect((await login('')).output).toMatch(/[Ff]ailed|refused|[Aa]uth/);
      for (const [credentials, initiator] of [
        ['', INITIATOR],
        [`${user}%${'0'.repeat(32)}@`, INITIATOR],
        [`nobody%${secret}@`, INITIATOR],
        [`${user}%${secret}@`, 'iqn.2026-11.io.bms:somebody'],
      ] as const) {
        const { code, output } = await login(credentials, initiator);
        expect([credentials.replace(secret, '…'), initiator, code === 0, output.includes('LAB0')]).toEqual([
          expect.any(String),
          initiator,
          false,
          false,
        ]);
      }
      const { code, output } = await login(`${user}%${secret}@`);
      expect([code, output]).toEqual([0, expect.stringContaining('LAB0')]);

      // Whoever says anything else is not heard.
      await network.namespace.exec(['sh', '-c', `echo "done ${'0'.repeat(64)}" | busybox nc -w 2 ${MACHINE} 10000`]);
      expect(guest.console).not.toMatch(/done; restarting/);
      await finish();
      await says(/the iSCSI target and its secret are gone/);
      await says(/done; restarting/);
      expect(guest.console).not.toContain(secret);
      // The kernel prints its command line, if nobody told it `quiet`; the ramdisk prints nothing of it.
      expect(guest.console.match(/^bms: .*/gm)?.join('\n')).not.toContain(KEY);
    },
    LIMIT_MS,
  );

  it(
    'goes straight into the system on its disk where that is wished for',
    async () => {
      const disk = join(folder, 'disk');
      copyFileSync(IMAGE, disk, constants.COPYFILE_FICLONE);
      await start('amd64-cloud-kexec', `iscsi_target_iqn=${IQN} bms_restart=kexec`, disk);
      await says(/posted; waiting for the image/);
      await finish();
      await says(/straight into \/boot\/vmlinuz/);
      // the guest's machine is one that ends at a restart: what comes now has seen no firmware
      await says(/BMS-MARKER booted from \/dev\/vda3 by BIOS/);
    },
    LIMIT_MS,
  );

  it.each([
    ['amd64-cloud-kexec', /no kexec: \/dev\/vda has no boot menu that this ramdisk can read; through the firmware/],
    ['amd64-cloud', /no kexec: this ramdisk was not built with --kexec; through the firmware/],
  ])(
    '%s says why it restarts through the firmware all the same',
    async (flavour, sentence) => {
      await start(flavour, `iscsi_target_iqn=${IQN} bms_restart=kexec`, blank(join(folder, 'disk')));
      await says(/posted; waiting for the image/);
      await finish();
      await says(sentence);
    },
    LIMIT_MS,
  );

  it(
    'tells an inspection which switch its card hangs on',
    async () => {
      const socket = join('/tmp', `bms-lldpd-${process.pid}`);
      await start('amd64-cloud', 'bms_action=inspect', blank(join(folder, 'disk')));
      network.namespace.spawn(['lldpd', '-d', '-I', 'tap0', '-u', socket, '-S', 'A switch']);
      await says(/listening to what the switches say/);
      let pauses = 0;
      for (; !/inspected/.test(guest.console) && pauses < 100; pauses++) {
        if (pauses % 5 === 0) await network.namespace.exec(['lldpcli', '-u', socket, 'configure', 'lldp', 'tx-interval', '1']);
        if (pauses % 5 === 0) await network.namespace.exec(['lldpcli', '-u', socket, 'update']);
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      rmSync(socket, { force: true });
      const parsed = parseReport(Buffer.from(posts.trim()));
      const facts = parsed.kind === 'report' ? parsed.report.facts : undefined;
      expect(facts).toMatchObject({
        disks: [{ name: 'vda', serial: 'LAB0', sizeBytes: 64 * MIB }],
        interfaces: [
          {
            mac: MAC,
            linkUp: true,
            switchId: expect.stringMatching(/^..(:..){5}$/),
            lldp: { systemDescription: 'A switch', portDescription: 'tap0' },
          },
        ],
      });
    },
    LIMIT_MS,
  );
});

/** The same packages, whatever the folder, the time zone, the language and the permissions of who builds. */
describe.skipIf(missing !== undefined)('002-7: the ramdisk, built again', () => {
  it.each(['amd64-cloud', 'amd64-cloud-kexec'])(
    '%s is the same, byte for byte',
    (flavour) => {
      const folder = mkdtempSync(join(tmpdir(), 'bms-again-'));
      try {
        const flags = ['--profile', 'cloud', '--arch', 'amd64', ...(flavour.endsWith('kexec') ? ['--kexec'] : []), '--out', folder];
        const command = `umask 077; exec "${process.execPath}" --import tsx images/ramdisk/build.ts ${flags.join(' ')}`;
        const built = spawnSync('sh', ['-c', command], {
          env: { PATH: process.env.PATH, TZ: 'Pacific/Chatham', LC_ALL: 'C' },
          encoding: 'utf8',
        });
        expect([built.status, built.stderr]).toEqual([0, '']);
        for (const file of ['deploy_kernel', 'deploy_ramdisk']) {
          const [first, again] = [join(FLAVOURS, flavour, file), join(folder, file)].map((path) =>
            createHash('sha256').update(readFileSync(path)).digest('hex'),
          );
          expect([file, again]).toEqual([file, first]);
          expect(built.stdout).toContain(`SHA-256 ${first}`);
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    LIMIT_MS,
  );
});

const debug = process.env.LAB_LOG ? { onLine: (line: string) => console.error(line) } : {};

const HELPER = `require('node:http').createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => (body += chunk));
  request.on('end', () => { console.log(body); response.end(); });
}).listen(10000, '${SERVER}')`;

function blank(path: string): string {
  writeFileSync(path, '');
  truncateSync(path, 64 * MIB);
  return path;
}

type Machine = Pick<Guest, 'console' | 'until' | 'stop'>;

/** One of arm64's `virt` machines; its serial line needs no word on the command line. */
async function armMachine(network: LabNetwork, disk: string, more: readonly string[]): Promise<Machine> {
  const tap = await network.tap();
  const child = network.namespace.spawn([
    ...[
      'qemu-system-aarch64',
      '-machine',
      'virt',
      '-cpu',
      'cortex-a57',
      '-m',
      '512',
      '-nodefaults',
      '-display',
      'none',
      '-serial',
      'stdio',
      '-no-reboot',
    ],
    ...['-netdev', `tap,id=lan,ifname=${tap},script=no,downscript=no`, '-device', `virtio-net-pci,netdev=lan,mac=${MAC},romfile=`],
    ...[
      '-drive',
      `if=none,id=disk0,format=raw,file=${disk}`,
      '-device',
      'virtio-blk-pci,drive=disk0,serial=LAB0',
      '-device',
      'virtio-rng-pci',
    ],
    ...more,
  ]);
  let text = '';
  let ended = false;
  const heard = (chunk: Buffer): void => {
    text += chunk.toString('latin1');
  };
  child.stdout?.on('data', heard);
  child.stderr?.on('data', heard);
  const exited = new Promise<void>((resolve) =>
    child.once('exit', () => {
      ended = true;
      resolve();
    }),
  );
  return {
    get console() {
      return text;
    },
    until: async (pattern, signal) => {
      while (!pattern.test(text) && !ended && !signal.aborted) await new Promise((resolve) => setTimeout(resolve, 50));
      return pattern.exec(text) ?? undefined;
    },
    stop: async () => {
      if (!ended) child.kill('SIGKILL');
      await exited;
    },
  };
}
