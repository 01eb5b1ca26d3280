/** Files that somebody names on the command line. */
import { createReadStream, readFileSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { replaceFile } from 'cdk8s-baremetal-runtime/core/replace-file';
import { commandErrors } from './errors.ts';
import { ExitError, exitCode } from './exit-codes.ts';
import { secretErrors } from './secret-input.ts';

/** @throws ExitError BMCTL_SECRET_FILE, with the file's name: Node leaves it out of what it says of a folder */
export function readNamedFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw notRead(path, error);
  }
}

/** Of a file that may be too large to be one text. @throws ExitError BMCTL_SECRET_FILE */
export function streamNamedFile(path: string): Readable {
  try {
    if (statSync(path).isDirectory()) throw new Error('EISDIR');
  } catch (error) {
    throw notRead(path, error);
  }
  return createReadStream(path);
}

/** Whole or not at all, for the owner alone. @throws ExitError BMCTL_FILE_NOT_WRITTEN */
export function replaceNamedFile(path: string, text: string): void {
  try {
    replaceFile(path, text, 0o600);
  } catch (error) {
    throw new ExitError(exitCode.usage, commandErrors.BMCTL_FILE_NOT_WRITTEN({ path, why: codeOf(error) }, { cause: error }));
  }
}

function notRead(path: string, error: unknown): ExitError {
  return new ExitError(exitCode.usage, secretErrors.BMCTL_SECRET_FILE({ path, why: codeOf(error) }, { cause: error }));
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : error instanceof Error ? error.message : String(error);
}
