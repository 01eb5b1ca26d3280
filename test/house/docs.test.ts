import { globSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { errorsPage } from '../../scripts/errors-page.ts';
import { requirementsPage } from '../../scripts/requirements-page.ts';

it('docs/errors.md lists every error that the sources define: npm run docs', async () => {
  expect(await errorsPage()).toBe(readFileSync('docs/errors.md', 'utf8'));
});

it('docs/requirements.md lists the tests that there are: npm run docs', () => {
  expect(requirementsPage()).toBe(readFileSync('docs/requirements.md', 'utf8'));
});

it('no error has a code of its own beside the tables, where docs/errors.md would not find it', () => {
  const alone = globSync('src/**/*.ts').filter((file) => /new CodedError\(\s*['"`]/.test(readFileSync(file, 'utf8')));
  expect(alone).toEqual([]);
});
