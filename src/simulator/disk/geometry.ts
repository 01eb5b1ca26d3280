/** The two checks that every simulated disk makes. */
import type { BlockDevice } from './block-device.ts';
import { diskErrors } from './errors.ts';

type Geometry = Pick<BlockDevice, 'blockBytes' | 'sizeBytes'>;

/** Throws DISK_GEOMETRY. */
export function assertGeometry({ blockBytes, sizeBytes }: Geometry): void {
  const power = Number.isInteger(Math.log2(blockBytes)) && blockBytes >= 512;
  if (!power || !Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % blockBytes !== 0)
    throw diskErrors.DISK_GEOMETRY({ blockBytes, sizeBytes });
}

/** Throws DISK_RANGE. */
export function assertRange({ blockBytes, sizeBytes }: Geometry, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset % blockBytes === 0 && length % blockBytes === 0;
  if (!whole || offset < 0 || length < 0 || offset + length > sizeBytes)
    throw diskErrors.DISK_RANGE({ offset, length, blockBytes, sizeBytes });
}
