import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BootRequest, bootName, decideBoot } from '../../../src/runtime/boot/decide-boot.ts';
import { LOADERS } from '../../../src/runtime/boot/loader/arch.ts';
import { type BootIntent, type BootLease, type BootMachine, dashedMac, normalizeMac } from '../../../src/runtime/boot/machine.ts';

const UUID = '8d0f5a5e-6c1b-4a55-9d53-0d1c3b1f9a10';
const MAC = '52:54:00:12:34:56';
const SECOND_MAC = '52:54:00:12:34:99';
const ADDRESS = '192.168.50.100';
const KEY = 'Q8ZK2LMXV0R7T4D1N6B3C5H9J2P8W4YA';
const DEPLOY: BootIntent & { kind: 'deploy' } = {
  kind: 'deploy',
  kernel: 'images/deploy/vmlinuz',
  ramdisk: 'images/deploy/initrd',
  iscsiTargetIqn: `iqn-${UUID}`,
  deploymentId: '7',
  deploymentKey: KEY,
  append: 'nofb nomodeset vga=normal',
  next: { kernel: 'images/user/vmlinuz', ramdisk: 'images/user/initrd' },
};
const NETWORK: BootIntent = { kind: 'network', kernel: 'k', ramdisk: 'r', root: 'UUID=ab-cd', append: 'quiet' };
const LEASE: BootLease = { mac: MAC, address: ADDRESS, server: '192.168.50.20', gateway: '192.168.50.254', netmask: '255.255.255.0' };

function machine(boot: BootIntent, over: Partial<BootMachine> = {}): BootMachine {
  return { id: '7', uuid: UUID, interfaces: [{ mac: MAC }, { mac: SECOND_MAC }], boot, ...over };
}

function file(path: string, over: Partial<BootRequest & { protocol: 'tftp' }> = {}): BootRequest {
  return { protocol: 'tftp', path, address: ADDRESS, lease: LEASE, nowMs: 1000, ...over };
}

function textOf(boot: BootIntent, path: string): string {
  const decision = decideBoot(machine(boot), file(path));
  if (decision.kind !== 'config') throw new Error(`${decision.kind}: ${decision.reasons.join('; ')}`);
  return decision.text;
}

describe('names', () => {
  const names = [
    { path: 'pxelinux.cfg/01-52-54-00-12-34-56', name: { kind: 'config', format: 'pxelinux', mac: MAC } },
    { path: '/tftpboot/pxelinux.cfg/01-52-54-00-12-34-56', name: { kind: 'config', format: 'pxelinux', mac: MAC } },
    { path: '\\pxelinux.cfg\\01-52-54-00-12-34-56', name: { kind: 'config', format: 'pxelinux', mac: MAC } },
    { path: 'grub/grub.cfg-01-52-54-00-12-34-56', name: { kind: 'config', format: 'grub', mac: MAC } },
    { path: '/EFI/debian/grub.cfg-01-52-54-00-12-34-56', name: { kind: 'config', format: 'grub', mac: MAC } },
    { path: `pxelinux.cfg/${UUID.toUpperCase()}`, name: { kind: 'config', format: 'pxelinux', uuid: UUID } },
    { path: 'pxelinux.cfg/C0A83264', name: { kind: 'config', format: 'pxelinux', address: '192.168.50.100' } },
    { path: 'grub/grub.cfg-C0A83264', name: { kind: 'config', format: 'grub', address: '192.168.50.100' } },
    { path: 'grub/grub.cfg', name: { kind: 'config', format: 'grub' } },
    { path: '52-54-00-12-34-56.ipxe', name: { kind: 'config', format: 'ipxe', mac: MAC } },
    { path: '52:54:00:12:34:56.ipxe', name: { kind: 'config', format: 'ipxe', mac: MAC } },
    { path: `${UUID.toUpperCase()}/deploy_kernel`, name: { kind: 'tree', uuid: UUID, entry: 'deploy_kernel' } },
    { path: 'pxelinux.0', name: { kind: 'static', path: 'pxelinux.0' } },
    { path: `${UUID}/other`, name: { kind: 'static', path: `${UUID}/other` } },
    { path: 'menu.ipxe', name: { kind: 'static', path: 'menu.ipxe' } },
  ];
  it.each(names)('002-4: $path', ({ path, name }) => expect(bootName(path)).toEqual(name));

  it.each(['pxelinux.cfg/default', 'pxelinux.cfg/C0A8326', 'pxelinux.cfg/C', 'grub/grub.cfg-C0A8'])(
    '%s would fit several machines and is not served',
    (path) => expect(bootName(path)).toMatchObject({ kind: 'refused', code: 'no-such-file' }),
  );

  it.each(['../etc/passwd', '/../../etc/passwd', '..\\..\\etc\\passwd', '', '/', 'a\0b', `${UUID}/../../x`])('%j leaves the root', (path) =>
    expect(bootName(path)).toMatchObject({ kind: 'refused', code: 'bad-path' }),
  );

  it('no name, however odd, leaves the root or throws', () => {
    const part = fc.oneof(fc.constantFrom('..', '.', '', '/', '\\', 'pxelinux.cfg', '01-', UUID, 'kernel', 'grub.cfg-'), fc.string());
    fc.assert(
      fc.property(
        fc.array(part).map((parts) => parts.join('/')),
        (path) => {
          const decision = decideBoot(machine(DEPLOY), file(path));
          if (decision.kind === 'file') expect(`/${decision.path}/`).not.toMatch(/\/\.\.?\/|\0/);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('other names of the same configuration', () => {
  it.each([`pxelinux.cfg/${UUID.toUpperCase()}`, 'pxelinux.cfg/C0A83264'])('002-4: %s is what 01-<mac> is', (path) =>
    expect(textOf(DEPLOY, path)).toBe(textOf(DEPLOY, `pxelinux.cfg/01-${dashedMac(MAC)}`)),
  );

  it('an address is looked up for the machine that has it, and for no other', () => {
    const other = file('pxelinux.cfg/C0A83265');
    expect(decideBoot(machine(NETWORK), other)).toMatchObject({ kind: 'refuse', code: 'no-such-file' });
    const unknown = file('pxelinux.cfg/8d0f5a5e-6c1b-4a55-9d53-0d1c3b1f9a11');
    expect(decideBoot(machine(NETWORK), unknown)).toMatchObject({ kind: 'refuse', code: 'unknown-machine' });
  });
});

describe('the boot tree', () => {
  const tree = [
    { boot: DEPLOY, entry: 'deploy_kernel', path: 'images/deploy/vmlinuz' },
    { boot: DEPLOY, entry: 'deploy_ramdisk', path: 'images/deploy/initrd' },
    { boot: DEPLOY, entry: 'kernel', path: 'images/user/vmlinuz' },
    { boot: DEPLOY, entry: 'ramdisk', path: 'images/user/initrd' },
    { boot: NETWORK, entry: 'kernel', path: 'k' },
    { boot: NETWORK, entry: 'deploy_kernel', path: undefined },
    { boot: { kind: 'local-disk' } satisfies BootIntent, entry: 'kernel', path: undefined },
  ];
  it.each(tree)('002-4: <uuid>/$entry of a machine to $boot.kind is $path', ({ boot, entry, path }) => {
    const decision = decideBoot(machine(boot), file(`${UUID}/${entry}`));
    expect(decision).toMatchObject(path === undefined ? { kind: 'refuse', code: 'no-such-file' } : { kind: 'file', path });
  });

  it('002-4: <uuid>/config is pxelinux.cfg/01-<mac>, for every interface', () => {
    const text = textOf(NETWORK, `${UUID}/config`);
    for (const mac of [MAC, SECOND_MAC]) expect(textOf(NETWORK, `pxelinux.cfg/01-${dashedMac(mac)}`)).toBe(text);
  });

  it('002-4: the deploy configuration is the seed’s template', () => {
    expect(textOf(DEPLOY, `pxelinux.cfg/01-${dashedMac(MAC)}`)).toBe(
      [
        'default deploy',
        '',
        'label deploy',
        `kernel ${UUID}/deploy_kernel`,
        `append initrd=${UUID}/deploy_ramdisk selinux=0 disk=cciss/c0d0,sda,hda,vda iscsi_target_iqn=iqn-${UUID} deployment_id=7 deployment_key=${KEY} troubleshoot=0 nofb nomodeset vga=normal`,
        'ipappend 3',
        '',
        'label boot',
        `kernel ${UUID}/kernel`,
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the seed's placeholder
        `append initrd=${UUID}/ramdisk root=${'${ROOT}'} ro`,
        '',
      ].join('\n'),
    );
  });

  it('002-4: after the deployment the machine boots its own kernel', () => {
    expect(textOf(NETWORK, `${UUID}/config`)).toBe(
      `default boot\n\nlabel boot\nkernel ${UUID}/kernel\nappend initrd=${UUID}/ramdisk root=UUID=ab-cd ro quiet\n`,
    );
  });
});

describe('N12: after deployment a machine can boot from its disk', () => {
  const paths = [
    { path: `pxelinux.cfg/01-${dashedMac(MAC)}`, says: /^default local\n\nlabel local\nlocalboot 0\n$/ },
    { path: `grub/grub.cfg-01-${dashedMac(MAC)}`, says: /chainloader .*\n[\s\S]*exit 1\n$/ },
    { path: `${dashedMac(MAC)}.ipxe`, says: /sanboot --no-describe --drive 0x80/ },
  ];
  it.each(paths)('N12: $path leaves for the disk', ({ path, says }) => expect(textOf({ kind: 'local-disk' }, path)).toMatch(says));

  it('N12: by chain.c32 where localboot hangs the BIOS', () => {
    const decision = decideBoot(machine({ kind: 'local-disk' }), file(`${UUID}/config`), { pxelinuxLocal: 'chain' });
    expect(decision).toMatchObject({ text: 'default local\n\nlabel local\nkernel chain.c32\nappend hd0 0\n' });
  });

  it('N12: DHCP gives the loader, or nothing where the firmware shall go on by itself', () => {
    const request: BootRequest = { protocol: 'dhcp', mac: MAC, client: 'pxe', arch: 0 };
    expect(decideBoot(machine({ kind: 'local-disk' }), request)).toMatchObject({ kind: 'loader', path: 'pxelinux.0' });
    expect(decideBoot(machine({ kind: 'local-disk' }), request, { localBoot: 'firmware' }).kind).toBe('local');
  });
});

describe('N13: the deployment key', () => {
  const config = `pxelinux.cfg/01-${dashedMac(MAC)}`;
  const cases: {
    name: string;
    boot?: Partial<typeof DEPLOY>;
    request: Partial<BootRequest & { protocol: 'tftp' }>;
    code: string;
    says: RegExp;
  }[] = [
    {
      name: 'an address without a lease',
      request: { lease: undefined, address: '192.168.50.9' },
      code: 'not-lease-holder',
      says: /192\.168\.50\.9, for which no lease is known/,
    },
    {
      name: 'the lease of another machine',
      request: { lease: { ...LEASE, mac: '52:54:00:00:00:01' } },
      code: 'not-lease-holder',
      says: /which 52:54:00:00:00:01 holds/,
    },
    {
      name: 'a lease of another address',
      request: { lease: { ...LEASE, address: '192.168.50.101' } },
      code: 'not-lease-holder',
      says: /not given to/,
    },
    {
      name: 'another address than the one bound',
      boot: { allowedAddress: '192.168.50.40' },
      request: {},
      code: 'not-lease-holder',
      says: /bound to 192\.168\.50\.40/,
    },
    { name: 'a key past its time', boot: { keyExpiresAtMs: 1000 }, request: {}, code: 'key-expired', says: /no longer given out/ },
  ];
  it.each(cases)('N13: is not given to $name', ({ boot, request, code, says }) => {
    for (const path of [config, `${UUID}/config`, `grub.cfg-01-${dashedMac(MAC)}`, `${dashedMac(MAC)}.ipxe`]) {
      const decision = decideBoot(machine({ ...DEPLOY, ...boot }), file(path, request));
      expect(decision).toMatchObject({ kind: 'refuse', code });
      expect(decision.reasons.join('; ')).toMatch(says);
    }
  });

  it('N13: is given to any interface of the machine that holds the address', () => {
    const decision = decideBoot(machine(DEPLOY), file(config, { lease: { ...LEASE, mac: SECOND_MAC } }));
    expect(decision).toMatchObject({ kind: 'config', secret: true });
  });

  it('N13: is in no reason and no error, whatever is wrong with it', () => {
    for (const deploymentKey of [KEY, `${KEY}\nx`, `${KEY}"`, '']) {
      for (const lease of [LEASE, undefined]) {
        const decision = decideBoot(machine({ ...DEPLOY, deploymentKey }), file(config, { lease }));
        expect(decision.reasons.join('; ')).not.toContain(KEY);
      }
    }
    const broken = decideBoot(machine({ ...DEPLOY, deploymentKey: `${KEY}\nx` }), file(config));
    expect(broken).toMatchObject({ kind: 'refuse', code: 'bad-config' });
    expect(broken.reasons.join()).toContain('the value of deployment_key contains a line break');
  });

  it('a configuration without a key is given to whoever asks', () => {
    const decision = decideBoot(machine(NETWORK), file(config, { lease: undefined, address: '192.168.50.9' }));
    expect(decision).toMatchObject({ kind: 'config', secret: false });
  });
});

describe('loaders', () => {
  const archs: { arch: number; path: string; client?: 'pxe' | 'uefi-http'; over?: string }[] = [
    { arch: 0, path: 'pxelinux.0' },
    { arch: 6, path: 'bootia32.efi' },
    { arch: 7, path: 'bootx64.efi' },
    { arch: 9, path: 'bootx64.efi' },
    { arch: 10, path: 'bootarm.efi' },
    { arch: 11, path: 'bootaa64.efi' },
    { arch: 16, path: 'bootx64.efi', client: 'uefi-http', over: 'http' },
    { arch: 15, path: 'bootia32.efi', client: 'uefi-http', over: 'http' },
    { arch: 19, path: 'bootaa64.efi', client: 'uefi-http', over: 'http' },
    { arch: 25, path: 'bootriscv32.efi' },
    { arch: 27, path: 'bootriscv64.efi' },
    { arch: 28, path: 'bootriscv64.efi', client: 'uefi-http', over: 'http' },
    { arch: 39, path: 'bootloongarch64.efi' },
  ];
  it.each(archs)('002-5: architecture $arch gets $path', ({ arch, path, client = 'pxe', over = 'tftp' }) => {
    const decision = decideBoot(machine(DEPLOY), { protocol: 'dhcp', mac: MAC, client, arch }, { http: true });
    expect(decision).toMatchObject({ kind: 'loader', path, over });
  });

  it('002-5: another file by configuration', () => {
    const settings = { loaderFiles: { 7: 'grubnetx64.efi.signed' } };
    expect(decideBoot(machine(DEPLOY), { protocol: 'dhcp', mac: MAC, client: 'pxe', arch: 7 }, settings)).toMatchObject({
      path: 'grubnetx64.efi.signed',
    });
  });

  it('002-5: iPXE gets its script, or the loader where the configuration says so', () => {
    const request: BootRequest = { protocol: 'dhcp', mac: MAC, client: 'ipxe', arch: 0 };
    expect(decideBoot(machine(DEPLOY), request, { http: true })).toMatchObject({ path: `${dashedMac(MAC)}.ipxe`, over: 'http' });
    expect(decideBoot(machine(DEPLOY), request, { http: true, ipxe: 'loader' })).toMatchObject({ path: 'pxelinux.0', over: 'tftp' });
  });

  it('a ROM without option 93 is a BIOS, unless its record knows better', () => {
    expect(decideBoot(machine(DEPLOY), { protocol: 'dhcp', mac: MAC, client: 'pxe' })).toMatchObject({ path: 'pxelinux.0' });
    const arm = machine(DEPLOY, { firmware: 'uefi', arch: 'arm64' });
    expect(decideBoot(arm, { protocol: 'dhcp', mac: MAC, client: 'pxe' })).toMatchObject({ path: 'bootaa64.efi' });
  });

  it('says when record and firmware disagree', () => {
    const decision = decideBoot(machine(DEPLOY, { firmware: 'bios', arch: 'arm64' }), {
      protocol: 'dhcp',
      mac: MAC,
      client: 'pxe',
      arch: 7,
    });
    expect(decision.reasons.filter((reason) => reason.includes('the firmware knows better'))).toHaveLength(2);
  });
});

const intent: fc.Arbitrary<BootIntent> = fc.oneof(
  fc
    .record({ deploymentKey: fc.stringMatching(/^[A-Z0-9]{32}$/), append: fc.constantFrom('', 'quiet', 'a=1 b=2') })
    .map((over) => ({ ...DEPLOY, ...over })),
  fc.constant(NETWORK),
  fc.constant<BootIntent>({ kind: 'local-disk' }),
  fc.constant<BootIntent>({ kind: 'none', reason: 'maintenance' }),
);

describe('one decision for all protocols', () => {
  const request = fc.record({
    path: fc.constantFrom(
      ...[`pxelinux.cfg/01-${dashedMac(MAC)}`, `grub/grub.cfg-01-${dashedMac(MAC)}`, 'grub/grub.cfg', `${dashedMac(MAC)}.ipxe`],
      ...['kernel', 'ramdisk', 'deploy_kernel', 'deploy_ramdisk', 'config'].map((entry) => `${UUID}/${entry}`),
      ...['pxelinux.0', '../x', 'pxelinux.cfg/default'],
    ),
    lease: fc.constantFrom(undefined, LEASE, { ...LEASE, mac: '52:54:00:00:00:01' }),
    known: fc.boolean(),
    nowMs: fc.nat(2000),
  });

  it('002-5: TFTP and HTTP never differ', () => {
    fc.assert(
      fc.property(intent, request, (boot, { path, lease, known, nowMs }) => {
        const subject = known ? machine({ ...boot, ...(boot.kind === 'deploy' && { keyExpiresAtMs: 1000 }) }) : undefined;
        const ask = (protocol: 'tftp' | 'http') =>
          decideBoot(subject, { protocol, path, address: ADDRESS, nowMs, ...(lease && { lease }) });
        expect(ask('http')).toEqual(ask('tftp'));
      }),
    );
  });

  it('002-5: what DHCP names is there, asks for a configuration that is there, which names files that are there', () => {
    fc.assert(
      fc.property(
        intent,
        fc.constantFrom(...LOADERS),
        fc.constantFrom('pxe', 'ipxe', 'uefi-http'),
        fc.constantFrom('tftp', 'http'),
        (boot, loader, client, protocol) => {
          const subject = machine(boot);
          const ask = (path: string) =>
            decideBoot(subject, { protocol, path, address: ADDRESS, lease: LEASE, nowMs: 0 } as const, { http: true });
          const first = decideBoot(subject, { protocol: 'dhcp', mac: MAC, client, arch: loader.arch } as const, { http: true });
          const configPath = { pxelinux: `pxelinux.cfg/01-${dashedMac(MAC)}`, grub: `grub/grub.cfg-01-${dashedMac(MAC)}`, ipxe: '' }[
            loader.format
          ];
          if (boot.kind === 'none') {
            expect([first.kind, ask(configPath).kind]).toEqual(['refuse', 'refuse']);
            return;
          }
          if (first.kind !== 'loader') throw new Error(first.kind);
          const loaded = ask(first.path);
          if (client !== 'ipxe') expect(loaded).toMatchObject({ kind: 'file', path: first.path });
          const config = client === 'ipxe' ? loaded : ask(configPath);
          if (config.kind !== 'config') throw new Error(config.kind);
          for (const [path] of config.text.matchAll(new RegExp(`${UUID}/\\w+`, 'g')))
            expect(ask(path).kind, path).toBe(path.endsWith('config') ? 'config' : 'file');
        },
      ),
    );
  });
});

it('normalizeMac takes what people write, and nothing else', () => {
  for (const text of ['52:54:00:AB:cd:ef', '52-54-00-ab-cd-ef', '525400abcdef']) expect(normalizeMac(text)).toBe('52:54:00:ab:cd:ef');
  for (const text of ['', '52:54:00:ab:cd', '52:54:00:ab:cd:ef:01', '52:54-00:ab-cd:ef', '5g:54:00:ab:cd:ef', ' 52:54:00:ab:cd:ef'])
    expect(normalizeMac(text)).toBeUndefined();
});
