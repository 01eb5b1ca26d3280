/** The space of the image cache: who has how much of it, and who goes when it is short. Folders that nobody uses, the least recently used first. */
import { renameSync } from 'node:fs';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { imageCacheErrors } from './errors.ts';

export interface CacheRoomOptions {
  readonly directory: string;
  readonly maxBytes: number;
  readonly inUse: (folder: string) => boolean;
  readonly onEvict: (folder: string, bytes: number) => void;
}

/** What the cache itself makes. Whatever else lies in its directory is somebody else's: neither counted nor ever thrown out. */
const OWN_FOLDER = /^[\da-f]{32}(?:\.part)?$/;
/** On its way out; what a crash left of it is removed at the next start. */
const GONE = /^[\da-f]{32}(?:\.part)?\.gone$/;

/** Space for work under way. */
export interface Claim {
  /** Resolves when the work may take so many bytes in all; rejects with IMAGE_CACHE_FULL. */
  upTo(bytes: number): Promise<void>;
  /** The work is over: what it left in these folders counts from now on, and until that is known what it was granted. */
  settle(folders: readonly string[], now: number): Promise<void>;
}

export class CacheRoom {
  /** Bytes by folder, least recently used first. */
  private readonly kept = new Map<string, number>();
  private claimedBytes = 0;
  private ready: Promise<void> | undefined;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: CacheRoomOptions) {}

  get usedBytes(): number {
    return this.claimedBytes + [...this.kept.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Whether the folder is there, and counted. */
  has(folder: string): boolean {
    return this.kept.has(folder);
  }

  /** Looks at what an earlier process left. A directory that cannot be read is looked at again the next time. */
  open(): Promise<void> {
    this.ready ??= this.load().catch((error: unknown) => {
      this.ready = undefined;
      throw error;
    });
    return this.ready;
  }

  /** `folder`: where the work goes on, with what an earlier try has left there. */
  claim(folder: string): Claim {
    let granted = this.kept.get(folder) ?? 0;
    this.kept.delete(folder); // else it would be counted twice
    this.claimedBytes += granted;
    return {
      upTo: async (bytes) => {
        if (bytes <= granted) return;
        await this.inTurn(async () => {
          const more = bytes - granted;
          await this.makeRoom(more, bytes);
          granted += more;
          this.claimedBytes += more;
        });
      },
      settle: async (left, now) => {
        const sizes = await Promise.all(left.map((name) => this.sizeOf(name)));
        this.claimedBytes -= granted;
        granted = 0;
        for (const [index, name] of left.entries()) this.note(name, sizes[index]);
        for (const name of left) await this.used(name, now);
      },
    };
  }

  /** The folder has been asked for: it goes last. */
  async used(folder: string, now: number): Promise<void> {
    const bytes = this.kept.get(folder);
    if (bytes === undefined) return;
    this.kept.delete(folder);
    this.kept.set(folder, bytes);
    await utimes(join(this.options.directory, folder), now / 1000, now / 1000).catch(() => undefined); // evicted in between
  }

  private sizeOf(folder: string): Promise<number | undefined> {
    return folderBytes(join(this.options.directory, folder));
  }

  private note(folder: string, bytes: number | undefined): void {
    if (bytes === undefined) this.kept.delete(folder);
    else this.kept.set(folder, bytes);
  }

  private async makeRoom(bytes: number, neededBytes: number): Promise<void> {
    const { directory, maxBytes, inUse, onEvict } = this.options;
    for (const [folder, size] of [...this.kept]) {
      if (this.usedBytes + bytes <= maxBytes) return;
      if (inUse(folder)) continue;
      this.kept.delete(folder);
      // at once, since whoever asks for the image while it is being removed must not find half of it
      const gone = join(directory, `${folder}.gone`);
      moveAway(join(directory, folder), gone);
      await rm(gone, { recursive: true, force: true });
      onEvict(folder, size);
    }
    if (this.usedBytes + bytes > maxBytes) throw imageCacheErrors.IMAGE_CACHE_FULL({ directory, neededBytes, limitBytes: maxBytes });
  }

  private async load(): Promise<void> {
    const { directory } = this.options;
    await mkdir(directory, { recursive: true, mode: 0o750 });
    const found: { name: string; atMs: number }[] = [];
    for (const name of await readdir(directory)) {
      if (GONE.test(name)) await rm(join(directory, name), { recursive: true, force: true });
      else if (OWN_FOLDER.test(name)) found.push({ name, atMs: (await stat(join(directory, name))).mtimeMs });
    }
    for (const { name } of found.sort((a, b) => a.atMs - b.atMs)) this.note(name, await this.sizeOf(name));
  }

  private async inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.turn.then(work);
    this.turn = mine.catch(() => undefined);
    await mine;
  }
}

function moveAway(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}

/** As the disk has it, holes left out. */
async function folderBytes(folder: string): Promise<number | undefined> {
  try {
    let bytes = 0;
    for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).blocks * 512;
    return bytes;
  } catch {
    return undefined;
  }
}
