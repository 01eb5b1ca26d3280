/**
 * `$name`, `${name}` and `$section.name` within values, as oslo.config resolves them (Python's string.Template, and a
 * backslash before the dollar sign as a second way to escape it). Anything else that follows a dollar sign leaves it alone.
 */

// [a-z] with Python's IGNORECASE also matches these four letters; leaving them out would cut a name short.
const LETTER = '_a-zA-Z\\u0130\\u0131\\u017f\\u212a';
const REFERENCE = new RegExp(`\\$(?:(\\$)|([${LETTER}][.0-9${LETTER}]*)|\\{([${LETTER}][.0-9${LETTER}]*)\\})`, 'g');

/** Replaces each reference by `lookup(name)` and each escaped dollar sign by a plain one. What lookup throws passes through. */
export function substitute(value: string, lookup: (name: string) => string): string {
  if (!value.includes('$')) return value;
  return value.replaceAll('\\$', '$$$$').replace(REFERENCE, (_match, escaped?: string, named?: string, braced?: string) => {
    return escaped === undefined ? lookup(named ?? braced ?? '') : '$';
  });
}

/**
 * The text that `substitute` turns back into `value`: every `$` doubled. Behind a backslash it becomes `\$` instead,
 * since the reader takes `\$` for an escaped dollar sign before it looks at doubled ones.
 */
export function escapeDollars(value: string): string {
  return value.replace(/\$/g, (_dollar, at: number) => (value.charAt(at - 1) === '\\' ? '\\$' : '$$'));
}
