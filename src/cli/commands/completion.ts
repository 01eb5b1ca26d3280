/** Completion for bash, zsh and fish: the shells ask bmctl itself, so that they know what this version knows. */
import type { Command, Option } from 'commander';
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
  for (const [shell, script] of Object.entries(SCRIPTS))
    completion
      .command(shell)
      .description(`for ${shell}`)
      .action(() => print(script));
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
  let taker: Option | undefined;
  for (const word of words.slice(0, -1)) {
    const before = taker;
    taker = undefined;
    if (before !== undefined) continue;
    if (word.startsWith('-')) {
      // `--json` takes nothing, `--image ID` the next word, `--image=ID` has it
      taker = [...command.options, ...program.options].find((one) => (one.long === word || one.short === word) && one.required);
      continue;
    }
    const next = command.commands.find((one) => one.name() === word);
    if (next) command = next;
    else values += 1;
  }
  const known = async (wanted: string | undefined): Promise<string[]> =>
    (await named(wanted, context)).filter((one) => one.startsWith(typed));
  if (taker !== undefined) {
    const { argChoices, long } = taker;
    return argChoices?.filter((one) => one.startsWith(typed)) ?? known(long?.replace('--', ''));
  }
  const options = command.options.flatMap(({ long }) => (long ? [long] : []));
  if (typed.startsWith('-')) return [...options, '--help'].filter((one) => one.startsWith(typed));
  const names = command.commands.filter((one) => !one.name().startsWith('__')).map((one) => one.name());
  if (names.length > 0) return names.filter((one) => one.startsWith(typed));
  const wanted = command.registeredArguments[values]?.name();
  return known(wanted === 'id' ? command.parent?.name() : wanted);
}

/** Names of what bms-core has; of what is not asked for, none. */
async function named(wanted: string | undefined, context: () => Promise<CommandContext>): Promise<string[]> {
  try {
    switch (wanted) {
      case 'node':
      case 'machine':
        return (await (await context()).api.ask('listNodes', {}, { query: { limit: 1000 } })).nodes.map(({ name }) => name);
      case 'image':
        return (await (await context()).api.ask('listImages', {})).images.map(({ id }) => id);
      case 'flavor':
        return (await (await context()).api.ask('listFlavors', {})).flavors.map(({ id }) => id);
      case 'instance':
        return (await (await context()).api.ask('listInstances', {}, { query: { limit: 1000 } })).instances.map(({ name }) => name);
      default:
        return [];
    }
  } catch {
    return []; // a shell wants candidates, not errors
  }
}
