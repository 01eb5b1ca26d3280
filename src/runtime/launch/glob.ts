/**
 * Paths that match a pattern, with the rules of Python's glob.glob, which config files were written for: `*`, `?` and
 * `[…]` within one path segment, none of them matches a leading dot, `**` is no more than `*`. Sorted, so that two
 * starts copy in the same order.
 */
import { readdirSync } from 'node:fs';
import { statOf } from './stat-of.ts';

const MAGIC = /[*?[]/;

export function isGlob(pattern: string): boolean {
  return MAGIC.test(pattern);
}

/** `pattern` is absolute; `root` is put before it for looking, and is not part of the answer. A dangling symlink exists. */
export function glob(pattern: string, root = ''): string[] {
  if (!isGlob(pattern)) return exists(root + pattern) ? [pattern] : [];
  let found: string[] = [''];
  for (const segment of pattern.split('/').slice(1)) {
    if (isGlob(segment)) {
      const matches = segmentMatcher(segment);
      found = found.flatMap((directory) =>
        list(root + directory)
          .filter(matches)
          .map((name) => `${directory}/${name}`),
      );
    } else {
      found = found.map((directory) => `${directory}/${segment}`);
    }
  }
  return found.filter((path) => exists(root + path));
}

/** fnmatch for one segment; an unclosed `[` is itself. */
export function segmentMatcher(segment: string): (name: string) => boolean {
  let source = '';
  for (let i = 0; i < segment.length; i++) {
    const char = segment.charAt(i);
    if (char === '*') {
      if (!source.endsWith('.*')) source += '.*';
    } else if (char === '?') {
      source += '.';
    } else if (char === '[') {
      const negated = segment.charAt(i + 1) === '!';
      const from = i + (negated ? 2 : 1);
      const end = segment.indexOf(']', from + 1); // a ] in first place is a member
      if (end < 0) {
        source += '\\[';
      } else {
        const members = characterClass(segment.slice(from, end));
        source += members === '' ? (negated ? '.' : '(?!)') : `[${negated ? '^' : ''}${members}]`;
        i = end;
      }
    } else {
      source += char.replace(/[\\^$.|+(){}\]]/, '\\$&');
    }
  }
  const pattern = new RegExp(`^${source}$`, 's');
  return (name) => (segment.startsWith('.') || !name.startsWith('.')) && pattern.test(name);
}

/** Members of a `[…]`, escaped; a range that runs backwards holds nothing. */
function characterClass(text: string): string {
  const literal = (char: string): string => (/[\\\]^[-]/.test(char) ? `\\${char}` : char);
  let members = '';
  for (let i = 0; i < text.length; i++) {
    const low = text.charAt(i);
    const high = text.charAt(i + 2);
    if (text.charAt(i + 1) === '-' && high !== '') {
      if (low <= high) members += `${literal(low)}-${literal(high)}`;
      i += 2;
    } else {
      members += literal(low);
    }
  }
  return members;
}

function exists(path: string): boolean {
  try {
    return statOf(path) !== undefined;
  } catch {
    return false; // behind a directory that may not be entered
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch {
    return []; // absent, or no directory: nothing in it matches
  }
}
