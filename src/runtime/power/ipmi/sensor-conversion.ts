/** From a sensor's raw byte to a number (IPMI v2.0 rev 1.1 section 36.3): y = L[(M·x + B·10^K1)·10^K2]. */
import { ByteReader } from './bytes.ts';

/** M and B are 10-bit, the exponents 4-bit two's complement. */
export interface ReadingFactors {
  readonly m: number;
  readonly b: number;
  /** K1. */
  readonly bExponent: number;
  /** K2. */
  readonly rExponent: number;
}

/** Linearization 70h to 7Fh: the factors differ for each reading. */
export const NON_LINEAR = 0x70;

/*
 *  Table 36-2 and Table 43-1 bytes 25 to 30
 *  +------+-----------------+------+------------------+-----------------+-----------+
 *  | M LS | 7:6 M MS        | B LS | 7:6 B MS         | accuracy,       | 7:4 K2    |
 *  |      | 5:0 tolerance   |      | 5:0 accuracy     | direction       | 3:0 K1    |
 *  +------+-----------------+------+------------------+-----------------+-----------+
 */
export function decodeFactors(data: Uint8Array): ReadingFactors {
  const reader = new ByteReader(data, 'reading factors');
  const mLow = reader.u8();
  const mHigh = reader.u8() >> 6;
  const bLow = reader.u8();
  const bHigh = reader.u8() >> 6;
  reader.skip(1);
  const exponents = reader.u8();
  return {
    m: signed((mHigh << 8) | mLow, 10),
    b: signed((bHigh << 8) | bLow, 10),
    rExponent: signed(exponents >> 4, 4),
    bExponent: signed(exponents & 0x0f, 4),
  };
}

export function encodeFactors({ m, b, bExponent, rExponent }: ReadingFactors): Buffer {
  return Buffer.from([m & 0xff, ((m >> 8) & 3) << 6, b & 0xff, ((b >> 8) & 3) << 6, 0, ((rExponent & 15) << 4) | (bExponent & 15)]);
}

export interface Conversion {
  readonly format: 'unsigned' | 'ones-complement' | 'twos-complement';
  readonly linearization: number;
  readonly factors: ReadingFactors;
}

/** Undefined where the formula gives no number (1/0, the logarithm of nothing). */
export function convertReading(raw: number, { format, linearization, factors }: Conversion): number | undefined {
  const x = format === 'unsigned' ? raw : format === 'twos-complement' ? signed(raw, 8) : onesComplement(raw);
  const { m, b, bExponent, rExponent } = factors;
  // multiplying by a negative power of ten leaves 21.400000000000002; dividing by the positive one does not
  const scaled = scale(m * x + scale(b, bExponent), rExponent);
  const y = linearized(scaled, linearization);
  return Number.isFinite(y) ? y : undefined;
}

function scale(value: number, exponent: number): number {
  return exponent < 0 ? value / 10 ** -exponent : value * 10 ** exponent;
}

/** Table 43-1 byte 24; 70h and above are linear in their own factors. */
function linearized(x: number, linearization: number): number {
  switch (linearization) {
    case 1:
      return Math.log(x);
    case 2:
      return Math.log10(x);
    case 3:
      return Math.log2(x);
    case 4:
      return Math.exp(x);
    case 5:
      return 10 ** x;
    case 6:
      return 2 ** x;
    case 7:
      return 1 / x;
    case 8:
      return x * x;
    case 9:
      return x ** 3;
    case 10:
      return Math.sqrt(x);
    case 11:
      return Math.cbrt(x);
    default:
      return x;
  }
}

function signed(value: number, bits: number): number {
  return value >= 2 ** (bits - 1) ? value - 2 ** bits : value;
}

function onesComplement(raw: number): number {
  return raw & 0x80 ? -(~raw & 0x7f) : raw;
}
