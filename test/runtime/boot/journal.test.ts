import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { describe, expect, it } from 'vitest';
import { bootContent } from '../../../src/runtime/boot/boot-content.ts';
import { BootJournal } from '../../../src/runtime/boot/journal.ts';
import { NOT_FOUND } from '../../../src/runtime/boot/tftp/source.ts';
import { MAC, machine, OTHER_MAC } from './dhcp/world.ts';

const ADDRESS = '192.168.50.100';

function journal(): { journal: BootJournal; at: { ms: number } } {
  const at = { ms: 1000 };
  const leaseOf = (address: string) => (address === ADDRESS ? { mac: MAC, address } : undefined);
  return { journal: new BootJournal({ clock: { now: () => at.ms }, leaseOf }), at };
}

describe('what the boot plane saw of a machine, in one place', () => {
  it('002-5: from the DISCOVER to the end of the transfer, in order, and what repeats itself once', () => {
    const { journal: seen, at } = journal();
    for (let time = 0; time < 3; time++)
      seen.dhcp({ mac: MAC, type: 'discover', arch: 7, answer: 'offer', address: ADDRESS, reason: 'reserved' });
    at.ms = 2000;
    seen.dhcp({ mac: MAC, type: 'request', answer: 'ack', address: ADDRESS, reason: 'it took our offer' });
    seen.boot({ protocol: 'tftp', path: 'bootx64.efi', address: ADDRESS, answer: 'file', reasons: [] });
    const remote = { address: ADDRESS, port: 2070 };
    seen.transfer({ remote, file: 'bootx64.efi', bytes: 5, durationMs: 12.4, firstByteMs: 1.2, retransmits: 0, outcome: 'complete' });
    seen.boot({ protocol: 'http', path: 'x\u001b[2J', address: ADDRESS, answer: 'no-such-file', reasons: ['there is none'] });
    seen.download({ remote, file: '/kernel', bytes: 7, durationMs: 20.2, firstByteMs: 2, outcome: 'complete' });
    seen.download({ remote, file: '/kernel', bytes: 0, durationMs: 20.2, outcome: 'failed', detail: 'EIO' });
    expect(seen.of(MAC).map(({ text, count }) => [text, count])).toEqual([
      ['DHCP discover of architecture 7: offer 192.168.50.100, reserved', 3],
      ['DHCP request: ack 192.168.50.100, it took our offer', 1],
      ['TFTP bootx64.efi: file', 1],
      ['TFTP bootx64.efi: complete after 12 ms, 5 bytes, first byte after 1 ms, 0 sent again', 1],
      ['HTTP x?[2J: no-such-file, there is none', 1],
      ['HTTP /kernel: complete after 20 ms, 7 bytes, first byte after 2 ms', 1],
      ['HTTP /kernel: failed after 20 ms, 0 bytes (EIO)', 1],
    ]);
    expect(seen.of('52:54:00:00:00:00')).toEqual([]);
  });

  it('002-5: a configuration that is refused to who holds no lease, or another machine’s, is seen of the machine that it is of', async () => {
    const booting = machine({
      mac: MAC,
      boot: { kind: 'deploy', kernel: 'k', ramdisk: 'r', iscsiTargetIqn: 'iqn.x:y', deploymentId: '7', deploymentKey: 'SECRET' },
    });
    const leaseOf = (address: string) => (address === ADDRESS ? { mac: OTHER_MAC, address } : undefined);
    const seen = new BootJournal({ clock: { now: () => 1000 }, leaseOf });
    const content = bootContent({
      machines: { findMachine: async (mac) => (mac === MAC ? booting : undefined), findMachineByUuid: async () => undefined },
      files: async () => NOT_FOUND,
      leaseOf,
      clock: new VirtualClock(),
      onBoot: (exchange) => seen.boot(exchange),
    });
    const ask = async (path: string, address: string): Promise<void> => {
      const [remote, local] = [
        { address, port: 2070 },
        { address: '192.168.50.20', port: 69 },
      ];
      await content({ protocol: 'tftp', path, remote, local });
    };
    await ask('pxelinux.cfg/01-52-54-00-12-34-56', '192.168.50.66');
    await ask('pxelinux.cfg/01-52-54-00-12-34-56', ADDRESS);
    await ask('pxelinux.cfg/01-52-54-00-00-00-01', '192.168.50.66'); // nobody's
    const texts = seen.of(MAC).map(({ text }) => text);
    expect(texts).toEqual([
      expect.stringContaining('not given to 192.168.50.66, for which no lease is known'),
      expect.stringContaining(`not given to ${ADDRESS}, which ${OTHER_MAC} holds`),
    ]);
    expect(seen.of(OTHER_MAC).map(({ text }) => text)).toEqual([texts[1]]);
    expect(seen.of('52:54:00:00:00:01')).toEqual([]);
    expect(texts.join()).not.toContain('SECRET');
  });

  it('keeps little of many: a flood of made-up machines pushes the oldest out and does not grow', () => {
    const { journal: seen } = journal();
    seen.dhcp({ mac: MAC, type: 'discover', answer: 'none', reason: 'first' });
    for (let number = 0; number < 3000; number++) {
      seen.dhcp({ mac: `x${number}`, type: 'discover', answer: 'none', reason: 'made up' });
      seen.discovered({ mac: `x${number}`, interface: 'eth0' });
      seen.problem({ kind: 'unknown-relay', subject: `10.0.${number}`, detail: 'made up' });
    }
    for (let number = 0; number < 100; number++) seen.dhcp({ mac: 'x2999', answer: 'none', reason: String(number) });
    expect(seen.of(MAC)).toEqual([]);
    expect([seen.of('x2999').length, seen.seenStrangers.length, seen.seenProblems.length]).toEqual([40, 512, 256]);
  });

  it('002-14: a problem once, with its cure, how often and since when', () => {
    const { journal: seen, at } = journal();
    for (at.ms = 1000; at.ms <= 3000; at.ms += 1000)
      seen.problem({ kind: 'rival-server', subject: '192.168.50.1', mac: MAC, detail: '192.168.50.1 answers DHCP requests' });
    expect(seen.seenProblems).toMatchObject([{ subject: '192.168.50.1', firstMs: 1000, lastMs: 3000, count: 3 }]);
    expect(seen.seenProblems[0]?.cure).toContain('mode = proxy');
  });
});
