import { describe, expect, it } from 'vitest';
import { type ComponentPlan, planChanges } from '../../../src/cli/cluster/plan-changes.ts';
import { seedSpec } from './world.ts';

const PLACE = { name: 'default', namespace: 'onecloud' };
const NEW = 'v3.1.3-20200320.0';

/** The plan of changing the documents' cluster by `change`. */
function plan(change: Record<string, unknown>, before: Record<string, unknown> = {}) {
  return planChanges({ ...PLACE, live: seedSpec(before), wanted: seedSpec({ ...before, ...change }) });
}

const told = ({ component, rollout, changes }: ComponentPlan): string =>
  `${component} ${rollout}: ${changes.map(({ what, from, to }) => `${what} ${from ?? '-'}→${to ?? '-'}`).join(', ')}`;

describe('004-10: the plan', () => {
  it('of no change is empty', () => {
    expect(plan({})).toEqual({ components: [], conflicts: [], held: [] });
  });

  it.each<[string, Record<string, unknown>, Record<string, unknown>, string[]]>([
    ['more replicas', { scheduler: { replicas: 3 } }, {}, ['scheduler rolling']],
    ['another schedule', { cloudmonping: { schedule: '*/9 * * * *' } }, {}, ['cloudmon-ping none: schedule */5 * * * *→*/9 * * * *']],
    ['another image of a CronJob', { cloudmonping: { tag: 'v9' } }, {}, ['cloudmon-ping next-run: image cloudmon-ping']],
    ['a volume that grows', { meter: { requests: { storage: '200G' } } }, {}, ['meter none: volume size 100G→200G']],
    ['a node port', { logger: { nodePorts: { api: 31999 } } }, {}, ['logger none: node port api 30999→31999']],
    ['a port that closes', { logger: { internalOnly: true } }, {}, ['logger none: node port api 30999→closed']],
    ['one volume for one pod', { meter: { image: 'r/meter:1' } }, {}, ['meter recreate: image meter']],
    ['a node agent', { hostagent: { image: 'r/host:1' } }, {}, ['host on-delete: image host']],
    ['memory', { climc: { limits: { memory: '1Gi' } } }, {}, ['climc rolling: pods -→containers']],
    ['disable', { climc: { disable: true } }, {}, ['climc stop: workload Deployment→removed']],
    ['enable again', { climc: { disable: false } }, { climc: { disable: true } }, ['climc start: workload -→Deployment']],
  ])('%s', (_, change, before, expected) => {
    const lines = plan(change, before).components.map(told);
    expected.forEach((line) => {
      expect(
        lines.some((one) => one.startsWith(line)),
        `${line} in ${lines.join('; ')}`,
      ).toBe(true);
    });
  });

  it('004-5: an upgrade changes every image of the version, layer by layer, and says what it migrates', () => {
    const { components, held } = plan({ version: NEW });
    const layers = components.map(({ layer }) => layer);
    expect(layers).toEqual([...layers].sort((a, b) => a - b));
    const names = components.map(({ component }) => component);
    expect(names).toContain('keystone');
    expect(names).not.toContain('influxdb'); // has InfluxDB's own version
    expect(names).not.toContain('vpcagent'); // the documents hold it
    expect(names).not.toContain('glance'); // they hold this, too
    expect(held).toHaveLength(2);
    expect(held.slice(1)).toEqual([
      'vpcagent stays at registry.cn-beijing.aliyuncs.com/yunionio/vpcagent:v3.1.3-20200312.0 (spec.vpcAgent.image)',
    ]);
    const migrating = components.filter(({ migrates }) => migrates).map(({ component }) => component);
    expect(migrating).toContain('keystone');
    expect(migrating).not.toContain('scheduler'); // uses region's tables and brings none
    expect(components.find(({ component }) => component === 'notify')?.changes.map(({ what }) => what)).toContain('image email');
  });

  it.each([
    [undefined, 'no dump is taken: spec.databaseBackup is not set'],
    [{ storage: '50G' }, 'the databases are dumped first (spec.databaseBackup)'],
  ])('004-5: says whether the databases are dumped first: %j', (databaseBackup, words) => {
    expect(plan({ version: NEW, ...(databaseBackup && { databaseBackup }) }).databaseDump).toBe(words);
  });

  it('a first installation starts everything and migrates nothing', () => {
    const { components, databaseDump } = planChanges({ ...PLACE, live: undefined, wanted: seedSpec() });
    expect(databaseDump).toBeUndefined();
    expect(new Set(components.map(({ rollout }) => rollout))).toEqual(new Set(['start']));
    expect(components.filter(({ migrates }) => migrates)).toEqual([]);
  });

  it('images that run count, not those that the spec would like', () => {
    const liveImages = { keystone: { keystone: 'r/keystone:older' } };
    const { components } = planChanges({ ...PLACE, live: seedSpec(), wanted: seedSpec(), liveImages });
    expect(components.map(told)).toEqual([expect.stringContaining('keystone rolling: image keystone r/keystone:older→')]);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['a volume that shrinks', { glance: { requests: { storage: '50G' } } }, 'glance: a volume does not shrink from 100G to 50G'],
    ['in other units, too', { glance: { requests: { storage: '90Gi' } } }, 'glance: a volume does not shrink from 100G to 90Gi'],
    ['another class of a claim', { glance: { storageClassName: 'fast' } }, 'glance: a claim keeps its storageClassName (local-path)'],
  ])('names what cannot be: %s', (_, change, conflict) => {
    expect(plan(change).conflicts.map((line) => line.slice(0, conflict.length))).toEqual([conflict]);
  });

  it('93Gi is no less than 100G … nor more than it is', () => {
    // 93 GiB = 99.86 GB
    expect(plan({ glance: { requests: { storage: '93Gi' } } }).conflicts).toHaveLength(1);
    expect(plan({ glance: { requests: { storage: '94Gi' } } }).conflicts).toEqual([]);
  });
});
