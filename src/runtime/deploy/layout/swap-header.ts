/**
 * What mkswap writes: one page whose last ten bytes are the signature, and a header at byte 1024 (linux/swap.h: version, last page, bad pages,
 * UUID, label). Little-endian, pages of 4 KiB, as on every machine that we boot.
 */
const PAGE_BYTES = 4096;
const HEADER_OFFSET = 1024;
/** A swap space has ten pages at least; smaller ones are refused by swapon. */
const LEAST_PAGES = 10;

export interface SwapHeader {
  readonly partitionBytes: number;
  readonly uuid: string;
  /** At most 16 characters of ASCII. */
  readonly label: string;
}

export function encodeSwapHeader({ partitionBytes, uuid, label }: SwapHeader): Uint8Array {
  const pages = Math.floor(partitionBytes / PAGE_BYTES);
  if (pages < LEAST_PAGES) throw new RangeError(`${partitionBytes} bytes are no swap space`);
  const page = Buffer.alloc(PAGE_BYTES);
  page.writeUInt32LE(1, HEADER_OFFSET);
  page.writeUInt32LE(Math.min(pages - 1, 0xffff_ffff), HEADER_OFFSET + 4);
  page.set(Buffer.from(uuid.replaceAll('-', ''), 'hex'), HEADER_OFFSET + 12);
  page.write(label.slice(0, 16), HEADER_OFFSET + 28, 'latin1');
  page.write('SWAPSPACE2', PAGE_BYTES - 10, 'latin1');
  return page;
}
