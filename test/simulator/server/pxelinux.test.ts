import { chooseLabel, configNames } from 'cdk8s-baremetal-simulator/server/pxelinux';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const MAC = '52:54:00:45:00:01';
const LEASE = {
  address: '192.168.50.120',
  netmask: '255.255.255.0',
  gateway: '192.168.50.1',
  serverId: '192.168.50.20',
  bootServer: '192.168.50.20',
  bootFile: 'pxelinux.0',
};

describe('the names that pxelinux asks for', () => {
  it('002-4: UUID, MAC, the address in hex cut digit by digit, default', () => {
    expect(configNames('9a5e…', MAC, '192.168.50.120')).toEqual([
      'pxelinux.cfg/9a5e…',
      'pxelinux.cfg/01-52-54-00-45-00-01',
      'pxelinux.cfg/C0A83278',
      'pxelinux.cfg/C0A8327',
      'pxelinux.cfg/C0A832',
      'pxelinux.cfg/C0A83',
      'pxelinux.cfg/C0A8',
      'pxelinux.cfg/C0A',
      'pxelinux.cfg/C0',
      'pxelinux.cfg/C',
      'pxelinux.cfg/default',
    ]);
  });

  it('keep leading zeros of each octet', () => {
    expect(configNames('u', MAC, '10.0.0.7')).toContain('pxelinux.cfg/0A000007');
  });
});

const choose = (text: string) => chooseLabel(text, MAC, LEASE);

describe('a pxelinux configuration', () => {
  it.each([
    { what: 'localboot', text: 'default local\nlabel local\nlocalboot 0\n', kind: 'local' },
    { what: 'chain.c32', text: 'default local\nlabel local\nkernel chain.c32\nappend hd0 0\n', kind: 'local' },
    { what: 'keywords in capitals', text: 'DEFAULT local\nLABEL local\nLOCALBOOT 0\n', kind: 'local' },
    {
      what: 'indented, with comments and CR LF',
      text: '# hello\r\n default a \r\n\r\nlabel a\r\n  # why\r\n  localboot 0\r\n',
      kind: 'local',
    },
    { what: 'the label named by default, not the first', text: 'default b\nlabel a\nkernel k\nlabel b\nlocalboot 0\n', kind: 'local' },
    { what: 'a default that is not there', text: 'default c\nlabel a\nlocalboot 0\n', kind: undefined },
    { what: 'no default', text: 'label a\nlocalboot 0\n', kind: undefined },
    { what: 'a label without a kernel', text: 'default a\nlabel a\nappend quiet\n', kind: undefined },
    { what: 'nothing', text: '', kind: undefined },
  ])('$what', ({ text, kind }) => {
    expect(choose(text)?.kind).toBe(kind);
  });

  it.each([
    { what: 'initrd in append', text: 'append initrd=r quiet root=/dev/sda1', initrd: 'r', append: ['quiet', 'root=/dev/sda1'] },
    { what: 'initrd as a line', text: 'initrd r\nappend quiet', initrd: 'r', append: ['quiet'] },
    { what: 'no initrd', text: 'append quiet  splash', initrd: undefined, append: ['quiet', 'splash'] },
    {
      what: 'ipappend 1',
      text: 'append quiet\nipappend 1',
      initrd: undefined,
      append: ['quiet', 'ip=192.168.50.120:192.168.50.20:192.168.50.1:255.255.255.0'],
    },
    { what: 'ipappend 2', text: 'ipappend 2', initrd: undefined, append: ['BOOTIF=01-52-54-00-45-00-01'] },
    {
      what: 'ipappend 3',
      text: 'ipappend 3',
      initrd: undefined,
      append: ['ip=192.168.50.120:192.168.50.20:192.168.50.1:255.255.255.0', 'BOOTIF=01-52-54-00-45-00-01'],
    },
  ])('a kernel, $what', ({ text, initrd, append }) => {
    expect(choose(`default a\nlabel a\nkernel k\n${text}\n`)).toEqual({ kind: 'kernel', kernel: 'k', initrd, append });
  });

  it('never makes the parser throw', () => {
    const line = fc.oneof(fc.string(), fc.constantFrom('default a', 'label a', 'kernel k', 'append initrd=', 'ipappend x', 'localboot'));
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const choice = choose(lines.join('\n'));
        expect(['local', 'kernel', undefined]).toContain(choice?.kind);
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 2_000) },
    );
  });
});
