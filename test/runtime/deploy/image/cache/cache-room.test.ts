import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { CacheRoom } from 'cdk8s-baremetal-runtime/deploy/image/cache/cache-room';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../../support/temporary-folder.ts';

const MIB = 1024 * 1024;
const [ONE, TWO] = ['1'.repeat(32), '2'.repeat(32)];

describe('the room of the image cache', () => {
  const folder = temporaryFolder();
  beforeEach(() => folder.create());
  afterEach(() => folder.remove());
  const room = (directory: string): CacheRoom =>
    new CacheRoom({ directory, maxBytes: 12 * MIB, inUse: (name) => name.startsWith(ONE), onEvict: () => undefined });

  it('is not given away while it is looked at how much of it a finished work has left', async () => {
    const cache = room(folder.path('cache'));
    await cache.open();
    const first = cache.claim(`${ONE}.part`);
    await first.upTo(8 * MIB);
    mkdirSync(folder.path('cache', ONE));
    writeFileSync(folder.path('cache', ONE, 'raw'), Buffer.alloc(8 * MIB, 1));
    const settling = first.settle([`${ONE}.part`, ONE], 0);
    const second = cache.claim(`${TWO}.part`);
    const tries = await Promise.allSettled([second.upTo(8 * MIB), settling, settling.then(() => second.upTo(8 * MIB))]);
    expect(tries.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
    expect(cache.usedBytes).toBeLessThan(9 * MIB);
  });

  it('can be had once what was in the way of its directory is gone', async () => {
    writeFileSync(folder.path('disk'), 'not mounted yet');
    const cache = room(folder.path('disk', 'cache'));
    await expect(cache.open()).rejects.toMatchObject({ code: 'ENOTDIR' });
    rmSync(folder.path('disk'));
    await cache.open();
    await cache.claim(ONE).upTo(MIB);
  });
});
