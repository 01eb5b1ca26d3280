/** Which kernel a restart without the firmware goes into, and when there is none: decided by what lies on the disk. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { busyboxShell, dashShell, sourced } from './support.ts';

const base = mkdtempSync(join(tmpdir(), 'ramdisk-restart-'));
afterAll(() => rmSync(base, { recursive: true }));
let number = 0;
let run: string;
beforeEach(() => {
  run = join(base, `run${number++}`);
  mkdirSync(run);
});

const put = (path: string, content: string): void => {
  mkdirSync(dirname(join(run, path)), { recursive: true });
  writeFileSync(join(run, path), content);
};
/** As grub-mkconfig writes it. */
const DEBIAN = `set default="0"
if [ x"\${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
fi
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-1' {
\tload_video
\tinsmod gzio
\techo\t'Loading Linux 6.1.0-56-amd64 ...'
\tlinux\t/boot/vmlinuz-6.1.0-56-amd64 root=UUID=5f4c1c1e-6f0e-4c3e-9d1c-2b1f6f1d8a10 ro  quiet $vt_handoff
\techo\t'Loading initial ramdisk ...'
\tinitrd\t/boot/initrd.img-6.1.0-56-amd64
}
menuentry 'recovery' {
\tlinux\t/boot/vmlinuz-6.1.0-56-amd64 root=UUID=x ro single
\tinitrd\t/boot/initrd.img-6.1.0-56-amd64
}
`;

describe.each([busyboxShell(base), dashShell()].filter((shell) => shell !== undefined))('002-13: under $name', (shell) => {
  const menu = async (): Promise<string> => {
    const { output } = await shell.run(
      sourced(['restart'], `ROOT=$RUN; if read_menu; then echo "$KERNEL|$INITRD|$WORDS"; else echo "none"; fi`),
      {
        RUN: run,
      },
    );
    return output.trim();
  };

  it.each<[string, string, string, string]>([
    [
      'the first entry of grub-mkconfig',
      'boot/grub/grub.cfg',
      DEBIAN,
      '/boot/vmlinuz-6.1.0-56-amd64|/boot/initrd.img-6.1.0-56-amd64|root=UUID=5f4c1c1e-6f0e-4c3e-9d1c-2b1f6f1d8a10 ro quiet',
    ],
    [
      'one of a /boot of its own',
      'grub2/grub.cfg',
      'linux16 /vmlinuz root=/dev/sda2\ninitrd16 /initrd\n',
      '/vmlinuz|/initrd|root=/dev/sda2',
    ],
    ['one without a ramdisk', 'boot/grub/grub.cfg', 'menuentry x {\nlinux /vmlinuz root=/dev/sda1\n}\n', '/vmlinuz||root=/dev/sda1'],
    [
      'a ramdisk of another entry is not its own',
      'boot/grub/grub.cfg',
      'linux /vmlinuz a\n}\nmenuentry y {\ninitrd /initrd\n}\n',
      '/vmlinuz||a',
    ],
    ['none of a menu of another kind', 'boot/grub/grub.cfg', 'blscfg\n', 'none'],
    ['none whose kernel is a variable', 'boot/grub/grub.cfg', 'linux $kernel root=x\n', 'none'],
    ['none with quotes, which would become something else', 'boot/grub/grub.cfg', 'linux /vmlinuz "root=a b"\n', 'none'],
    ['none with two ramdisks', 'boot/grub/grub.cfg', 'linux /vmlinuz a\ninitrd /ucode /initrd\n', 'none'],
    ['none whose kernel is not there', 'boot/grub/grub.cfg', 'linux /gone root=x\n', 'none'],
  ])('%s', async (_, path, content, expected) => {
    put(path, content);
    for (const kernel of ['boot/vmlinuz-6.1.0-56-amd64', 'vmlinuz']) put(kernel, 'a kernel');
    expect(await menu()).toBe(expected);
  });

  it.each([
    ['boot code before the table', { disk: `${'\0'.repeat(10)}code` }, true],
    ['a table alone: its kernel comes over the network', { disk: `${'\0'.repeat(440)}a table` }, false],
    ['a machine of UEFI, from a disk with loaders', { disk: '', 'firmware/efi/x': '', efi: '1' }, true],
    ['a machine of UEFI, from a disk without', { disk: 'code', 'firmware/efi/x': '' }, false],
  ])('starts by itself: %s', async (_, { efi = '', ...files }: Record<string, string>, expected) => {
    for (const [path, content] of Object.entries(files)) put(path, content);
    const { code } = await shell.run(sourced(['restart'], 'starts_itself'), { SYS: run, DISK: join(run, 'disk'), EFI: efi });
    expect(code === 0).toBe(expected);
  });

  it('is through the firmware unless something else is wished for, and says why not when it cannot be', async () => {
    const stubs = 'say() { echo "$1"; }; sync() { :; }; reboot() { echo "reboot $*"; }';
    const restart = (wish: string) => shell.run(sourced(['restart'], `${stubs}; RESTART=${wish}; restart`), { RUN: run, SYS: run });
    expect((await restart('')).output).toBe('done; restarting\nreboot -f\n');
    expect((await restart('kexec')).output).toBe(
      'done; restarting\nno kexec: this ramdisk was not built with --kexec; through the firmware\nreboot -f\n',
    );
  });
});
