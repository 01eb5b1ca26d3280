/** Where an image comes from. */
import { realpathSync } from 'node:fs';
import { isAbsolute, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { imageCacheErrors } from './errors.ts';

export type Source = { readonly kind: 'file'; readonly path: string } | { readonly kind: 'http'; readonly url: string };

/**
 * A path, a `file:` URL, or an http(s) URL. A file must lie in one of `directories` once links are followed: whoever may name images must not
 * be able to put any file of the management node on a machine. Throws IMAGE_SOURCE.
 */
export function parseSource(text: string, directories: readonly string[] | 'any'): Source {
  if (isAbsolute(text)) return fileIn(text, text, directories);
  const refuse = (reason: string): Error => imageCacheErrors.IMAGE_SOURCE({ source: shown(text), reason });
  if (!URL.canParse(text)) throw refuse('it is neither a URL nor an absolute path');
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') throw refuse('it carries a user or a password, which would be shown and stored');
  if (url.protocol === 'file:') return fileIn(fileURLToPath(url), text, directories);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refuse(`${url.protocol} is not served`);
  url.hash = '';
  return { kind: 'http', url: url.href };
}

/** Without the query and the user, which may hold a signature or a password. */
export function shown(text: string): string {
  if (!URL.canParse(text)) return text.slice(0, 200);
  const url = new URL(text);
  return `${url.protocol}//${url.host}${url.pathname}`;
}

function fileIn(path: string, text: string, directories: readonly string[] | 'any'): Source {
  let real: string;
  try {
    real = realpathSync(path);
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    throw imageCacheErrors.IMAGE_SOURCE({ source: text, reason: missing ? 'there is no such file' : String(cause) }, { cause });
  }
  if (directories === 'any' || directories.some((directory) => isInside(real, directory))) return { kind: 'file', path: real };
  throw imageCacheErrors.IMAGE_SOURCE({ source: text, reason: `it is not in ${directories.join(' or ')}` });
}

function isInside(real: string, directory: string): boolean {
  try {
    return real.startsWith(realpathSync(directory) + sep);
  } catch {
    return false; // a directory that is not mounted holds nothing
  }
}
