/** Programs of Debian packages with the libraries that they need, and nothing else of those packages: as entries of a small file system. */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { ArchiveEntry } from './cpio.ts';
import { needsOf } from './elf.ts';
import type { DebianPackages, UnpackedPackage } from './packages.ts';

export interface ProgramChoice {
  readonly package: string;
  /** Paths in the package. They go to `bin`. */
  readonly programs: readonly string[];
}

export interface Programs {
  readonly entries: readonly ArchiveEntry[];
  /** That something was taken from. */
  readonly packages: readonly UnpackedPackage[];
}

/** Libraries go to `lib`, where every loader looks; the loader to where the programs want it. */
export async function programs(debian: DebianPackages, choices: readonly ProgramChoice[]): Promise<Programs> {
  const entries = new Map<string, ArchiveEntry>();
  const used = new Map<string, UnpackedPackage>();
  for (const choice of choices) {
    const own = await debian.unpack(choice.package);
    used.set(own.name, own);
    const candidates = [own.name, ...(await debian.librariesOf(choice.package))];
    const add = async (path: string, content: Buffer): Promise<void> => {
      if (entries.has(path)) return;
      entries.set(path, { path, kind: 'file', content, executable: true });
      const { interpreter, libraries } = needsOf(content);
      if (interpreter !== undefined) {
        const { file, from } = await find(debian, candidates, interpreter.slice(interpreter.lastIndexOf('/') + 1));
        used.set(from.name, from);
        await add(interpreter.replace(/^\//, ''), file);
      }
      for (const name of libraries) {
        const { file, from } = await find(debian, candidates, name);
        used.set(from.name, from);
        // the loader is a library too
        if (!interpreters(entries).has(name)) await add(`lib/${name}`, file);
      }
    };
    for (const program of choice.programs)
      await add(`bin/${program.slice(program.lastIndexOf('/') + 1)}`, readFileSync(join(own.root, program)));
  }
  return { entries: [...entries.values()], packages: [...used.values()].sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

function interpreters(entries: ReadonlyMap<string, ArchiveEntry>): Set<string> {
  return new Set([...entries.keys()].filter((path) => /\/ld-[^/]*$/.test(path)).map((path) => path.slice(path.lastIndexOf('/') + 1)));
}

/** Packages are unpacked one after the other until one has it. It is mostly the one that is called alike: libaio1 has libaio.so.1. */
async function find(debian: DebianPackages, names: readonly string[], soname: string): Promise<{ file: Buffer; from: UnpackedPackage }> {
  const stem = soname.replace(/\.so.*$/, '');
  const alike = (name: string): boolean => name.startsWith(stem);
  for (const name of [...names.filter(alike), ...names.filter((one) => !alike(one))]) {
    const from = await debian.unpack(name);
    for (const folder of ['lib', 'lib64', 'usr/lib', 'usr/lib64'].flatMap((one) => withTriplets(join(from.root, one)))) {
      // Links within the package: libaio.so.1 is libaio.so.1.0.1.
      const path = join(folder, soname);
      if (existsSync(path) && realpathSync(path).startsWith(realpathSync(from.root))) return { file: readFileSync(path), from };
    }
  }
  throw new Error(`none of ${names.join(', ')} has ${soname}`);
}

/** A folder of libraries, and those of one architecture in it. */
function withTriplets(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return [
    folder,
    ...readdirSync(folder)
      .filter((name) => name.endsWith('-linux-gnu'))
      .map((name) => join(folder, name)),
  ];
}
