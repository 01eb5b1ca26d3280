/** Completion for bash, zsh and fish: the shells ask bmctl itself, so that they know what this version knows. */
import type { Command } from 'commander';
import type { CommandContext } from '../node-commands.ts';

const SCRIPTS = {
  bash: `_bmctl() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(bmctl __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _bmctl bmctl`,
  zsh: `#compdef bmctl
_bmctl() {
  local -a candidates
  candidates=(\${(f)"$(bmctl __complete -- "\${words[@]:1:$((CURRENT-1))}" 2>/dev/null)"})
  compadd -a candidates
}
compdef _bmctl bmctl`,
  fish: `complete -c bmctl -f -a '(bmctl __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'`,
} as const;

export function registerCompletion(program: Command, context: () => Promise<CommandContext>, print: (text: string) => void): void {
  const completion = program.command('completion').description('prints the completion of a shell; e.g. source <(bmctl completion bash)');
  for (const [shell, script] of Object.entries(SCRIPTS)) completion.command(shell).action(() => print(script));
  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      for (const candidate of await candidates(program, words, context)) print(candidate);
    });
}

/** The last word is the one being typed. */
export async function candidates(program: Command, words: readonly string[], context: () => Promise<CommandContext>): Promise<string[]> {
  const typed = words.at(-1) ?? '';
  let command = program;
  let values = 0;
  for (const word of words.slice(0, -1)) {
    if (word.startsWith('-')) continue;
    const next = command.commands.find((one) => one.name() === word);
    if (next) command = next;
    else values += 1;
  }
  const options = command.options.flatMap(({ long }) => (long ? [long] : []));
  if (typed.startsWith('-')) return [...options, '--help'].filter((one) => one.startsWith(typed));
  const names = command.commands.filter((one) => !one.name().startsWith('__')).map((one) => one.name());
  if (names.length > 0) return names.filter((one) => one.startsWith(typed));
  const wanted = command.registeredArguments[values]?.name();
  if (wanted !== 'node' && wanted !== 'machine') return [];
  try {
    const { nodes } = await (await context()).api.ask('listNodes', {}, { query: { limit: 1000 } });
    return nodes.map(({ name }) => name).filter((one) => one.startsWith(typed));
  } catch {
    return []; // a shell wants candidates, not errors
  }
}
