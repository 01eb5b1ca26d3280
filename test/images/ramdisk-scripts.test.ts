/** The ramdisk's decisions, in its own shell and in a stricter one, on made-up machines. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { hardwareFacts } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { busyboxShell, dashShell, type Shell, sourced } from './support.ts';

const base = mkdtempSync(join(tmpdir(), 'ramdisk-scripts-'));
afterAll(() => rmSync(base, { recursive: true }));
let sys: string;
let number = 0;
beforeEach(() => {
  sys = join(base, `machine${number++}`);
  mkdirSync(join(sys, 'block'), { recursive: true });
  mkdirSync(join(sys, 'class/net'), { recursive: true });
});

interface Disk {
  readonly name: string;
  readonly gb?: number;
  readonly serial?: string;
  readonly page80?: string;
  readonly wwid?: string;
  readonly rotational?: boolean;
  readonly removable?: boolean;
  readonly hidden?: boolean;
  readonly blockBytes?: number;
}

function disk({ name, gb = 100, serial, page80, wwid, rotational = false, removable = false, hidden = false, blockBytes }: Disk): void {
  const folder = join(sys, 'block', name.replace('/', '!'));
  mkdirSync(join(folder, 'queue'), { recursive: true });
  mkdirSync(join(folder, 'device'));
  writeFileSync(join(folder, 'size'), `${(gb * 1e9) / 512}\n`);
  writeFileSync(join(folder, 'removable'), removable ? '1\n' : '0\n');
  writeFileSync(join(folder, 'hidden'), hidden ? '1\n' : '0\n');
  writeFileSync(join(folder, 'queue/rotational'), rotational ? '1\n' : '0\n');
  if (blockBytes !== undefined) writeFileSync(join(folder, 'queue/logical_block_size'), `${blockBytes}\n`);
  if (serial !== undefined) writeFileSync(join(folder, 'serial'), serial);
  if (page80 !== undefined)
    writeFileSync(join(folder, 'device/vpd_pg80'), Buffer.concat([Buffer.from([0, 0x80, 0, page80.length]), Buffer.from(page80)]));
  if (wwid !== undefined) writeFileSync(join(folder, 'device/wwid'), `${wwid}\n`);
}

const shells = [busyboxShell(base), dashShell()].filter((shell) => shell !== undefined);
const under = (shell: Shell, parts: readonly string[], script: string, env: Record<string, string> = {}) =>
  shell.run(sourced(parts, script), { SYS: sys, PROC: sys, RUN: sys, ...env });

describe.each(shells)('under $name', (shell) => {
  describe('002-13: the command line', () => {
    const value = async (cmdline: string, script: string): Promise<string> => {
      writeFileSync(join(sys, 'cmdline'), `${cmdline}\n`);
      return (await under(shell, ['cmdline'], `read_cmdline; ${script}`)).output;
    };

    it('gives the words of the original', async () => {
      const cmdline =
        'initrd=x/deploy_ramdisk selinux=0 disk=cciss/c0d0,sda iscsi_target_iqn=iqn.2010-10.org.openstack.baremetal:d1 deployment_id=7 ' +
        'deployment_key=K3Y troubleshoot=1 BOOTIF=01-52-54-00-AB-00-01 ip=10.0.0.5:10.0.0.1:10.0.0.254:255.255.255.0';
      expect(await value(cmdline, 'echo "$IQN|$DEPLOYMENT_ID|$DEPLOYMENT_KEY|$DISKS|$TROUBLESHOOT|$BOOTIF|$IP"')).toBe(
        'iqn.2010-10.org.openstack.baremetal:d1|7|K3Y|cciss/c0d0,sda|1|01-52-54-00-AB-00-01|10.0.0.5:10.0.0.1:10.0.0.254:255.255.255.0\n',
      );
    });

    it.each([
      ['the last of two counts', 'deployment_id=1 deployment_id=2', 'echo "$DEPLOYMENT_ID"', '2\n'],
      ['a word is no pattern', 'deployment_key=*', 'echo "$DEPLOYMENT_KEY"', '*\n'],
      ['a value is no command', 'deployment_key=$(echo,pwned);`id`', 'echo "$DEPLOYMENT_KEY"', '$(echo,pwned);`id`\n'],
      ['another name that ends alike', 'my_deployment_id=9', 'echo "<$DEPLOYMENT_ID>"', '<>\n'],
      ['encoded hints', 'disk_serial=WD%20Blue%25%5Cn', 'printf %s "$HINT_SERIAL" | cat -A', 'WD Blue%\\n'],
    ])('%s', async (_, cmdline, script, expected) => {
      expect(await value(cmdline, script)).toBe(expected);
    });
  });

  describe('the disk', () => {
    const chosen = async (env: Record<string, string> = {}): Promise<string> => {
      const { code, output } = await under(shell, ['disk'], 'choose_disk', env);
      return `${code === 0 ? 'is' : 'none:'} ${output.trim()}`;
    };

    it.each<[string, Disk[], Record<string, string>, string]>([
      ['the first of the list', [{ name: 'sda' }, { name: 'cciss/c0d0' }], { DISKS: 'cciss/c0d0,sda' }, 'is cciss/c0d0'],
      ['the list’s order, not the alphabet', [{ name: 'sda' }, { name: 'vda' }], { DISKS: 'vda,sda' }, 'is vda'],
      ['one disk under another name', [{ name: 'nvme0n1' }], {}, 'is nvme0n1'],
      [
        'one NVMe disk, and not the paths to it',
        [
          { name: 'nvme0c0n1', serial: 'A', hidden: true },
          { name: 'nvme0n1', serial: 'A' },
        ],
        {},
        'is nvme0n1',
      ],
      [
        'one NVMe disk by its serial, which its paths have too',
        [
          { name: 'nvme0c0n1', serial: 'A', hidden: true },
          { name: 'nvme0n1', serial: 'A' },
          { name: 'nvme1n1', serial: 'B' },
        ],
        { HINT_SERIAL: 'A' },
        'is nvme0n1',
      ],
      [
        'two disks under other names',
        [{ name: 'nvme0n1', serial: 'A' }, { name: 'nvme1n1' }],
        {},
        'none: Could not find disk to use: which of nvme0n1 (100 GB, A), nvme1n1 (100 GB, without a serial number)?',
      ],
      [
        'one eMMC, and not what its firmware boots from',
        [{ name: 'mmcblk0' }, { name: 'mmcblk0boot0' }, { name: 'mmcblk0boot1' }],
        {},
        'is mmcblk0',
      ],
      ['no disk', [], {}, 'none: Could not find disk to use.'],
      [
        'no disk but a stick',
        [{ name: 'sda', removable: true }, { name: 'loop0' }, { name: 'sr0' }],
        {},
        'none: Could not find disk to use.',
      ],
      [
        'by serial, although another comes first',
        [
          { name: 'sda', serial: 'A' },
          { name: 'sdb', serial: 'B' },
        ],
        { HINT_SERIAL: 'B' },
        'is sdb',
      ],
      [
        'by a serial of vital product data',
        [
          { name: 'sda', page80: '  WD-1 ' },
          { name: 'sdb', page80: 'WD-12' },
        ],
        { HINT_SERIAL: 'WD-1' },
        'is sda',
      ],
      [
        'by WWN in another spelling',
        [
          { name: 'sda', wwid: 'naa.5000c500a0000001' },
          { name: 'sdb', wwid: 'naa.5000c500a0000002' },
        ],
        { HINT_WWN: '0x5000C500A0000002' },
        'is sdb',
      ],
      [
        'by size',
        [
          { name: 'sda', gb: 480 },
          { name: 'sdb', gb: 960 },
        ],
        { HINT_SIZE_GB: '960' },
        'is sdb',
      ],
      ['by rotation', [{ name: 'sda', rotational: true }, { name: 'sdb' }], { HINT_ROTATIONAL: '0' }, 'is sdb'],
      ['by path', [{ name: 'sda' }, { name: 'sdb' }], { HINT_PATH: '/dev/sdb' }, 'is sdb'],
      [
        'hints that fit two',
        [{ name: 'sda' }, { name: 'sdb' }],
        { HINT_ROTATIONAL: '0' },
        'none: two disks fit the hints for the root disk, sda and sdb; give one more hint',
      ],
      [
        'hints that fit none, with the list at hand',
        [{ name: 'sda', serial: 'A' }],
        { HINT_SERIAL: 'B', DISKS: 'sda' },
        'none: no disk fits the hints for the root disk; there is: sda (100 GB, A)',
      ],
    ])('%s', async (_, disks, env, expected) => {
      for (const one of disks) disk(one);
      expect(await chosen(env)).toBe(expected);
    });
  });

  it.each([
    ['0000:3b:00.0', 'nvme0n1'],
    ['0000:3c:00.0', 'nvme1n1'],
  ])('finds an NVMe disk at the bus address %s by its paths: the disk itself is a virtual device', async (address, expected) => {
    for (const [index, at] of ['0000:3b:00.0', '0000:3c:00.0'].entries()) {
      const hidden = join(sys, `devices/pci0000:3a/${at}/nvme/nvme${index}/nvme${index}c${index}n1`);
      const shown = join(sys, `devices/virtual/nvme-subsystem/nvme-subsys${index}/nvme${index}n1`);
      for (const [folder, isHidden] of [
        [hidden, '1'],
        [shown, '0'],
      ] as const) {
        mkdirSync(folder, { recursive: true });
        writeFileSync(join(folder, 'size'), '200\n');
        writeFileSync(join(folder, 'hidden'), `${isHidden}\n`);
        mkdirSync(join(sys, 'block'), { recursive: true });
        symlinkSync(folder, join(sys, 'block', basename(folder)));
      }
    }
    const { output } = await under(shell, ['disk'], 'choose_disk', { HINT_PATH: address });
    expect(output).toBe(`${expected}\n`);
  });

  it.each([
    ['512 where nothing is said', undefined, '512\n'],
    ['4096 of a disk with such blocks', 4096, '4096\n'],
  ])('knows in which blocks a disk counts: %s', async (_, blockBytes, expected) => {
    disk({ name: 'nvme0n1', ...(blockBytes !== undefined && { blockBytes }) });
    expect((await under(shell, ['disk'], 'disk_block_bytes nvme0n1')).output).toBe(expected);
  });

  it('exports a disk by tgtd in the blocks that it has', async () => {
    const script = 'ln() { :; }; tgtd() { :; }; tgtadm() { echo "$*" >> $RUN/calls; }; DISK=/dev/nvme0n1 DISK_BLOCK_BYTES=4096; start_tgt';
    expect((await under(shell, ['target'], script)).code).toBe(0);
    expect(readFileSync(join(sys, 'calls'), 'utf8')).toContain('--lun 1 --backing-store /dev/nvme0n1 --blocksize 4096\n');
  });

  it('finds the interface that the machine booted from, and never one on top of it', async () => {
    for (const [name, mac] of [
      ['bond0', '52:54:00:ab:00:01'],
      ['eth0', '52:54:00:ab:00:00'],
      ['eth1', '52:54:00:ab:00:01'],
    ] as const) {
      mkdirSync(join(sys, 'class/net', name));
      writeFileSync(join(sys, 'class/net', name, 'address'), `${mac}\n`);
      if (name !== 'bond0') symlinkSync('/sys', join(sys, 'class/net', name, 'device'));
    }
    const { output } = await under(shell, ['net'], 'interface_of "$(boot_mac)"', { BOOTIF: '01-52-54-00-AB-00-01' });
    expect(output).toBe('eth1');
    expect((await under(shell, ['net'], 'echo "<$(boot_mac)>"', { BOOTIF: '01-52-54-00-AB-00-01;reboot' })).output).toBe('<>\n');
  });

  it('posts facts that the deploy-helper takes, whatever a vendor wrote into them', async () => {
    disk({ name: 'sda', serial: 'A"b\\c', wwid: 'naa.5000c500a0000001', rotational: true });
    disk({ name: 'nvme0n1', gb: 960 });
    writeFileSync(join(sys, 'meminfo'), 'MemTotal:       16384000 kB\nMemFree: 1 kB\n');
    mkdirSync(join(sys, 'class/dmi/id'), { recursive: true });
    writeFileSync(join(sys, 'class/dmi/id/sys_vendor'), 'Dull Inc.\t\x01"\n');
    for (const [name, carrier] of [
      ['eth0', '1'],
      ['eth1', '0'],
    ] as const) {
      mkdirSync(join(sys, 'class/net', name, 'device'), { recursive: true });
      writeFileSync(join(sys, 'class/net', name, 'address'), `52:54:00:00:00:0${carrier}\n`);
      writeFileSync(join(sys, 'class/net', name, 'carrier'), `${carrier}\n`);
    }
    const { output } = await under(shell, ['http', 'disk', 'facts'], 'facts');
    const facts = hardwareFacts.parse(JSON.parse(output));
    expect(facts).toMatchObject({
      memoryMb: 16_000,
      firmware: 'bios',
      manufacturer: 'Dull Inc."',
      disks: [
        { name: 'nvme0n1', sizeBytes: 960e9, rotational: false },
        { name: 'sda', serial: 'A"b\\c', wwn: 'naa.5000c500a0000001', rotational: true },
      ],
      interfaces: [
        { name: 'eth0', linkUp: true },
        { name: 'eth1', linkUp: false },
      ],
    });
    expect(facts.cpus).toBeGreaterThan(0);
  });

  it('N1: an error of any characters arrives as it was', async () => {
    const error = 'disk "sda" & co. = 100 % +';
    const { output } = await under(shell, ['http'], 'printf "e=%s" "$(form_value "$TEXT")"', { TEXT: error });
    expect(new URLSearchParams(output).get('e')).toBe(error);
  });
});
