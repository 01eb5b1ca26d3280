import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const secretErrors = defineErrors('Secrets in the store', {
  SECRET_KEY_FILE: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `the key file ${path} cannot be used: ${reason}`,
    cure: 'Write 32 random bytes in base64 into it (openssl rand -base64 32), one key a line, mode 0400, 0440 or 0600, the same on every replica',
  }),
  SECRET_KEY_MISSING: entry<{ store: string }>({
    message: ({ store }) => `replicas share ${store}, and no [store] secrets_key_file says how passwords are encrypted in it`,
    cure: 'Mount one key file on every replica and name it; a single replica with [sw_coordination] backend_url = memory:// needs none',
  }),
  SECRET_KEY_WRONG: entry<{ path: string; secrets: number; keys: readonly string[] }>({
    message: ({ path, secrets, keys }) =>
      `none of the ${secrets} secrets in the store can be read with the keys of ${path}: they are encrypted under ${keys.join(', ')}`,
    cure: 'Put the key back that wrote them, as any line of the file; what its id is, the daemon logs when it starts with it',
  }),
  SECRET_KEY_UNKNOWN: entry<{ name: string; key: string; path: string }>({
    message: ({ name, key, path }) => `the secret ${name} is encrypted under the key ${key}, which is not in ${path}`,
    cure: 'Put that key back as any line of the file, or give the password again',
  }),
  SECRET_DAMAGED: entry<{ name: string }>({
    message: ({ name }) => `the secret ${name} was changed in the store, or belongs to another name`,
    cure: 'Give the password again, and find out who else writes to the database',
  }),
  SECRET_MOUNTED: entry<{ name: string }>({
    message: ({ name }) => `the secret ${name} is a mounted Kubernetes Secret and cannot be written from here`,
    cure: 'Change the Secret in the cluster',
  }),
});
