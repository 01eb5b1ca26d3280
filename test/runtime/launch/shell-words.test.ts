import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { argvFragment, joinShellWords, splitShellWords } from '../../../src/runtime/launch/shell-words.ts';

describe('splitShellWords', () => {
  const scenarios: { name: string; text: string; words: string[] | undefined }[] = [
    {
      name: 'plain words',
      text: 'nova-api --config-file /etc/nova/nova.conf',
      words: ['nova-api', '--config-file', '/etc/nova/nova.conf'],
    },
    { name: 'runs of blanks, tabs and newlines', text: '  a \t b\n\nc ', words: ['a', 'b', 'c'] },
    { name: 'single quotes keep everything', text: `a 'b  $c \\ "' d`, words: ['a', 'b  $c \\ "', 'd'] },
    { name: 'double quotes keep blanks and backslashes before letters', text: '"a \\n b"', words: ['a \\n b'] },
    { name: 'escapes inside double quotes', text: '"\\"x\\" \\\\ \\$ \\`"', words: ['"x" \\ $ `'] },
    { name: 'quotes in the middle of a word', text: `--name='a b'c`, words: ['--name=a bc'] },
    { name: 'empty words', text: `a '' ""`, words: ['a', '', ''] },
    { name: 'a backslash outside quotes', text: 'a\\ b', words: ['a b'] },
    { name: 'a line continuation', text: 'a \\\nb', words: ['a', 'b'] },
    { name: 'no words', text: ' \n', words: [] },
    { name: 'no expansion of variables, patterns or substitutions', text: '$HOME * $(x) ~', words: ['$HOME', '*', '$(x)', '~'] },
    { name: 'an open single quote', text: "a 'b", words: undefined },
    { name: 'an open double quote', text: 'a "b', words: undefined },
    { name: 'a backslash at the end', text: 'a \\', words: undefined },
    { name: 'an escape that ends inside double quotes', text: '"\\', words: undefined },
  ];
  for (const { name, text, words } of scenarios) it(`K5: ${name}`, () => expect(splitShellWords(text)).toEqual(words));

  it('any text: words or nothing, and never an exception', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const words = splitShellWords(text);
        expect(words === undefined || words.every((word) => typeof word === 'string')).toBe(true);
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 3000) },
    );
  });

  it('any list of words comes back from its quoted form', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (words) => {
        expect(splitShellWords(joinShellWords(words))).toEqual(words);
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 2000) },
    );
  });
});

describe('argvFragment', () => {
  const nasty = ['', ' ', "it's", '"$HOME"', '`id`', '$(id)', '*', 'a\nb', '\\', '-n', "'; exit 9; '", 'ünï'];
  for (const shell of ['dash', 'bash'])
    it(`K5: ${shell} reads every argument back as it was`, () => {
      const script = `${argvFragment({ text: 'x', argv: nasty })}for word; do printf '%s\\0' "$word"; done`;
      const output = execFileSync(shell, ['-c', script], { encoding: 'utf8' });
      expect(output.split('\0').slice(0, -1)).toEqual(nasty);
    });
});
