import { lstatSync, type Stats } from 'node:fs';

/** lstat, or undefined when there is nothing: without the cost of an exception in the usual case. */
export function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw error;
  }
}
