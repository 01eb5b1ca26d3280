import { prepareTftpboot, type RunProgram } from 'cdk8s-baremetal-runtime/launch/start-bms-core';
import { describe, expect, it } from 'vitest';

function prepare(environmentText: string, { status = 0, mounts = '', mountsTftpboot = true } = {}): { ran: string[][]; printed: string[] } {
  const ran: string[][] = [];
  const printed: string[] = [];
  const run: RunProgram = (command) => {
    ran.push([...command]);
    return { status, stderr: status === 0 ? '' : 'mount.nfs: Connection refused\n' };
  };
  prepareTftpboot({ environmentText, mounts, run, print: (line) => printed.push(line), mountsTftpboot });
  return { ran, printed };
}

describe('000-13: before bms-core starts', () => {
  it('mounts /tftpboot from the VIP with the original options', () => {
    const { ran, printed } = prepare('vip1800=192.168.50.20\n');
    expect(ran).toEqual([['mount', '-t', 'nfs', '-o', 'nolock,vers=3', '192.168.50.20:/tftpboot', '/tftpboot']]);
    expect(printed).toEqual(['vip of vlan 1800: 192.168.50.20']);
  });

  it.each(['', 'vip1800=\n', 'vip401=10.128.192.21\n'])('without a VIP it stops: %j', (text) => {
    expect(() => prepare(text)).toThrow(expect.objectContaining({ code: 'START_VIP_MISSING', message: 'not found vip of vlan 1800' }));
  });

  it('says what could not be mounted', () => {
    expect(() => prepare('vip1800=192.168.50.20\n', { status: 32 })).toThrow(
      expect.objectContaining({ code: 'START_MOUNT', message: expect.stringContaining('mount 192.168.50.20:/tftpboot nfs error') }),
    );
  });

  it('a folder that is mounted already is no error and is not mounted twice', () => {
    const mounts = '36 35 0:32 / /tftpboot rw,relatime shared:1 - nfs 192.168.50.20:/tftpboot rw\n';
    expect(prepare('vip1800=192.168.50.20\n', { mounts }).ran).toEqual([]);
  });

  it('mounts nothing where the folder comes from a volume', () => {
    expect(prepare('vip1800=192.168.50.20\n', { mountsTftpboot: false }).ran).toEqual([]);
  });

  it('the file is data: nothing in it runs', () => {
    const { ran } = prepare('# comment\n\nvip1800=$(touch /tmp/owned)\n');
    expect(ran[0]).toContain('$(touch /tmp/owned):/tftpboot');
    expect(() => prepare('touch /tmp/owned\nvip1800=192.168.50.20\n')).toThrow(expect.objectContaining({ code: 'START_ENVIRONMENT_LINE' }));
  });
});
