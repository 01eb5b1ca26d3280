/** A command between its two forms: one string with shell quoting, and the list of arguments. */

/**
 * Splits as a POSIX shell does, without any expansion: blanks separate, '…' is literal, "…" keeps all but \" \\ \$ \`
 * and a line continuation, \x is x. Undefined when a quote is left open or a backslash ends the text.
 */
export function splitShellWords(text: string): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === "'") {
      const end = text.indexOf("'", i + 1);
      if (end < 0) return undefined;
      word = (word ?? '') + text.slice(i + 1, end);
      i = end;
    } else if (char === '"') {
      word ??= '';
      for (i++; text.charAt(i) !== '"'; i++) {
        if (i >= text.length) return undefined;
        if (text.charAt(i) === '\\' && '"\\$`\n'.includes(text.charAt(i + 1)) && i + 1 < text.length) {
          i++;
          if (text.charAt(i) === '\n') continue;
        }
        word += text.charAt(i);
      }
    } else if (char === '\\') {
      i++;
      if (i >= text.length) return undefined;
      if (text.charAt(i) !== '\n') word = (word ?? '') + text.charAt(i);
    } else if (char === ' ' || char === '\t' || char === '\n' || char === '\r') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** The word as a shell reads it back, quoted only when it must be. */
export function quoteShellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : alwaysQuoted(word);
}

export function joinShellWords(words: readonly string[]): string {
  return words.map(quoteShellWord).join(' ');
}

/**
 * The fragment that the start script sources: it sets the positional parameters, and can do nothing else, as every word
 * is quoted. `text` tells the script whether it belongs to the command that it is about to run; like $(…), without
 * the newlines at its end.
 */
export function argvFragment({ text, argv }: { readonly text: string; readonly argv: readonly string[] }): string {
  return `launch_text=${alwaysQuoted(text.replace(/\n+$/, ''))}\nset -- ${argv.map(alwaysQuoted).join(' ')}\n`;
}

function alwaysQuoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
