/** What a program needs to run: its loader and its libraries by name, from its file (System V ABI, ELF-64, little-endian as amd64 and arm64 are). */

export interface Needs {
  /** The dynamic loader; absent for static programs and for most libraries. */
  readonly interpreter?: string;
  /** As `libc.so.6`. */
  readonly libraries: readonly string[];
}

const PROGRAM = { load: 1, dynamic: 2, interpreter: 3 } as const;
const DYNAMIC = { end: 0, needed: 1, strings: 5 } as const;

/** Throws for what is no such file. */
export function needsOf(file: Uint8Array): Needs {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  // magic, 64 bits, least significant byte first
  if (bytes.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') throw new Error('it is no ELF-64 file');
  const segments = segmentsOf(bytes);
  const dynamic = segments.find(({ type }) => type === PROGRAM.dynamic);
  const interpreter = segments.find(({ type }) => type === PROGRAM.interpreter);
  return {
    ...(interpreter && { interpreter: bytes.toString('latin1', interpreter.offset, interpreter.offset + interpreter.size - 1) }),
    libraries: dynamic === undefined ? [] : libraries(bytes, dynamic, segments),
  };
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

/** Program headers: 0x20 says where they are, 0x36 how large each is, 0x38 how many. */
function segmentsOf(bytes: Buffer): Segment[] {
  const [start, size, count] = [Number(bytes.readBigUInt64LE(0x20)), bytes.readUInt16LE(0x36), bytes.readUInt16LE(0x38)];
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * size;
    return {
      type: bytes.readUInt32LE(at),
      offset: Number(bytes.readBigUInt64LE(at + 8)),
      address: Number(bytes.readBigUInt64LE(at + 16)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
    };
  });
}

/** Pairs of tag and value; names stand in a table of strings whose address in memory one of them gives. */
function libraries(bytes: Buffer, { offset, size }: Segment, segments: readonly Segment[]): string[] {
  const pairs: { tag: number; value: number }[] = [];
  for (let at = offset; at + 16 <= offset + size; at += 16) {
    const [tag, value] = [Number(bytes.readBigUInt64LE(at)), Number(bytes.readBigUInt64LE(at + 8))];
    if (tag === DYNAMIC.end) break;
    pairs.push({ tag, value });
  }
  const address = pairs.find(({ tag }) => tag === DYNAMIC.strings)?.value ?? 0;
  const home = segments.find((one) => one.type === PROGRAM.load && address >= one.address && address < one.address + one.size);
  if (home === undefined) return [];
  const table = address - home.address + home.offset;
  return pairs
    .filter(({ tag }) => tag === DYNAMIC.needed)
    .map(({ value }) => bytes.toString('latin1', table + value, bytes.indexOf(0, table + value)));
}
