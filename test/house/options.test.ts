/** docs/reference says what each option does: one that nothing reads says that. */
import { globSync, readFileSync } from 'node:fs';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { expect, it } from 'vitest';

it('an option of bms-core is read by the daemon, or says that nothing uses it', () => {
  const words = new Set(globSync('src/runtime/**/*.ts').flatMap((file) => readFileSync(file, 'utf8').match(/\b[a-z]\w*\b/g) ?? []));
  for (const [word] of readFileSync('src/contract/bms-core-config.ts', 'utf8').matchAll(/(?<=defaultFrom: '\$(?:\w+\.)?)\w+/g))
    words.add(word);
  const options = Object.entries(bmsCoreConfig.sections).flatMap(([section, keys]) =>
    Object.entries(keys).map(([key, { help }]) => ({
      name: `[${section}] ${key}`,
      read: words.has(key),
      idle: help.includes('nothing here uses it'),
    })),
  );
  expect(options.length).toBeGreaterThan(50);
  expect(options.filter(({ read, idle }) => read === idle).map(({ name }) => name)).toEqual([]);
});
