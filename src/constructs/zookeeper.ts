import { Construct } from 'constructs';
import type { Site } from './site.ts';
import { ZooKeeperEnsemble } from './zookeeper-ensemble.ts';
import { ZooKeeperStandalone } from './zookeeper-standalone.ts';

export interface ZooKeeperProps {
  readonly site: Site;
}

/** Coordination between a pod's management nodes, in the form that the site asks for. */
export class ZooKeeper extends Construct {
  constructor(scope: Construct, id: string, { site }: ZooKeeperProps) {
    super(scope, id);
    // the form decides which constructs there are, before anything is validated
    if (site.input.zookeeper?.form === 'ensemble') new ZooKeeperEnsemble(this, 'ensemble', { site });
    else new ZooKeeperStandalone(this, 'standalone', { site });
  }
}
