import { describe, expect, it } from 'vitest';
import { clusterType } from '../../../src/cli/cluster/cluster-object.ts';
import { clusterAnnotation } from '../../../src/cli/cluster/names.ts';
import { restoreCluster } from '../../../src/cli/cluster/restore.ts';
import { at } from '../../../src/operator/engine/objects.ts';
import { AT, addCluster, KEY, live, refusal, report, world } from './world.ts';

const [OLD, NEW] = ['v3.1.3-20200312.0', 'v3.1.3-20200320.0'];
const databaseDump = { state: 'Taken', message: 'dump.sql.gz in PersistentVolumeClaim default-database-dumps' } as const;
const upgraded = { revision: 2, who: 'bmctl', when: AT, from: OLD, to: NEW, outcome: 'Failed', databaseDump } as const;

describe('bmctl cluster restore', () => {
  it('begins while the operator writes its status', async () => {
    const here = world();
    await addCluster(here);
    await report(here, { history: [upgraded] });
    let written = 0;
    here.api.fault = ({ verb, kind }) => {
      if (verb === 'patch' && kind === clusterType.kind && written < 3)
        here.api.report(kind, 'onecloud/default', { phase: 'Degraded', observedGeneration: ++written, history: [upgraded] });
      return undefined;
    };
    const error = await here.clock.run(refusal(restoreCluster(here.context, { key: KEY, minutes: 1, yes: true })));
    expect([written, error.code]).toEqual([3, 'ONECLOUD_SECRET_MISSING']); // which the Job would log in with
    expect(at(live(here), 'spec', 'glance', 'disable')).toBe(true);
    expect(live(here).metadata.annotations?.[clusterAnnotation.restoring]).toContain('dump.sql.gz');
  });
});
