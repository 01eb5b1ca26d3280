/** Where passwords and keys are: files of this replica, or encrypted in the store that replicas share; and Secrets that Kubernetes mounts. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { BmsCoreConfig } from 'cdk8s-baremetal-contract';
import type { Logger } from '../core/logger.ts';
import type { Random } from '../core/random.ts';
import { FileSecretStore, MountedCredentials, SecretKeyFile, type SecretStore, SharedSecretStore } from '../machine/index.ts';
import { secretErrors } from '../machine/secrets/errors.ts';
import type { Store } from '../store/index.ts';
import { type Role, startRole } from './role.ts';

export interface SecretRole extends Role {
  readonly secrets: SecretStore;
}

export interface SecretsOptions {
  readonly config: BmsCoreConfig;
  readonly store: Store;
  readonly stateDirectory: string;
  readonly random: Random;
  readonly logger: Logger;
}

export function startSecrets({ config, store, stateDirectory, random, logger }: SecretsOptions): Promise<SecretRole> {
  return startRole(async (closing) => {
    const mounted = (others: SecretStore): SecretStore => new MountedCredentials(config.ipmi.credentials_dir, others);
    const { url, secrets_key_file: keyFile } = config.store;
    if (keyFile === undefined) {
      const alone = config.sw_coordination.backend_url.startsWith('memory:') || url.startsWith('sqlite:') || url.startsWith('memory:');
      if (!alone) throw secretErrors.SECRET_KEY_MISSING({ store: url });
      return { secrets: mounted(new FileSecretStore(join(stateDirectory, 'secrets'))) };
    }
    const keys = new SecretKeyFile(keyFile);
    const shared = new SharedSecretStore({ store, keys, random });
    closing(() => shared.close());
    const { secrets, missing } = await shared.checkKeys();
    const key = keys.writing.id;
    const moved = await takeOverFiles(join(stateDirectory, 'secrets'), shared);
    if (moved > 0) logger.info({ secrets: moved }, 'secrets that were files of this replica are in the store now');
    logger.info({ secrets, key }, 'passwords are encrypted in the store');
    for (const [id, count] of missing) logger.error({ key: id, secrets: count }, 'secrets are under a key that the key file does not have');
    const stop = new AbortController();
    const rewrapping = shared.rewrapAll(stop.signal).then(
      (count) => count > 0 && logger.info({ secrets: count, key }, 'secrets were put under the first key of the key file'),
      (error: unknown) =>
        stop.signal.aborted || logger.error({ error: String(error) }, 'not every secret could be put under the first key'),
    );
    closing(async () => {
      stop.abort();
      await rewrapping;
    });
    return { secrets: mounted(shared) };
  });
}

/** From before there was a key file. What the store has already is newer. A file goes when its secret is in the store. */
async function takeOverFiles(directory: string, shared: SharedSecretStore): Promise<number> {
  if (!existsSync(directory)) return 0;
  const files = new FileSecretStore(directory);
  const names = files.names();
  for (const name of names) {
    if (!(await shared.has(name))) await shared.write(name, await files.read(name));
    await files.remove(name);
  }
  return names.length;
}
