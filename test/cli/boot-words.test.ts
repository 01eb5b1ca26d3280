/** What bmctl explain and bmctl boot say to who is woken at night. */
import { bootReport as bootReportSchema, explanation } from 'cdk8s-baremetal-contract/api/index';
import { describe, expect, it } from 'vitest';
import { bootReport, type CommandContext, explainMac } from '../../src/cli/node-commands.ts';

const MAC = '52:54:00:12:34:56';
const quiet = bootReportSchema.parse({ problems: [], strangers: [], discovered: [], missingLoaders: [] });

async function said(work: (at: CommandContext) => Promise<void>, answers: Readonly<Record<string, unknown>>): Promise<string> {
  const lines: string[] = [];
  const api = { ask: async (operation: string) => answers[operation] };
  await work({ api, asJson: false, print: (text: string) => lines.push(text) } as unknown as CommandContext);
  return lines.join('\n');
}

describe('bmctl explain', () => {
  const request = (name: string, answer: string, ...reasons: string[]) => ({ request: name, answer, reasons });
  const told = (answers: readonly ReturnType<typeof request>[], more: object = {}) =>
    explanation.parse({ mac: MAC, machine: 'bm-1', state: 'active', reason: 'r', answers, seen: [], ...more });

  it('says once what is answered the same for the same reasons, and apart what is not', async () => {
    const answers = [
      request('DHCP', 'nothing', 'a'),
      request('TFTP x', 'nothing', 'a'),
      request('HTTP y', 'nothing', 'b'),
      request('iPXE', 'z', 'a'),
    ];
    const text = await said((at) => explainMac(at, MAC), { explainMac: told(answers), bootReport: quiet });
    expect(text).toContain('  DHCP\n  TFTP x\n    → nothing\n      because a\n  HTTP y\n    → nothing\n      because b\n  iPXE\n    → z\n');
  });

  it('says which loaders are named and not there, and what was seen also while nothing can be answered', async () => {
    const explainAnswer = told([], { problem: 'the store is away', boot: ['DHCP discover'] });
    const text = await said((at) => explainMac(at, MAC), {
      explainMac: explainAnswer,
      bootReport: { ...quiet, missingLoaders: ['no pxelinux.0'] },
    });
    expect(text).toMatch(
      /Nothing can be answered now: the store is away\n\nBut here:\n {2}- no pxelinux\.0\n\nThe boot plane saw:\n {2}DHCP discover/,
    );
  });
});

describe('bmctl boot', () => {
  const seen = { interface: 'eth0', first: 'f', last: 'l', count: 1 };
  it('002-5: lists what was discovered with the way on, and strangers that are not among them', async () => {
    const report = bootReportSchema.parse({
      ...quiet,
      problems: [{ kind: 'discovery-limited', subject: 'rate', detail: 'too many', cure: 'look', ...seen }],
      discovered: [{ name: 'discovered-525400123456', macs: [MAC], arch: 7, interface: 'eth0', relay: '10.0.0.1', since: 's' }],
      strangers: [
        { mac: MAC, ...seen },
        { mac: '52:54:00:99:99:99', ...seen },
      ],
    });
    const text = await said(bootReport, { bootReport: report });
    expect(text).toContain('- too many (once, last at l).\n  → look');
    expect(text).toMatch(
      /complete them \(1\):\nNAME.*\ndiscovered-525400123456 +52:54:00:12:34:56 +7 +eth0 by 10\.0\.0\.1 +s\n {2}→ bmctl enrol/,
    );
    expect(text.split(MAC)).toHaveLength(2); // not among the strangers again
    expect(text).toContain('52:54:00:99:99:99');
  });
});
