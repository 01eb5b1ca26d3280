/**
 * A header as a table of fields: each PDU is declared once, and its writer and reader come from the same row, so they
 * cannot disagree. Offsets are bytes from the start of the 48-byte basic header segment; everything is big-endian.
 */
export interface Field<T> {
  read(header: Buffer): T;
  write(header: Buffer, value: T): void;
}

/** A field of whatever type, for code that walks a table. */
export interface AnyField {
  read(header: Buffer): unknown;
  write(header: Buffer, value: never): void;
}

/** The values that a table of fields holds. */
export type FieldValues<F> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };

export const u8 = (offset: number): Field<number> => ({
  read: (header) => header.readUInt8(offset),
  write: (header, value) => void header.writeUInt8(value, offset),
});

export const u16 = (offset: number): Field<number> => ({
  read: (header) => header.readUInt16BE(offset),
  write: (header, value) => void header.writeUInt16BE(value, offset),
});

export const u32 = (offset: number): Field<number> => ({
  read: (header) => header.readUInt32BE(offset),
  write: (header, value) => void header.writeUInt32BE(value, offset),
});

/** One bit of a byte that other fields share. */
export const flag = (offset: number, mask: number): Field<boolean> => ({
  read: (header) => (header.readUInt8(offset) & mask) !== 0,
  write: (header, value) => {
    if (value) header.writeUInt8(header.readUInt8(offset) | mask, offset);
  },
});

/** `width` bits of a byte, the lowest at `shift`. */
export const bits = (offset: number, shift: number, width: number): Field<number> => {
  const mask = (1 << width) - 1;
  return {
    read: (header) => (header.readUInt8(offset) >>> shift) & mask,
    write: (header, value) => void header.writeUInt8(header.readUInt8(offset) | ((value & mask) << shift), offset),
  };
};

/** `length` raw bytes; reading gives a view, not a copy. */
export const raw = (offset: number, length: number): Field<Uint8Array> => ({
  read: (header) => header.subarray(offset, offset + length),
  write: (header, value) => header.set(value.subarray(0, length), offset),
});

/** What a LUN field holds when its addressing method is not one of the two single-level ones. */
const UNADDRESSABLE_LUN = -1;

/**
 * A single-level LUN (SAM-5 section 4.7): below 256 by the peripheral device method (00b, bus 0), up to 16383 by the flat space
 * method (01b). Both ways of writing a small number are read.
 */
export const lunField = (offset: number): Field<number> => ({
  read: (header) => {
    const first = header.readUInt8(offset);
    const deeper = header.readUInt16BE(offset + 2) | header.readUInt32BE(offset + 4);
    if (deeper !== 0) return UNADDRESSABLE_LUN;
    if (first === 0) return header.readUInt8(offset + 1);
    return first >>> 6 === 1 ? ((first & 0x3f) << 8) | header.readUInt8(offset + 1) : UNADDRESSABLE_LUN;
  },
  write: (header, value) => {
    if (value < 0)
      header.writeUInt8(0xc0, offset); // an extended method that nothing here assigns
    else header.writeUInt16BE(value < 256 ? value : 0x4000 | value, offset);
  },
});
