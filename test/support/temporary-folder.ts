import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TemporaryFolder {
  /** For beforeAll or beforeEach. */
  create(): void;
  /** For afterAll or afterEach. */
  remove(): void;
  path(...parts: string[]): string;
}

/** A folder of its own for a test file. */
export function temporaryFolder(): TemporaryFolder {
  let folder: string | undefined;
  return {
    create() {
      folder = mkdtempSync(join(tmpdir(), 'baremetal-test-'));
    },
    remove() {
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
      folder = undefined;
    },
    path(...parts) {
      if (folder === undefined) throw new Error('create the folder first');
      return join(folder, ...parts);
    },
  };
}
