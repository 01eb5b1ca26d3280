/** The lab's shortest case, from power on to the machine's own system; only where it is asked for. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';

const wanted = process.env.BMS_LAB === '1';
if (!wanted)
  console.warn('skipped: the lab is not asked for (npm run test:lab, which is BMS_LAB=1; it needs root, QEMU and a Debian mirror)');

describe.skipIf(!wanted)('002-13: a real machine', () => {
  it('boots, deploys and starts its own system', { timeout: 400_000 }, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'lab/main.ts', '--one'], { timeout: 390_000 });
    expect(status, `${stdout}${stderr}`).toBe(0);
    expect(stdout.toString()).toContain('1 of 1 booted their own system');
  });
});
