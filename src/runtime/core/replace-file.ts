import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/**
 * Writes a whole file or nothing: a reader sees the old content or the new one, also after a crash. Needs write permission
 * in the file's folder. Not for concurrent writers of one file.
 * @param mode permission bits of the new file
 */
export function replaceFile(file: string, content: string | Uint8Array, mode = 0o644): void {
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}.tmp`);
  const data = typeof content === 'string' ? Buffer.from(content) : content;
  try {
    const descriptor = openSync(temporary, 'w', mode);
    try {
      for (let written = 0; written < data.length; ) written += writeSync(descriptor, data, written);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
