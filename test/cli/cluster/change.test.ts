import { catalog } from 'cdk8s-baremetal-contract/onecloud/index';
import { describe, expect, it } from 'vitest';
import { assigned, backupAssignments, mergePatchOf, parseAssignment } from '../../../src/cli/cluster/assignment.ts';
import { clusterType } from '../../../src/cli/cluster/cluster-object.ts';
import { earlierVersions, previousVersion } from '../../../src/cli/cluster/history.ts';
import { rollbackCluster } from '../../../src/cli/cluster/rollback.ts';
import { planUpdate, updateCluster } from '../../../src/cli/cluster/update.ts';
import { at } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { AT, addCluster, KEY, live, refusal, report, seedSpec, world } from './world.ts';

const OLD = 'v3.1.3-20200312.0';
const NEW = 'v3.1.3-20200320.0';
const upgraded = { revision: 2, who: 'bmctl', when: AT, from: OLD, to: NEW, outcome: 'Succeeded' as const };

describe('004-10: cluster update', () => {
  it('sends the version alone, once it has shown what changes', async () => {
    const here = world();
    await addCluster(here);
    await updateCluster(here.context, { key: KEY, version: NEW, components: [] });
    expect(live(here).spec).toEqual(seedSpec({ version: NEW }));
    expect(here.seen()).toContain(
      `held: vpcagent stays at registry.cn-beijing.aliyuncs.com/yunionio/vpcagent:${OLD} (spec.vpcAgent.image)`,
    );
  });

  it('004-6: sets one image, and clears it again', async () => {
    const here = world();
    await addCluster(here);
    const image = 'registry.example.net/yunionio/keystone:fixed';
    await updateCluster(here.context, { key: KEY, components: [parseAssignment(`keystone.image=${image}`)] });
    expect(at(live(here), 'spec', 'keystone', 'image')).toBe(image);
    await updateCluster(here.context, { key: KEY, components: [parseAssignment('vpcAgent.image=')] });
    expect(at(live(here), 'spec', 'vpcAgent', 'image')).toBeUndefined();
    expect(at(live(here), 'spec', 'vpcAgent', 'imagePullPolicy')).toBe('Always');
  });

  it.each([
    ['a field that is an object', ['keystone.nodeSelector={"zone":"a"}']],
    ['one that is cleared and set again', ['keystone.nodeSelector=', 'keystone.nodeSelector.zone=a']],
  ])('004-8: %s becomes what was planned, without what it was before', async (_, flags) => {
    const here = world();
    await addCluster(here, { keystone: { nodeSelector: { disk: 'ssd' }, replicas: 1 } });
    await updateCluster(here.context, { key: KEY, components: flags.map(parseAssignment) });
    expect(at(live(here), 'spec', 'keystone')).toEqual({ nodeSelector: { zone: 'a' }, replicas: 1 });
  });

  it('004-5: has the databases dumped before upgrades, or no more', async () => {
    const here = world();
    await addCluster(here);
    await updateCluster(here.context, { key: KEY, components: backupAssignments('50Gi', 'fast') });
    expect(at(live(here), 'spec', 'databaseBackup')).toEqual({ storage: '50Gi', storageClassName: 'fast' });
    await updateCluster(here.context, { key: KEY, components: backupAssignments('none', undefined) });
    expect(at(live(here), 'spec')).not.toHaveProperty('databaseBackup');
    expect(backupAssignments(undefined, undefined)).toEqual([]);
    const error = await refusal(updateCluster(here.context, { key: KEY, components: backupAssignments('much', undefined) }));
    expect(String(error)).toContain('spec.databaseBackup.storage is "much": it must be a quantity such as 500m, 2Gi or 100G');
  });

  it('sends nothing on a dry run, and nothing that cannot be built', async () => {
    const here = world();
    await addCluster(here);
    await updateCluster(here.context, { key: KEY, version: NEW, components: [], dryRun: true });
    const error = await refusal(updateCluster(here.context, { key: KEY, components: [parseAssignment('keystone.imgae=x')] }));
    expect(error.code).toBe('CLUSTER_INVALID');
    expect(error.message).toContain('Did you mean image?');
    expect(live(here).spec).toEqual(seedSpec());
  });

  it('does not overwrite what somebody else changed after it planned', async () => {
    const here = world();
    await addCluster(here);
    here.api.fault = ({ verb, kind }) => {
      if (verb !== 'list' || kind !== 'Service') return undefined;
      here.api.fault = undefined;
      void here.api.patch(clusterType, KEY, { spec: { zone: 'zone7' } });
      return undefined;
    };
    const error = await refusal(updateCluster(here.context, { key: KEY, version: NEW, components: [] }));
    expect(error.code).toBe('CLUSTER_CHANGED_MEANWHILE');
    expect(error.message).toContain(' onecloud/default ');
    expect(at(live(here), 'spec', 'version')).toBe(OLD);
  });

  it('an operator that writes its status meanwhile has changed nothing of what was planned on', async () => {
    const here = world();
    await addCluster(here);
    let written = 0;
    here.api.fault = ({ verb, kind }) => {
      if (verb === 'list' && kind === 'Service' && written < 3)
        here.api.report(clusterType.kind, 'onecloud/default', { phase: 'Upgrading', observedGeneration: ++written });
      return undefined;
    };
    await updateCluster(here.context, { key: KEY, version: NEW, components: [] });
    expect([written, at(live(here), 'spec', 'version')]).toEqual([3, NEW]);
    expect(here.seen().match(/COMPONENT/g)).toHaveLength(1); // shown once
  });

  it('but a program that came to the tables meanwhile is a step back that nobody gave the word for', async () => {
    const here = world();
    await addCluster(here, { version: NEW });
    await report(here, {
      history: [{ ...upgraded, outcome: 'InProgress' }],
      components: { keystone: { phase: 'Ready', databaseVersion: OLD } },
    });
    here.api.fault = ({ verb, kind }) => {
      if (verb !== 'list' || kind !== 'Service') return undefined;
      here.api.fault = undefined;
      const components = { keystone: { phase: 'Ready', databaseVersion: 'v3.1.3-20200401.0' } };
      here.api.report(clusterType.kind, 'onecloud/default', { observedGeneration: 1, components });
      return undefined;
    };
    const components = [parseAssignment(`keystone.image=registry.example.net/yunionio/keystone:v3.1.3-20200325.0`)];
    const error = await refusal(updateCluster(here.context, { key: KEY, components }));
    expect(error.code).toBe('CLUSTER_DATABASE_NOT_ROLLED_BACK');
    expect(at(live(here), 'spec', 'keystone', 'image')).toBeUndefined();
  });

  it('calls going back by its name', async () => {
    const here = world();
    await addCluster(here, { version: NEW });
    await report(here, { history: [upgraded] });
    expect((await refusal(updateCluster(here.context, { key: KEY, version: OLD, components: [] }))).code).toBe('CLUSTER_VERSION_BEFORE');
  });

  it('004-6: says before it is sent what the operator would refuse: a cleared image whose tables are newer than the version', async () => {
    const here = world();
    const image = `registry.example.net/yunionio/glance:${NEW}`;
    await addCluster(here, { glance: { image } });
    await report(here, { history: [], components: { glance: { phase: 'Ready', databaseVersion: NEW } } });
    const options = { key: KEY, components: [parseAssignment('glance.image=')] };
    const plan = await planUpdate(here.context, options);
    expect(plan.stepsBack).toEqual([{ component: 'glance', tables: NEW, to: OLD }]);
    expect(here.seen()).toContain(`word: glance would get ${OLD} although ${NEW} was at its tables: --accept-database-not-rolled-back`);
    const error = await refusal(updateCluster(here.context, options));
    expect(error.code).toBe('CLUSTER_DATABASE_NOT_ROLLED_BACK');
    expect(at(live(here), 'spec', 'glance', 'image')).toBe(image);
    await updateCluster(here.context, { ...options, acceptDatabaseNotRolledBack: true });
    expect(at(live(here), 'spec', 'glance', 'image')).toBeUndefined();
    expect(live(here).metadata.annotations).toEqual({ 'onecloud.yunion.io/accept-database-not-rolled-back': OLD });
  });

  it('asks for no word where names do not tell which version is older and neither ran before', async () => {
    const here = world();
    await addCluster(here, { version: 'latest' });
    await updateCluster(here.context, { key: KEY, version: 'master', components: [] });
    expect(at(live(here), 'spec', 'version')).toBe('master');
  });

  it('calls another region by its name: another cluster', async () => {
    const here = world();
    await addCluster(here);
    const error = await refusal(updateCluster(here.context, { key: KEY, components: [{ path: ['region'], value: 'north' }] }));
    expect(error.message).toContain('ONECLOUD_FIELD_IMMUTABLE');
  });

  it('names the clusters that are there when it is asked for another', async () => {
    const here = world();
    await addCluster(here);
    const error = await refusal(
      updateCluster(here.context, { key: { name: 'defualt', namespace: 'onecloud' }, version: NEW, components: [] }),
    );
    expect(`${error}`).toMatch(/CLUSTER_NOT_FOUND: .*onecloud\/defualt.*onecloud\/default/);
  });

  it('wants something to do', async () => {
    expect((await refusal(updateCluster(world().context, { key: KEY, components: [] }))).code).toBe('CLUSTER_NOTHING_ASKED');
  });
});

describe('004-7: cluster rollback', () => {
  const upgradedCluster = async (history: object[], spec: Record<string, unknown> = { version: NEW }) => {
    const here = world();
    await addCluster(here, spec);
    await report(here, { history: history as never });
    return here;
  };

  it('wants no word for tables that the newer program never touched, as the operator tells', async () => {
    const here = await upgradedCluster([upgraded]);
    const component = { phase: 'Ready' as const, databaseVersion: OLD };
    const components = Object.fromEntries(catalog.map(({ name }) => [name, component]));
    await report(here, { history: [upgraded] as never, components });
    await rollbackCluster(here.context, { key: KEY });
    expect(at(live(here), 'spec', 'version')).toBe(OLD);
  });

  it('goes back to the version before, with the word for the databases on the object', async () => {
    const here = await upgradedCluster([upgraded]);
    const error = await refusal(rollbackCluster(here.context, { key: KEY }));
    expect(error.code).toBe('CLUSTER_DATABASE_NOT_ROLLED_BACK');
    expect(error.message).toMatch(/keystone, region, .*, notify, .* may have changed their tables/);
    expect(error.message).toContain('meter'); // brings its tables up when it starts
    expect(error.message).not.toContain('apigateway'); // has no database
    expect(at(live(here), 'spec', 'version')).toBe(NEW);
    await rollbackCluster(here.context, { key: KEY, acceptDatabaseNotRolledBack: true });
    expect(at(live(here), 'spec', 'version')).toBe(OLD);
    expect(live(here).metadata.annotations).toEqual({ 'onecloud.yunion.io/accept-database-not-rolled-back': OLD });
  });

  it('needs no word where no database is touched', async () => {
    const here = await upgradedCluster([upgraded]);
    await rollbackCluster(here.context, { key: KEY, component: 'apigateway', to: OLD });
    expect(at(live(here), 'spec', 'apiGateway')).toEqual({ image: `registry.cn-beijing.aliyuncs.com/yunionio/apigateway:${OLD}` });
    expect(at(live(here), 'spec', 'version')).toBe(NEW);
  });

  it('shows what it would do without the word', async () => {
    const here = await upgradedCluster([upgraded]);
    await rollbackCluster(here.context, { key: KEY, dryRun: true });
    expect(here.seen()).toContain(`keystone:${OLD}`);
    expect(at(live(here), 'spec', 'version')).toBe(NEW);
  });

  it.each([
    ['no history', [], {}, 'CLUSTER_NO_EARLIER_VERSION'],
    ['a version that never ran', [upgraded], { to: 'v3.1.3-20200312.1' }, 'CLUSTER_VERSION_NEVER_RAN'],
    ['a version whose upgrade failed', [{ ...upgraded, to: 'v9', outcome: 'Failed' }, upgraded], { to: 'v9' }, 'CLUSTER_VERSION_NEVER_RAN'],
    ['a component that is none', [upgraded], { component: 'keyston' }, 'CLUSTER_COMPONENT_UNKNOWN'],
  ])('refuses %s', async (_, history, options, code) => {
    const here = await upgradedCluster(history);
    expect((await refusal(rollbackCluster(here.context, { key: KEY, ...options }))).code).toBe(code);
  });

  it('knows what ran from the history', () => {
    const cluster = (history: object[], version = 'c', inForce?: string) =>
      ({ spec: { ...seedSpec(), version }, status: { history, ...(inForce && { version: inForce }) } }) as never;
    const change = (from: string | undefined, to: string, outcome = 'Succeeded') => ({ ...upgraded, from, to, outcome });
    expect(earlierVersions(cluster([change(undefined, 'a'), change('a', 'b'), change('b', 'c')]))).toEqual(['b', 'a']);
    expect(previousVersion(cluster([change(undefined, 'a'), change('a', 'b'), change('b', 'c')]))).toBe('b');
    // an upgrade that failed: what was in force before it
    expect(previousVersion(cluster([change(undefined, 'a'), change('a', 'c', 'Failed')], 'c', 'a'))).toBe('a');
    expect(previousVersion(cluster([{ ...change('x', 'c'), component: 'glance' }]))).toBeUndefined();
  });
});

describe('--component KEY.FIELD=VALUE', () => {
  it.each<[string, unknown]>([
    ['glance.image=registry:5000/a/glance:v1', { glance: { image: 'registry:5000/a/glance:v1' } }],
    ['glance.replicas=2', { glance: { replicas: 2 } }],
    ['glance.disable=true', { glance: { disable: true } }],
    ['glance.tag=20200312', { glance: { tag: '20200312' } }],
    ['region.tag=v1', { regionServer: { tag: 'v1' } }],
    ['glance.requests.storage=200G', { glance: { requests: { storage: '200G' } } }],
    ['keystone.nodePorts.public=30501', { keystone: { nodePorts: { public: 30501 } } }],
    ['glance.nodeSelector={"disk":"ssd"}', { glance: { nodeSelector: { disk: 'ssd' } } }],
    ['glance.image=', { glance: { image: null } }],
  ])('%s', (text, patch) => {
    expect(mergePatchOf(seedSpec({ glance: { image: 'x' } }), [parseAssignment(text)])).toEqual(patch);
  });

  it('takes several for one component', () => {
    const assignments = ['glance.image=', 'glance.replicas=0', 'web.disable=true'].map(parseAssignment);
    expect(mergePatchOf(seedSpec({ glance: { image: 'x' } }), assignments)).toEqual({
      glance: { image: null, replicas: 0 },
      web: { disable: true },
    });
    const spec = assigned(seedSpec({ glance: { image: 'x', storageClassName: 'fast' } }), assignments);
    expect(spec).toMatchObject({ glance: { storageClassName: 'fast', replicas: 0 }, web: { disable: true } });
    expect(spec.glance).not.toHaveProperty('image');
  });

  it.each([
    ['glance', 'CLUSTER_ASSIGNMENT_MALFORMED'],
    ['glance=x', 'CLUSTER_ASSIGNMENT_MALFORMED'],
    ['glanse.image=x', 'CLUSTER_COMPONENT_UNKNOWN'],
    ['=x', 'CLUSTER_ASSIGNMENT_MALFORMED'],
  ])('refuses %s', async (text, code) => {
    expect((await refusal(Promise.resolve().then(() => parseAssignment(text)))).code).toBe(code);
  });
});

describe('cluster plan', () => {
  it('tells what runs from what the spec says', async () => {
    const here = world();
    await addCluster(here);
    const labels = { 'app.kubernetes.io/instance': 'onecloud-cluster-default', 'app.kubernetes.io/component': 'keystone' };
    const containers = [{ name: 'keystone', image: 'registry.cn-beijing.aliyuncs.com/yunionio/keystone:older' }];
    await here.api.create(resourceTypes.deployments, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'default-keystone', namespace: 'onecloud', labels },
      spec: { template: { spec: { containers } } },
    });
    const plan = await planUpdate(here.context, { key: KEY, components: [] });
    expect(plan.components.map(({ component, rollout }) => [component, rollout])).toEqual([['keystone', 'rolling']]);
    expect(here.seen()).toMatch(
      /keystone .*image keystone +\S+:older +\S+:v3\.1\.3-20200312\.0 +rolls, the service goes on; migrates its database/,
    );
  });

  it("sees a node port that another namespace's Service has", async () => {
    const here = world();
    await addCluster(here);
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'shop', namespace: 'shop' },
      spec: { ports: [{ port: 80, nodePort: 30292 }] },
    };
    await here.api.create(resourceTypes.services, service);
    const error = await refusal(planUpdate(here.context, { key: KEY, components: [] }));
    expect(error.code).toBe('CLUSTER_INVALID');
    expect(here.printed).toContain('conflict: glance: node port 30292 belongs to the Service shop/shop');
  });

  it('writes nothing', async () => {
    const here = world();
    await addCluster(here);
    const writes = here.api.writes().length;
    await planUpdate(here.with({ asJson: true }), { key: KEY, version: NEW, components: [] });
    expect(here.api.writes()).toHaveLength(writes);
    expect(JSON.parse(here.printed.join('\n'))).toMatchObject({ conflicts: [] });
  });
});
