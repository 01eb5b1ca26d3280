import { describe, expect, it } from 'vitest';
import { BootJournal } from '../../../src/runtime/boot/journal.ts';

const MAC = '52:54:00:12:34:56';
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
    expect(seen.of(MAC).map(({ text, count }) => [text, count])).toEqual([
      ['DHCP discover of architecture 7: offer 192.168.50.100, reserved', 3],
      ['DHCP request: ack 192.168.50.100, it took our offer', 1],
      ['TFTP bootx64.efi: file', 1],
      ['TFTP bootx64.efi: complete after 12 ms, 5 bytes, first byte after 1 ms, 0 sent again', 1],
      ['HTTP x?[2J: no-such-file, there is none', 1],
    ]);
    expect(seen.of('52:54:00:00:00:00')).toEqual([]);
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
