/** docs/reference says what each option does: one that nothing reads says that. */
import { globSync, readFileSync } from 'node:fs';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { expect, it } from 'vitest';

it('an option of bms-core is read by the daemon, or says that nothing uses it', () => {
  const sources = globSync('src/runtime/**/*.ts').map((file) => readFileSync(file, 'utf8'));
  const files = sources
    .filter((source) => /\bconfig\b/i.test(source))
    .map((source) => ({
      words: new Set(source.match(/\b[A-Za-z]\w*\b/g)),
      // config.dhcp.listen, or { listen, port } of it
      fields: new Set(source.match(/(?<=\.|[{,]\s*)[a-z]\w*\b(?!\()/g)),
    }));
  const references = new Set(readFileSync('src/contract/bms-core-config.ts', 'utf8').match(/(?<=defaultFrom: '\$(?:\w+\.)?)\w+/g));
  // many a file has the word of an option (listen, dir, url): the one that reads it has it as a field, and names its section
  const isRead = (section: string, key: string): boolean =>
    references.has(key) || files.some(({ words, fields }) => words.has(section) && fields.has(key));
  const options = Object.entries(bmsCoreConfig.sections).flatMap(([section, keys]) =>
    Object.entries(keys).map(([key, { help }]) => ({
      name: `[${section}] ${key}`,
      read: isRead(section, key),
      idle: help.includes('nothing here uses it'),
    })),
  );
  expect(options.length).toBeGreaterThan(50);
  expect(options.filter(({ read, idle }) => read === idle).map(({ name }) => name)).toEqual([]);
});
