import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { withEnvironmentTable } from '../../../scripts/build-launch.ts';
import { ENVIRONMENTS, environmentOf, iniName, SERVICE_NAME } from '../../../src/runtime/launch/environments.ts';

describe('environments', () => {
  it('003-9: product carries no suffix, pre, test and dev carry theirs', () => {
    expect(ENVIRONMENTS.map((environment) => iniName('account_confirm', environment))).toEqual([
      'account_confirm.ini',
      'account_confirm.ini.pre',
      'account_confirm.ini.test',
      'account_confirm.ini.dev',
    ]);
  });
  it('003-9: found by exact name', () => expect(environmentOf('pre').suffix).toBe('.pre'));

  const refused: [value: string | undefined, nearest: string | undefined][] = [
    ['prod', 'product'],
    ['production', 'product'],
    ['prodcut', 'product'],
    ['PRE', 'pre'],
    ['tset', 'test'],
    ['development', 'dev'],
    ['stage', 'pre'],
    ['', undefined],
    [undefined, undefined],
    ['banana', undefined],
    ['__proto__', undefined],
    ['pre ', 'pre'],
  ];
  for (const [value, nearest] of refused)
    it(`003-9: RUNENV ${JSON.stringify(value)} is refused${nearest ? `, ${nearest} is offered` : ''}`, () => {
      let told = '';
      try {
        environmentOf(value);
      } catch (error) {
        told = String(error);
      }
      expect(told).toContain(`LAUNCH_RUNENV: RUNENV is "${value ?? ''}"`);
      expect(told).toContain('product, pre, test, dev');
      if (nearest) expect(told).toContain(`(did you mean "${nearest}"?)`);
      else expect(told).not.toContain('did you mean');
    });

  it('003-9: the shell program carries this very table', () => {
    const script = readFileSync(new URL('../../../images/launch/environment_start', import.meta.url), 'utf8');
    expect(withEnvironmentTable(script)).toBe(script);
    expect(withEnvironmentTable(script.replace("pre) launch_suffix='.pre'", "pre) launch_suffix=''"))).toBe(script);
  });

  for (const name of ['account_confirm', 'a', 'A-1.2_x'])
    it(`003-2: "${name}" is a service name`, () => expect(name).toMatch(SERVICE_NAME));
  for (const name of ['', '.', '..', '../x', 'a/b', '-rf', '.hidden', 'a b', 'a\n', 'ä', '$x'])
    it(`003-2: ${JSON.stringify(name)} is no service name`, () => expect(name).not.toMatch(SERVICE_NAME));
});
