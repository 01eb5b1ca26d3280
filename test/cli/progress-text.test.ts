import { describe, expect, it } from 'vitest';
import { progressText } from '../../src/cli/progress-text.ts';

const MIB = 1024 ** 2;

describe('how far an image is', () => {
  it.each([
    [
      { bytes: 42 * MIB, totalBytes: 100 * MIB, phase: 'write', bytesPerSecond: 118e6, remainingSeconds: 35 },
      '42 % of 100 MiB, 118 MB/s, 35 s left',
    ],
    [{ bytes: 10 * MIB, totalBytes: 40 * MIB, phase: 'verify', bytesPerSecond: 4.25e6 }, '25 % of 40 MiB read back, 4.3 MB/s'],
    [{ bytes: 41 * MIB, totalBytes: 40 * MIB }, '100 % of 40 MiB'],
    [{ bytes: 3 * MIB }, '3 MiB'],
  ] as const)('%j', (progress, text) => {
    expect(progressText(progress)).toBe(text);
  });
});
