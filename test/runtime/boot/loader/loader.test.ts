import { spawnSync } from 'node:child_process';
import { CodedError } from 'cdk8s-baremetal-contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LoaderFormat, type LoaderMenu, menuOf, renderLoaderConfig } from '../../../../src/runtime/boot/loader/index.ts';
import type { BootIntent } from '../../../../src/runtime/boot/machine.ts';
import { findProgram } from '../../../support/netns.ts';

const UUID = '8d0f5a5e-6c1b-4a55-9d53-0d1c3b1f9a10';
const MAC = '52:54:00:12:34:56';
const LEASE = { mac: MAC, address: '10.0.0.9', server: '10.0.0.1', gateway: '10.0.0.254', netmask: '255.255.255.0' };
const FORMATS: readonly LoaderFormat[] = ['pxelinux', 'grub', 'ipxe'];

function deploy(over: Partial<BootIntent & { kind: 'deploy' }> = {}): BootIntent {
  return { kind: 'deploy', kernel: 'k', ramdisk: 'r', iscsiTargetIqn: 'iqn-x', deploymentId: '7', deploymentKey: 'KEY', ...over };
}

function render(format: LoaderFormat, boot: BootIntent, lease?: typeof LEASE): string {
  const menu = menuOf(UUID, boot) as LoaderMenu;
  return renderLoaderConfig(format, menu, { mac: MAC, pxelinuxLocal: 'localboot', ...(lease && { lease }) });
}

describe('GRUB', () => {
  it('writes what ipappend 3 would have added', () => {
    expect(render('grub', deploy({ append: 'quiet' }), LEASE)).toBe(
      [
        'set timeout=0',
        'set default=deploy',
        '',
        'menuentry deploy --id deploy {',
        `  linux /${UUID}/deploy_kernel selinux=0 disk=cciss/c0d0,sda,hda,vda iscsi_target_iqn=iqn-x deployment_id=7 deployment_key=KEY troubleshoot=0 quiet BOOTIF=01-52-54-00-12-34-56 ip=10.0.0.9:10.0.0.1:10.0.0.254:255.255.255.0`,
        `  initrd /${UUID}/deploy_ramdisk`,
        '}',
        '',
      ].join('\n'),
    );
  });

  it('quotes what its language would read as syntax', () => {
    expect(render('grub', deploy({ append: 'a=$x;y {z}' }))).toContain(" 'a=$x;y' '{z}' ");
  });
});

const checker = findProgram('grub-script-check');
if (checker === undefined)
  console.warn('SKIPPED: GRUB reads our configurations: grub-script-check is missing (Debian package grub-common)');
describe.skipIf(checker === undefined)('GRUB reads our configurations', () => {
  const cases: { name: string; boot: BootIntent }[] = [
    { name: 'deploy', boot: deploy({ append: 'quiet a=$x;y {z} #c', next: { kernel: 'k', ramdisk: 'r' } }) },
    { name: 'network', boot: { kind: 'network', kernel: 'k', ramdisk: 'r', root: 'UUID=1' } },
    { name: 'local disk', boot: { kind: 'local-disk' } },
  ];
  it.each(cases)('$name', ({ boot }) => {
    const { status, stderr } = spawnSync(checker ?? '', { input: render('grub', boot, LEASE) });
    expect(status, stderr.toString()).toBe(0);
  });

  it('and would tell when it could not', () => {
    expect(spawnSync(checker ?? '', { input: 'menuentry x {' }).status).not.toBe(0);
  });
});

describe('iPXE', () => {
  it('loads kernel and ramdisk beside the script, and tries again', () => {
    const text = render('ipxe', deploy());
    expect(text).toMatch(/^#!ipxe\n/);
    expect(text).toContain(`kernel ${UUID}/deploy_kernel initrd=deploy_ramdisk selinux=0 `);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: expanded by iPXE
    expect(text).toContain('BOOTIF=01-52-54-00-12-34-56 ip=${ip}:${next-server}:${gateway}:${netmask} || goto failed');
    expect(text).toContain(`initrd ${UUID}/deploy_ramdisk || goto failed\n`);
  });
});

describe('values that a configuration cannot carry are refused by name, without the value', () => {
  const cases: { name: string; boot: BootIntent; formats: readonly LoaderFormat[]; code: string; says: RegExp }[] = [
    {
      name: 'a line break in the key',
      boot: deploy({ deploymentKey: 'SECRET\nx' }),
      formats: FORMATS,
      code: 'LOADER_BAD_VALUE',
      says: /deployment_key contains a line break/,
    },
    { name: 'a quote', boot: deploy({ append: `x='y'` }), formats: FORMATS, code: 'LOADER_BAD_VALUE', says: /value of x contains "'"/ },
    {
      name: 'a space in the IQN',
      boot: deploy({ iscsiTargetIqn: 'iqn x' }),
      formats: FORMATS,
      code: 'LOADER_BAD_VALUE',
      says: /iscsi_target_iqn contains a space/,
    },
    {
      name: 'a carriage return',
      boot: deploy({ append: 'a\rb' }),
      formats: FORMATS,
      code: 'LOADER_BAD_VALUE',
      says: /a kernel argument contains a line break/,
    },
    { name: 'a letter beyond ASCII', boot: deploy({ append: 'a=名' }), formats: FORMATS, code: 'LOADER_BAD_VALUE', says: /U\+540d/ },
    { name: 'an expansion', boot: deploy({ append: 'a=$b' }), formats: ['ipxe'], code: 'LOADER_BAD_VALUE', says: /contains "\$"/ },
    { name: 'iPXE syntax', boot: deploy({ append: 'a || shell' }), formats: ['ipxe'], code: 'LOADER_BAD_VALUE', says: /contains "\|\|"/ },
    { name: 'an empty id', boot: deploy({ deploymentId: '' }), formats: FORMATS, code: 'LOADER_EMPTY_VALUE', says: /deploymentId/ },
    {
      name: 'too long a line',
      boot: deploy({ append: 'x '.repeat(1100) }),
      formats: FORMATS,
      code: 'LOADER_COMMAND_LINE_TOO_LONG',
      says: /2047/,
    },
  ];
  it.each(cases)('$name', ({ boot, formats, code, says }) => {
    for (const format of formats) {
      const failure = attempt(() => render(format, boot));
      expect(failure).toMatchObject({ code });
      expect(failure?.message).toMatch(says);
      expect(failure?.message).not.toContain('SECRET');
    }
  });

  it('no value can add a line of its own', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...FORMATS),
        fc.string({ unit: 'binary' }),
        fc.string({ unit: 'binary', minLength: 1 }),
        (format, append, iscsiTargetIqn) => {
          const plain = render(format, deploy()).split('\n').length;
          const text = attemptText(() => render(format, deploy({ append, iscsiTargetIqn })));
          if (text !== undefined) expect(text.split('\n').length).toBe(plain);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

function attempt(work: () => unknown): CodedError | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
}

function attemptText(work: () => string): string | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof CodedError) return undefined;
    throw error;
  }
}
