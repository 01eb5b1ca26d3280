/**
 * BMC credentials that Kubernetes mounts: [ipmi] credentials_dir has a folder for each Secret, with the files `username` and `password`. A machine
 * names them by `credentials.<name of the Secret>`; all else is in the other store. Read each time, since the kubelet replaces them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { machineErrors } from '../errors.ts';
import { checkedName, type SecretStore } from '../secrets.ts';
import { secretErrors } from './errors.ts';

const PREFIX = 'credentials.';

/** What a machine's `passwordRef` is for a mounted Secret. */
export function mountedRef(secretName: string): string {
  return `${PREFIX}${secretName}`;
}

export class MountedCredentials implements SecretStore {
  constructor(
    private readonly directory: string,
    private readonly others: SecretStore,
  ) {}

  async read(name: string): Promise<Secret> {
    return name.startsWith(PREFIX) ? new Secret(this.#file(name, 'password')) : this.others.read(name);
  }

  /** The user name that goes with it, of a `credentials.…`. SECRET_UNKNOWN when there is none. */
  async username(name: string): Promise<string> {
    return this.#file(name, 'username');
  }

  async write(name: string, value: Secret): Promise<void> {
    if (name.startsWith(PREFIX)) throw secretErrors.SECRET_MOUNTED({ name });
    await this.others.write(name, value);
  }

  async remove(name: string): Promise<void> {
    if (!name.startsWith(PREFIX)) await this.others.remove(name);
  }

  #file(name: string, file: 'username' | 'password'): string {
    try {
      // People make Secrets from files, and files end in a line break.
      return readFileSync(join(this.directory, checkedName(name).slice(PREFIX.length), file), 'utf8').replace(/\r?\n$/, '');
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'ENOENT' || code === 'ENOTDIR') throw machineErrors.SECRET_UNKNOWN({ name });
      throw error;
    }
  }
}
