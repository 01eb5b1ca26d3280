/** Whatever somebody writes into a definition, a values file or a volume: problems by name, never another error, never a hang. */
import { App, Chart } from 'cdk8s';
import { EnvironmentService, KollaDefaultsError, parseKollaDefaults, ValuesError } from 'cdk8s-baremetal';
import { parseVolume, volumeName } from 'cdk8s-baremetal/kolla/volume-string';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const RUNS = Number(process.env.FUZZ_RUNS ?? 1000);
const fragment = fc.constantFrom(
  '{{',
  '}}',
  ' x ',
  '| default(',
  "'",
  '"',
  ')',
  '| bool',
  '{%',
  ':',
  '\n',
  '  ',
  '- ',
  'a',
  '/',
  ',',
  'ro',
  '*a',
  '&a',
  '!!',
  '[',
  ']',
  '#',
);
const soup = fc.array(fc.oneof(fragment, fc.string({ maxLength: 4 })), { maxLength: 30 }).map((parts) => parts.join(''));
const only = (run: () => unknown, type: new (...args: never[]) => Error): void => {
  try {
    run();
  } catch (error) {
    if (!(error instanceof type)) throw error;
  }
};

describe('hostile input', () => {
  it('definitions', () => {
    fc.assert(
      fc.property(soup, (text) => {
        only(() => parseKollaDefaults(text), KollaDefaultsError);
        only(
          () => parseKollaDefaults(`a:\n  container_name: a\n  group: g\n  image: ${JSON.stringify(text)}\n`, { variables: { x: 'y' } }),
          KollaDefaultsError,
        );
      }),
      { numRuns: RUNS },
    );
  });
  it('values', () => {
    fc.assert(
      fc.property(soup, (text) => {
        const chart = new Chart(new App(), 'test');
        only(() => EnvironmentService.fromValues(chart, 'service', text, { release: 'r' }), ValuesError);
      }),
      { numRuns: Math.ceil(RUNS / 10) },
    );
  });
  it('volumes: what is taken is absolute, and its name is one that Kubernetes takes', () => {
    fc.assert(
      fc.property(soup, (text) => {
        const volume = parseVolume(text);
        if (!volume) return;
        expect(volume.target).toMatch(/^\//);
        expect(volume.target.split('/')).not.toContain('..');
        expect(volumeName(volume.target)).toMatch(/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/);
      }),
      { numRuns: RUNS },
    );
  });
  it('a billion laughs', () => {
    const levels = Array.from({ length: 12 }, (_, n) => `l${n + 1}: &l${n + 1} [${Array.from({ length: 9 }, () => `*l${n}`).join(', ')}]`);
    expect(() => parseKollaDefaults(['l0: &l0 x', ...levels, 'a: {container_name: a}'].join('\n'))).toThrow(KollaDefaultsError);
  });
});
