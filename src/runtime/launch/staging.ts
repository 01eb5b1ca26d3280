/**
 * A set of changes to a file tree that is prepared whole before any of it shows: new files and directories are written
 * beside their destination under a hidden name, and `commit` renames them one after another. A full disk or a missing
 * right is met while preparing, when nothing has changed yet. No fsync: the files of a container die with their machine.
 *
 * Later changes win: a directory that is replaced takes what was prepared below it along.
 */
import {
  closeSync,
  constants as fsConstants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { posix } from 'node:path';
import { CodedError } from 'cdk8s-baremetal-contract/errors';
import { type Attributes, isDressed, type PermissionPolicy, reasonOf, setOnDirectory, setOnFile } from './attributes.ts';
import { launchErrors } from './errors.ts';
import { mountPoints } from './mount-points.ts';
import { kindOf, statOf } from './stat-of.ts';

const COPY_BUFFER_BYTES = 256 * 1024;
const NEW_FILE_FLAGS = fsConstants.O_WRONLY | fsConstants.O_CREAT | fsConstants.O_EXCL | fsConstants.O_NOFOLLOW;
/** A FIFO must not hold the start up. */
const SOURCE_FLAGS = fsConstants.O_RDONLY | fsConstants.O_NONBLOCK;
/** Nobody else reads a secret between its creation and the setting of its mode. */
const PRIVATE_MODE = 0o600;

type Change =
  /** `staged` takes the place of `final`. */
  | { readonly kind: 'place'; readonly final: string; readonly staged: string; readonly directory: boolean }
  | { readonly kind: 'remove'; readonly final: string }
  | { readonly kind: 'remove-if-empty'; readonly final: string }
  | { readonly kind: 'dress'; readonly final: string; readonly attributes: Attributes; readonly source: Stats };

export class Staging {
  private readonly changes = new Map<string, Change>();
  private readonly created: string[] = [];
  /** Directories known to be there. */
  private readonly parents = new Set<string>();
  private buffer: Buffer | undefined;
  private mounts: readonly string[] | undefined;

  constructor(
    private readonly root: string,
    private readonly policy: PermissionPolicy,
  ) {}

  /** Copies the regular file `source` (a path under the root as well) to `final`. */
  file(source: string, final: string, attributes: Attributes): void {
    const input = this.openSource(source);
    try {
      const stats = fstatSync(input);
      if (!stats.isFile()) throw launchErrors.LAUNCH_SOURCE_KIND({ source, kind: kindOf(stats) });
      if (this.untouched(final) && isDressed(this.root + final, attributes, stats) && this.sameContent(input, final)) return;
      this.stageFile(final, (output) => {
        this.pour(input, output, source);
        setOnFile(output, final, attributes, stats, this.policy);
      });
    } finally {
      closeSync(input);
    }
  }

  /** A file of ours with this content and mode, owned by whoever runs this. */
  text(final: string, content: string, mode: number): void {
    if (this.untouched(final) && this.holds(final, content, mode)) return;
    this.stageFile(final, (output) => {
      writeAll(output, Buffer.from(content));
      const stats = fstatSync(output);
      setOnFile(output, final, { kind: 'set', owner: stats, mode }, stats, this.policy);
    });
  }

  symlink(source: string, final: string): void {
    const target = readlinkSync(this.root + source);
    this.stage(final, (path) => symlinkSync(target, path), false);
  }

  /** An empty directory in place of whatever is at `final`; what is staged below it lands in it. */
  directory(final: string, attributes: Attributes, source: Stats): void {
    this.stage(
      final,
      (path) => {
        mkdirSync(path, 0o700);
        setOnDirectory(path, final, attributes, source, this.policy);
      },
      true,
    );
  }

  /** Keeps an existing directory and what is in it, with new owner and mode; else as `directory`. */
  mergedDirectory(final: string, attributes: Attributes, source: Stats): void {
    const inside = this.inside(final);
    if (inside) {
      if (statOf(inside)?.isDirectory()) setOnDirectory(inside, final, attributes, source, this.policy);
      else this.directory(final, attributes, source);
      return;
    }
    const pending = this.changes.get(final);
    const replaced = pending?.kind === 'place' || pending?.kind === 'remove';
    if (pending?.kind === 'place' && pending.directory) setOnDirectory(pending.staged, final, attributes, source, this.policy);
    // a symlink to a directory is one here: it may be how the image lays its directories out
    else if (!replaced && directoryAt(this.root + final)) this.changes.set(final, { kind: 'dress', final, attributes, source });
    else this.directory(final, attributes, source);
  }

  remove(final: string): void {
    if (this.goesWithParent(final)) return;
    const inside = this.inside(final);
    if (inside) {
      rmSync(inside, { recursive: true, force: true });
      return;
    }
    this.discard(final);
    if (!statOf(this.root + final)) return;
    this.refuseMount(final);
    this.changes.set(final, { kind: 'remove', final });
  }

  removeIfEmpty(final: string): void {
    if (!this.goesWithParent(final) && !this.inside(final) && !this.changes.has(final))
      this.changes.set(final, { kind: 'remove-if-empty', final });
  }

  /** Puts every change in place, in order. */
  commit(): void {
    const all = [...this.changes.values()];
    for (const [done, change] of all.entries()) {
      try {
        this.apply(change);
      } catch (error) {
        for (const rest of all.slice(done)) this.drop(rest);
        this.changes.clear();
        if (error instanceof CodedError) throw error;
        throw launchErrors.LAUNCH_COMMIT({ path: change.final, reason: reasonOf(error), done, of: all.length }, { cause: error });
      }
    }
    this.changes.clear();
  }

  /** Takes every prepared file away again, and the parent directories that were made for them. */
  abort(): void {
    for (const change of this.changes.values()) this.drop(change);
    this.changes.clear();
    for (const path of this.created.reverse()) {
      try {
        rmdirSync(path);
      } catch {
        // something else has been put there since
      }
    }
  }

  private apply(change: Change): void {
    const final = this.root + change.final;
    switch (change.kind) {
      case 'place':
        try {
          renameSync(change.staged, final);
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException;
          // a directory is in the way, or a file where a directory must go: rename(2) replaces only like with like
          if (code !== 'EISDIR' && code !== 'ENOTDIR' && code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
          const old = hidden(final, 'old');
          rmSync(old, { recursive: true, force: true });
          renameSync(final, old);
          renameSync(change.staged, final);
          rmSync(old, { recursive: true, force: true });
        }
        break;
      case 'remove':
        rmSync(final, { recursive: true, force: true });
        break;
      case 'remove-if-empty':
        try {
          rmdirSync(final);
        } catch {
          // something lives there
        }
        break;
      case 'dress':
        setOnDirectory(final, change.final, change.attributes, change.source, this.policy);
        break;
    }
  }

  private stageFile(final: string, fill: (fd: number) => void): void {
    this.stage(
      final,
      (path) => {
        const fd = openSync(path, NEW_FILE_FLAGS, PRIVATE_MODE);
        try {
          fill(fd);
        } finally {
          closeSync(fd);
        }
      },
      false,
    );
  }

  private stage(final: string, make: (path: string) => void, directory: boolean): void {
    try {
      const inside = this.inside(final);
      if (inside) {
        rmSync(inside, { recursive: true, force: true });
        mkdirSync(posix.dirname(inside), { recursive: true });
        make(inside);
        return;
      }
      this.discard(final);
      this.refuseMount(final);
      this.makeParents(final);
      const staged = hidden(this.root + final, 'new');
      this.changes.set(final, { kind: 'place', final, staged, directory });
      try {
        make(staged);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        rmSync(staged, { recursive: true, force: true }); // left by a start that was killed
        make(staged);
      }
    } catch (error) {
      if (error instanceof CodedError) throw error;
      throw launchErrors.LAUNCH_WRITE({ path: final, reason: reasonOf(error) }, { cause: error });
    }
  }

  /** Where `final` is prepared when a directory above it is being replaced or removed. */
  private inside(final: string): string | undefined {
    for (let above = posix.dirname(final); above !== '/'; above = posix.dirname(above)) {
      const change = this.changes.get(above);
      if (change?.kind === 'place' && change.directory) return change.staged + final.slice(above.length);
      if (change?.kind === 'remove') {
        // removed as a whole, and needed again: an empty one takes its place
        const staged = hidden(this.root + above, 'new');
        rmSync(staged, { recursive: true, force: true });
        mkdirSync(staged, 0o755);
        this.changes.set(above, { kind: 'place', final: above, staged, directory: true });
        return staged + final.slice(above.length);
      }
    }
    return undefined;
  }

  private goesWithParent(final: string): boolean {
    for (let above = posix.dirname(final); above !== '/'; above = posix.dirname(above)) {
      const change = this.changes.get(above);
      if (change?.kind === 'remove') return true;
      if (change?.kind === 'place') return false;
    }
    return false;
  }

  /** Forgets what was prepared at `final` and below. */
  private discard(final: string): void {
    for (const change of this.changes.values()) {
      if (change.final !== final && !change.final.startsWith(`${final}/`)) continue;
      this.drop(change);
      this.changes.delete(change.final);
    }
  }

  private drop(change: Change): void {
    if (change.kind === 'place') rmSync(change.staged, { recursive: true, force: true });
  }

  private makeParents(final: string): void {
    const parent = posix.dirname(final);
    if (this.parents.has(parent)) return;
    const missing: string[] = [];
    for (let path = posix.dirname(this.root + final); !directoryAt(path) && path !== '/'; path = posix.dirname(path)) missing.push(path);
    for (const path of missing.reverse()) {
      mkdirSync(path, 0o755);
      this.created.push(path);
    }
    this.parents.add(parent);
  }

  isMount(final: string): boolean {
    this.mounts ??= mountPoints();
    return this.mounts.includes(this.root + final);
  }

  /** rename(2) answers EBUSY for a mount point: found out before anything has changed. */
  private refuseMount(final: string): void {
    this.mounts ??= mountPoints();
    const path = this.root + final;
    for (const mount of this.mounts) {
      if (mount === path || mount.startsWith(`${path}/`)) throw launchErrors.LAUNCH_DEST_MOUNT({ dest: mount.slice(this.root.length) });
    }
  }

  /** Nothing is staged for `final`, above it or below it. */
  private untouched(final: string): boolean {
    return !this.inside(final) && !this.changes.has(final);
  }

  /** A file that is right already is left alone: ext4 flushes a file that is renamed over another, 1 ms each. */
  private sameContent(input: number, final: string): boolean {
    this.buffer ??= Buffer.allocUnsafeSlow(COPY_BUFFER_BYTES);
    const half = COPY_BUFFER_BYTES / 2;
    let existing: number;
    try {
      existing = openSync(this.root + final, SOURCE_FLAGS | fsConstants.O_NOFOLLOW);
    } catch {
      return false; // cannot be read: it is written anew
    }
    try {
      for (let position = 0; ; ) {
        const length = readSync(input, this.buffer, 0, half, position);
        const other = readSync(existing, this.buffer, half, half, position);
        if (length !== other || this.buffer.compare(this.buffer, half, half + other, 0, length) !== 0) return false;
        if (length === 0) return true;
        position += length;
      }
    } finally {
      closeSync(existing);
    }
  }

  private holds(final: string, content: string, mode: number): boolean {
    try {
      const stats = lstatSync(this.root + final);
      const ours = stats.uid === process.geteuid?.() && stats.gid === process.getegid?.();
      return stats.isFile() && ours && (stats.mode & 0o7777) === mode && readFileSync(this.root + final, 'utf8') === content;
    } catch {
      return false;
    }
  }

  private openSource(source: string): number {
    try {
      return openSync(this.root + source, SOURCE_FLAGS);
    } catch (error) {
      throw launchErrors.LAUNCH_CONFIG_UNREADABLE({ path: source, reason: reasonOf(error) }, { cause: error });
    }
  }

  private pour(input: number, output: number, source: string): void {
    this.buffer ??= Buffer.allocUnsafeSlow(COPY_BUFFER_BYTES);
    for (let position = 0; ; ) {
      let length: number;
      try {
        length = readSync(input, this.buffer, 0, this.buffer.length, position);
      } catch (error) {
        throw launchErrors.LAUNCH_CONFIG_UNREADABLE({ path: source, reason: reasonOf(error) }, { cause: error });
      }
      if (length === 0) return;
      writeAll(output, this.buffer.subarray(0, length));
      position += length;
    }
  }
}

function directoryAt(path: string): boolean {
  const stats = statOf(path);
  if (stats?.isSymbolicLink()) return statOf(`${path}/.`) !== undefined;
  return stats?.isDirectory() ?? false;
}

function writeAll(fd: number, data: Uint8Array): void {
  for (let offset = 0; offset < data.length; ) offset += writeSync(fd, data, offset);
}

/** A hidden name beside `path`: `*` in a later glob does not find it. NAME_MAX is 255 bytes. */
function hidden(path: string, what: 'new' | 'old'): string {
  const name = posix.basename(path);
  const short = Buffer.byteLength(name) > 230 ? `${[...name].slice(0, 50).join('')}~${name.length}` : name;
  return `${posix.dirname(path)}/.${short}.kolla-${what}`;
}
