/**
 * CRC32C (Castagnoli), the digest of iSCSI (RFC 7143 section 13.1; polynomial 0x1edc6f41, reflected 0x82f63b78).
 * Slice-by-8: eight table look-ups per eight bytes, about five times the byte-by-byte speed.
 */
const REFLECTED_POLYNOMIAL = 0x82f63b78;
const TABLE = buildTable();

/**
 * The CRC of `data`, continuing from `previous` (the CRC of what came before; 0 at the start).
 * On the wire it is written little-endian: 32 zero bytes give aa 36 91 8a.
 */
export function crc32c(data: Uint8Array, previous = 0): number {
  const table = TABLE;
  let crc = ~previous;
  let i = 0;
  for (const whole = data.length - 7; i < whole; i += 8) {
    const low = crc ^ (at(data, i) | (at(data, i + 1) << 8) | (at(data, i + 2) << 16) | (at(data, i + 3) << 24));
    crc =
      at(table, 1792 + (low & 0xff)) ^
      at(table, 1536 + ((low >>> 8) & 0xff)) ^
      at(table, 1280 + ((low >>> 16) & 0xff)) ^
      at(table, 1024 + (low >>> 24)) ^
      at(table, 768 + at(data, i + 4)) ^
      at(table, 512 + at(data, i + 5)) ^
      at(table, 256 + at(data, i + 6)) ^
      at(table, at(data, i + 7));
  }
  for (; i < data.length; i++) crc = at(table, (crc ^ at(data, i)) & 0xff) ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Every index here is inside its array by construction; the cast costs nothing in the hot loop. */
function at(array: Uint8Array | Int32Array, index: number): number {
  return array[index] as number;
}

/** Table k (at 256 k) advances a byte by k + 1 positions. */
function buildTable(): Int32Array {
  const table = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ REFLECTED_POLYNOMIAL : crc >>> 1;
    table[byte] = crc;
  }
  for (let slice = 1; slice < 8; slice++)
    for (let byte = 0; byte < 256; byte++) {
      const before = at(table, (slice - 1) * 256 + byte);
      table[slice * 256 + byte] = at(table, before & 0xff) ^ (before >>> 8);
    }
  return table;
}
