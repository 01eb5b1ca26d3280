import { clusterManifests, configChecksum } from 'cdk8s-baremetal/onecloud/index';
import { describe, expect, it } from 'vitest';
import { configState, decideConfig, diffConfig, listConfigs } from '../../../src/cli/cluster/config.ts';
import { deleteCluster } from '../../../src/cli/cluster/delete.ts';
import { lineDifferences } from '../../../src/cli/cluster/line-differences.ts';
import { clusterStatus } from '../../../src/cli/cluster/status.ts';
import { statusError } from '../../../src/operator/engine/api-error.ts';
import { at, type KubeObject } from '../../../src/operator/engine/objects.ts';
import { resourceTypes, typeTable } from '../../../src/operator/engine/resource-types.ts';
import { AT, addCluster, KEY, live, refusal, report, seedSpec, type World, world } from './world.ts';

const LABELS = { 'app.kubernetes.io/instance': 'onecloud-cluster-default', 'app.kubernetes.io/component': 'glance' };

async function add(here: World, kind: keyof typeof resourceTypes, name: string, more: object = {}): Promise<void> {
  const { apiVersion, kind: word } = resourceTypes[kind];
  await here.api.create(resourceTypes[kind], {
    apiVersion,
    kind: word,
    metadata: { name, namespace: 'onecloud', labels: LABELS },
    ...more,
  } as KubeObject);
}

describe('004-10: cluster status', () => {
  it('shows components, conditions, what blocks, copies and the history', async () => {
    const here = world();
    await addCluster(here);
    await add(here, 'deployments', 'default-glance');
    await here.api.patch(
      resourceTypes.deployments,
      { name: 'default-glance', namespace: 'onecloud' },
      { metadata: { annotations: { 'onecloud.yunion.io/dev-sync': 'glance as /opt/yunion/bin/glance, SHA-256 abc…' } } },
    );
    await report(here, {
      observedGeneration: 1,
      phase: 'Degraded',
      version: 'v3.1.2',
      conditions: [{ type: 'Ready', status: 'False', reason: 'LayerFailed', message: 'keystone', lastTransitionTime: AT }],
      components: {
        keystone: {
          kind: 'Deployment',
          phase: 'Failed',
          ready: 0,
          desired: 1,
          image: 'registry.cn-beijing.aliyuncs.com/yunionio/keystone:v9',
          message: 'ImagePullBackOff',
        },
        glance: { kind: 'Deployment', phase: 'Ready', ready: 1, desired: 1, image: 'other.example/glance:v1', configDrift: true },
      },
      history: [{ revision: 1, who: 'lzx', when: AT, from: 'v3.1.2', to: 'v3.1.3-20200312.0', outcome: 'Failed', message: 'keystone' }],
    });
    await clusterStatus(here.context, KEY);
    const text = here.printed.join('\n');
    expect(text).toContain('v3.1.3-20200312.0 (in force: v3.1.2)');
    expect(text).toContain('Ready       False (LayerFailed): keystone');
    expect(text).toMatch(/keystone +Deployment +Failed +0\/1 +keystone:v9 +ImagePullBackOff/);
    expect(text).toMatch(
      /glance +Deployment +Ready +1\/1 +other\.example\/glance:v1 +configuration was edited; runs a copied program \(glance as/,
    );
    expect(text).toContain('It waits for:\n  keystone (Failed 0/1: ImagePullBackOff)');
    expect(text).toMatch(/lzx +all +v3\.1\.2 → v3\.1\.3-20200312\.0 +Failed: keystone/);
  });

  it('says that nobody reports, and works for accounts that see the cluster alone', async () => {
    const here = world();
    await addCluster(here);
    here.api.fault = ({ kind }) => (kind === 'Deployment' ? statusError(403, { message: 'forbidden' }) : undefined);
    await clusterStatus(here.context, KEY);
    expect(here.printed.join('\n')).toContain('The operator has not reported: is it installed? (bmctl bundle | kubectl apply -f -)');
  });

  it('prints JSON', async () => {
    const here = world();
    await addCluster(here);
    await clusterStatus(here.with({ asJson: true }), KEY);
    expect(JSON.parse(here.printed.join(''))).toEqual({ cluster: KEY, version: 'v3.1.3-20200312.0', status: {}, devCopies: {} });
  });
});

describe('004-12: cluster config', () => {
  /** The cluster with every ConfigMap as the operator makes them. */
  async function installed(): Promise<World> {
    const here = world();
    await addCluster(here);
    const types = typeTable();
    for (const { manifests } of clusterManifests(seedSpec(), KEY))
      for (const manifest of manifests.filter(({ kind }) => kind === 'ConfigMap'))
        await here.api.create(types(manifest as unknown as KubeObject), manifest as unknown as KubeObject);
    return here;
  }
  const edit = async (here: World, line = 'debug: true'): Promise<void> => {
    const live = here.api.peek('ConfigMap', 'onecloud/default-glance');
    await here.api.patch(
      resourceTypes.configMaps,
      { name: 'default-glance', namespace: 'onecloud' },
      { data: { config: `${at(live, 'data', 'config')}${line}\n` } },
    );
  };
  const stateOf = (here: World) => {
    const found = here.api.peek('ConfigMap', 'onecloud/default-glance');
    if (!found) throw new Error('not there');
    return configState('glance', found);
  };

  it('knows what was edited, and shows the lines', async () => {
    const here = await installed();
    await listConfigs(here.context, KEY);
    expect(here.printed).toEqual(['Every configuration is as it was generated.']);
    await edit(here);
    await listConfigs(here.context, KEY);
    expect(here.printed.at(-1)).toMatch(/glance +edited, undecided/);
    here.printed.length = 0;
    await diffConfig(here.context, KEY, 'glance');
    expect(here.printed).toEqual([expect.stringContaining('--- generated config'), '+ debug: true']);
  });

  it.each(['accept', 'reset'] as const)('%s is written down for the operator, which acts', async (decision) => {
    const here = await installed();
    await edit(here);
    await decideConfig(here.context, KEY, 'glance', decision);
    const state = stateOf(here);
    expect(state).toMatchObject({ edited: true, decision });
    expect(state.checksum).toBe(configChecksum(state.data));
    expect(state.data.config).toContain('debug: true'); // the operator acts, not bmctl
    const annotations = { accept: 'onecloud.yunion.io/accepted-config', reset: 'onecloud.yunion.io/reset-config' };
    expect(here.api.peek('ConfigMap', 'onecloud/default-glance')?.metadata.annotations).toMatchObject({
      [annotations[decision]]: state.checksum,
    });
    // the other word replaces this one
    const other = decision === 'accept' ? 'reset' : 'accept';
    await decideConfig(here.context, KEY, 'glance', other);
    expect(stateOf(here).decision).toBe(other);
  });

  it('an acceptance holds for the content that was seen, and for no other', async () => {
    const here = await installed();
    await edit(here);
    await decideConfig(here.context, KEY, 'glance', 'accept');
    await edit(here, 'trace: true');
    expect(stateOf(here)).toMatchObject({ edited: true });
    expect(stateOf(here).decision).toBeUndefined();
  });

  it('does not reset what somebody writes in the same moment', async () => {
    const here = await installed();
    await edit(here);
    let written = false;
    here.api.fault = ({ verb, kind }) => {
      if (verb === 'get' && kind === 'ConfigMap' && !written) {
        written = true;
        void edit(here, 'precious: true');
      }
      return undefined;
    };
    const error = await refusal(decideConfig(here.context, KEY, 'glance', 'reset'));
    expect(error.code).toBe('CLUSTER_CHANGED_MEANWHILE');
  });

  it('decides nothing where there is nothing to decide', async () => {
    const here = await installed();
    expect((await refusal(decideConfig(here.context, KEY, 'glance', 'reset'))).code).toBe('CLUSTER_NO_DRIFT');
    expect((await refusal(decideConfig(here.context, KEY, 'glanse', 'reset'))).cure).toBe('Did you mean glance?');
    expect((await refusal(decideConfig(here.context, KEY, 'ovnNorth', 'reset'))).code).toBe('CLUSTER_NO_CONFIG');
  });

  it.each([
    ['a\nb\nc', 'a\nc', ['- b']],
    ['a\nc', 'a\nb\nc', ['+ b']],
    ['a\nb', 'a\nx', ['- b', '+ x']],
    ['', 'a', ['- ', '+ a']],
    ['same', 'same', []],
  ])('compares lines: %j and %j', (before, after, lines) => {
    expect(lineDifferences(before, after)).toEqual(lines);
  });
});

describe('004-9: cluster delete', () => {
  const filled = async (change: object = {}): Promise<World> => {
    const here = world();
    await addCluster(here, { ...change });
    await add(here, 'deployments', 'default-glance');
    await add(here, 'persistentVolumeClaims', 'default-glance');
    return here;
  };

  it('shows what goes and what stays, and does nothing without --yes', async () => {
    const here = await filled();
    const error = await refusal(deleteCluster(here.context, { key: KEY }));
    expect(error.code).toBe('CLUSTER_NOT_CONFIRMED');
    const [goes = '', stays = ''] = here.printed.join('\n').split('Stays:');
    expect(goes).toContain('Deployment default-glance');
    expect(stays).toContain('PersistentVolumeClaim default-glance (pvcPolicy: Retain)');
    expect(stays).toContain('databases at 10.168.26.216 (databasePolicy: Retain)');
    expect(stays).toContain('Secret default-mysql');
    expect(live(here)).toBeDefined();
  });

  it('passwords go with the databases, certificates with the pods', async () => {
    for (const [databasePolicy, part] of [
      ['Retain', 1],
      ['Drop', 0],
    ] as const) {
      const here = await filled();
      await add(here, 'secrets', 'default-keystone-credentials');
      await add(here, 'secrets', 'default-certs');
      await refusal(deleteCluster(here.context, { key: KEY, databasePolicy }));
      const parts = here.printed.join('\n').split('Stays:');
      expect(parts[part]).toContain('default-keystone-credentials');
      expect(parts[1 - part]).not.toContain('default-keystone-credentials');
      expect(parts[0]).toContain('default-certs');
    }
  });

  it('sets the policies before it deletes', async () => {
    const here = await filled();
    await here.api.patch({ ...resourceTypes.pods, kind: 'OnecloudCluster' }, KEY, { metadata: { finalizers: ['x/y'] } });
    expect(await deleteCluster(here.context, { key: KEY, pvcPolicy: 'Delete', databasePolicy: 'Drop', yes: true })).toBe(true);
    expect(live(here).spec).toMatchObject({ pvcPolicy: 'Delete', databasePolicy: 'Drop' });
    expect(live(here).metadata.deletionTimestamp).toBeDefined();
    const [goes = ''] = here.printed.join('\n').split('Stays:');
    expect(goes).toContain('with their data (pvcPolicy: Delete): PersistentVolumeClaim default-glance');
    expect(goes).toContain('databases at 10.168.26.216 (databasePolicy: Drop): keystone, yunioncloud');
  });

  it('004-9: names the databases that the operator has made there, once it has told', async () => {
    const here = await filled();
    const at = (name: string, server: string) => ({ name, user: name, server });
    await report(here, { databases: [at('glance', '10.168.26.216:3306'), at('keystone', 'before:3306')] });
    await refusal(deleteCluster(here.context, { key: KEY, databasePolicy: 'Drop' }));
    expect(here.printed.join('\n')).toContain('(databasePolicy: Drop): glance\n');
  });

  it('deletes the cluster that it showed, not a namesake created since', async () => {
    const here = await filled();
    here.api.fault = ({ verb }) => {
      if (verb !== 'delete') return undefined;
      here.api.fault = undefined;
      const { uid } = live(here).metadata;
      Object.assign(live(here).metadata, { uid: `${uid}-newer` });
      return undefined;
    };
    expect((await refusal(deleteCluster(here.context, { key: KEY, yes: true }))).code).toBe('CLUSTER_CHANGED_MEANWHILE');
  });

  it('has nothing to do where there is nothing', async () => {
    const here = world();
    expect(await deleteCluster(here.context, { key: KEY, yes: true })).toBe(false);
    expect(here.api.writes()).toEqual([]);
  });
});
