/** Secrets by name. Records hold the names; only who needs a value asks for it, and nobody stores it again. */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { machineErrors } from './errors.ts';

export interface SecretSource {
  /** SECRET_UNKNOWN when there is none of this name. */
  read(name: string): Promise<Secret>;
}

export interface SecretStore extends SecretSource {
  /** Survives a power cut once it returns; replaces an older value whole. */
  write(name: string, value: Secret): Promise<void>;
  /** Harmless when there is none. */
  remove(name: string): Promise<void>;
}

/** The embedded form: a directory 0700 with one file 0600 per secret. A file that others may read is refused. */
export class FileSecretStore implements SecretStore {
  readonly #directory: string;

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
    this.#directory = directory;
  }

  async read(name: string): Promise<Secret> {
    const path = this.#path(name);
    try {
      const mode = statSync(path).mode & 0o777;
      if ((mode & 0o077) !== 0) throw machineErrors.SECRET_MODE({ path, mode: mode.toString(8) });
      return new Secret(readFileSync(path, 'utf8'));
    } catch (error) {
      if (isMissing(error)) throw machineErrors.SECRET_UNKNOWN({ name });
      throw error;
    }
  }

  async write(name: string, value: Secret): Promise<void> {
    const path = this.#path(name);
    // Beside the target, so that the rename is atomic; "~" cannot begin a name, so it never meets a secret.
    const temporary = join(this.#directory, `~${name}`);
    rmSync(temporary, { force: true });
    const fd = openSync(temporary, 'wx', 0o600);
    try {
      writeSync(fd, value.reveal());
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    this.#syncDirectory();
  }

  async remove(name: string): Promise<void> {
    rmSync(this.#path(name), { force: true });
    this.#syncDirectory();
  }

  /** Of all that there are. */
  names(): string[] {
    return readdirSync(this.#directory).filter((name) => SECRET_NAME.test(name));
  }

  /** The name itself is on the disk only once the directory is. */
  #syncDirectory(): void {
    const fd = openSync(this.#directory, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  #path(name: string): string {
    return join(this.#directory, checkedName(name));
  }
}

export class MemorySecretStore implements SecretStore {
  readonly #values = new Map<string, Secret>();

  async read(name: string): Promise<Secret> {
    const value = this.#values.get(checkedName(name));
    if (value === undefined) throw machineErrors.SECRET_UNKNOWN({ name });
    return value;
  }

  async write(name: string, value: Secret): Promise<void> {
    this.#values.set(checkedName(name), value);
  }

  async remove(name: string): Promise<void> {
    this.#values.delete(checkedName(name));
  }

  /** For tests: which secrets are left. */
  names(): string[] {
    return [...this.#values.keys()];
  }
}

const SECRET_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

/** SECRET_NAME when it cannot be one; it may become a path. */
export function checkedName(name: string): string {
  if (!SECRET_NAME.test(name)) throw machineErrors.SECRET_NAME({ name });
  return name;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
