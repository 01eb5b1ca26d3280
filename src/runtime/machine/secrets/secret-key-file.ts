/** The keys of [store] secrets_key_file: 32 bytes in base64 a line, the first one writes, all of them read. `#` begins a comment. */
import { readFileSync, statSync } from 'node:fs';
import { secretErrors } from './errors.ts';
import { KEY_BYTES, type SecretKey, secretKey } from './sealed-secret.ts';

export class SecretKeyFile {
  readonly path: string;
  #seen = '';
  #keys: readonly SecretKey[] = [];

  /** SECRET_KEY_FILE when it cannot be used. */
  constructor(path: string) {
    this.path = path;
    this.#load();
  }

  /** The one to write with. The file is looked at each time: Kubernetes replaces mounted Secrets under a running program. */
  get writing(): SecretKey {
    this.#load();
    const [first] = this.#keys;
    if (first === undefined) throw secretErrors.SECRET_KEY_FILE({ path: this.path, reason: 'it holds no key' });
    return first;
  }

  find(id: string): SecretKey | undefined {
    const known = this.#keys.find((key) => key.id === id);
    if (known !== undefined) return known;
    this.#load();
    return this.#keys.find((key) => key.id === id);
  }

  #load(): void {
    const { path } = this;
    const refuse = (reason: string): Error => secretErrors.SECRET_KEY_FILE({ path, reason });
    let text: string;
    try {
      const { mode, mtimeMs, ino, size } = statSync(path);
      const seen = `${mtimeMs} ${ino} ${size} ${mode}`;
      if (seen === this.#seen) return;
      // A group may read: that is what fsGroup makes of a mounted Secret.
      if ((mode & 0o037) !== 0) throw refuse(`others may read or change it (mode ${(mode & 0o777).toString(8)})`);
      text = readFileSync(path, 'utf8');
      this.#seen = seen;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'SECRET_KEY_FILE') throw error;
      throw refuse(error instanceof Error && 'code' in error ? String(error.code) : 'it cannot be read');
    }
    const keys = text.split('\n').flatMap((line, index) => {
      const content = line.trim();
      if (content === '' || content.startsWith('#')) return [];
      const bytes = Buffer.from(content, 'base64');
      const exact = /^[A-Za-z0-9+/]{43}=$/.test(content) && bytes.length === KEY_BYTES;
      if (!exact) throw refuse(`line ${index + 1} is not ${KEY_BYTES} bytes in base64`);
      return [secretKey(bytes)];
    });
    if (keys.length === 0) throw refuse('it holds no key');
    this.#keys = keys;
  }
}
