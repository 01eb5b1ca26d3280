/** Which version is older, and when that matters to tables. */
import { catalog, compareVersions, isStepBack, migratesDatabase, programVersion } from 'cdk8s-baremetal-contract/onecloud/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('004-7: versions', () => {
  it.each([
    ['v3.1.3-20200312.0', 'v3.1.3-20200320.0', -1],
    ['v3.1.3-20200320.1', 'v3.1.3-20200320.0', 1],
    ['v3.10', 'v3.9.9', 1],
    ['3.1', 'v3.1.0', 0],
    ['v3.1.3', 'v3.1.3-20200320.0', undefined], // a release beside a build of it
    ['v3.1.4', 'v3.1.3-20200320.0', 1],
    ['latest', 'v3.1.3', undefined],
    ['v3.1.3-hotfix', 'v3.1.3', undefined],
    ['v3.1@sha256:aa', 'v3.2@sha256:bb', -1],
  ])('%s and %s: %s', (a, b, order) => {
    const found = compareVersions(a, b);
    expect(found === undefined ? undefined : Math.sign(found)).toBe(order);
  });

  it('is an order where it says anything, and never throws', () => {
    const version = fc.oneof(fc.string(), fc.stringMatching(/^v?\d{1,4}(\.\d{1,4}){0,3}(-\d{1,8}(\.\d)?)?$/));
    fc.assert(
      fc.property(version, version, (a, b) => {
        const [there, back] = [compareVersions(a, b), compareVersions(b, a)];
        expect(there === undefined ? undefined : Math.sign(there) + 0).toBe(back === undefined ? undefined : -Math.sign(back) + 0);
      }),
    );
  });

  it.each([
    ['older', { tables: 'v2', to: 'v1', ranBefore: [] }, true],
    ['newer', { tables: 'v1', to: 'v2', ranBefore: ['v2'] }, false],
    ['the same', { tables: 'main', to: 'main', ranBefore: ['main'] }, false],
    ['a branch that ran before', { tables: 'fix', to: 'main', ranBefore: ['main'] }, true],
    ['a branch that never ran', { tables: 'main', to: 'fix', ranBefore: ['main'] }, false],
  ])('%s: a step back %s', (_, options, back) => {
    expect(isStepBack(options)).toBe(back);
  });

  it('reads images', () => {
    expect(['r.example:5000/y/glance:v1', 'glance', 'r/glance:v1@sha256:ab'].map(programVersion)).toEqual(['v1', 'latest', 'v1@sha256:ab']);
  });

  it('counts services that bring their tables up themselves', () => {
    const names = catalog.filter(migratesDatabase).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['keystone', 'meter', 'kubeserver', 'ansibleserver']));
    expect(names).not.toContain('scheduler'); // region's tables, which region brings up
  });
});
