/** The power plane could be published by itself: its files know each other, core's interfaces, and the contract's errors and secrets. */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, it } from 'vitest';

it('002-2: src/runtime/power imports nothing but itself, interfaces of core, errors and secrets, and cryptography', () => {
  const files = globSync('src/runtime/power/**/*.ts');
  expect(files.length).toBeGreaterThan(30);
  const trespasses = files.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/\bfrom '([^']+)'/g)].flatMap(([, specifier = '']) => {
      if (['cdk8s-baremetal-contract', 'cdk8s-baremetal-contract/secret', 'node:crypto'].includes(specifier)) return [];
      const path = relative('src/runtime', join(dirname(file), specifier));
      const inside = specifier.startsWith('.') && (path.startsWith('power/') || /^core\/(?!node-)[a-z-]+\.ts$/.test(path));
      return inside ? [] : [`${file}: ${specifier}`];
    }),
  );
  expect(trespasses).toEqual([]);
});
