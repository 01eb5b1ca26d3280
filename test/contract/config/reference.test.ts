import { describe, expect, it } from 'vitest';
import { bmsCoreConfig } from '../../../src/contract/bms-core-config.ts';
import { defineConfig, option, referenceTable, renderReference, types } from '../../../src/contract/config/index.ts';
import { novaBaremetalConfig } from '../../../src/contract/nova-baremetal-config.ts';
import { Secret } from '../../../src/contract/secret.ts';

describe('docs/reference', () => {
  // Fresh pages are written by `npx vitest run test/contract/config/reference.test.ts --update`.
  it.each([[bmsCoreConfig], [novaBaremetalConfig]])('has a fresh page of $daemon', async (config) => {
    await expect(renderReference(config)).toMatchFileSnapshot(`../../../docs/reference/${config.daemon}.md`);
  });

  it('shows type, limits, unit, default, environment, help and old names of each option', () => {
    const config = defineConfig({
      daemon: 'd',
      file: '/d.ini',
      envPrefix: 'D',
      sections: {
        DEFAULT: {
          size: option(types.integer({ min: 1 }), {
            default: 4,
            unit: 'MiB',
            help: 'A | B.',
            deprecatedNames: ['length', { section: 'old', key: 'size' }],
          }),
          needed: option(types.string(), { required: true, help: 'N.' }),
          hidden: option(types.secret(), { default: new Secret('hunter2'), env: 'D_PASSWORD', help: 'H.' }),
          follows: option(types.string(), { defaultFrom: '$needed/x', help: 'F.' }),
        },
      },
    });
    expect(referenceTable(config)).toBe(
      [
        '## [DEFAULT]',
        '',
        '| option | type | default | environment | meaning |',
        '|---|---|---|---|---|',
        '| `size` | whole number of at least 1, MiB | `4` | `D_DEFAULT__SIZE` | A \\| B. Also read as `length`, `[old] size`. |',
        '| `needed` | text | **required** | `D_DEFAULT__NEEDED` | N. |',
        '| `hidden` | secret text | not shown | `D_PASSWORD` | H. |',
        '| `follows` | text | `$needed/x` | `D_DEFAULT__FOLLOWS` | F. |',
      ].join('\n'),
    );
  });
});
