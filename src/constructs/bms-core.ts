import { Lazy } from 'cdk8s';
import { CONFIG_KEY, configMapName, coordinationOf, podConfigText, SERVICE_ACCOUNT, vipKey } from 'cdk8s-baremetal-contract';
import { k8s, ServiceAccount } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { BmsCoreDaemonSet } from './bms-core-daemon-set.ts';
import { MachineObjectsAccess } from './bms-core-objects.ts';
import { BmsCoreSeedDaemonSet } from './bms-core-seed-daemon-set.ts';
import { LeasesAccess, RecordsAccess } from './bms-core-store.ts';
import type { Pod } from './pod.ts';
import type { Site } from './site.ts';

export interface BmsCoreProps {
  readonly site: Site;
}

/**
 * The daemon bms-core on every management node of a site: a ConfigMap per pod, the account it runs as, and the DaemonSets
 * in one of two forms (`bmsCore.form` of the site).
 */
export class BmsCore extends Construct {
  private readonly site: Site;
  private readonly configs: PodConfig[] = [];

  constructor(scope: Construct, id: string, { site }: BmsCoreProps) {
    super(scope, id);
    this.site = site;
    new ServiceAccount(this, 'service-account', { metadata: { name: SERVICE_ACCOUNT }, automountToken: false });
    if (site.input.bmsCore?.store === 'kubernetes') new RecordsAccess(this, 'records-access', { namespace: site.namespace ?? 'default' });
    const { store = 'sqlite' } = site.input.bmsCore ?? {};
    if (store !== 'sqlite') new MachineObjectsAccess(this, 'objects-access', { namespace: site.namespace ?? 'default' });
    if (coordinationOf(site.input) === 'kubernetes') new LeasesAccess(this, 'leases-access', { namespace: site.namespace ?? 'default' });
    if (this.usesSeedForm) new BmsCoreSeedDaemonSet(this, 'daemon-set', { site, configs: this.configs });
  }

  /** Called by the site for each pod that it gets. */
  addPod(pod: Pod): void {
    const config = new PodConfig(this, `config-${pod.node.id}`, { pod });
    this.configs.push(config);
    if (!this.usesSeedForm) new BmsCoreDaemonSet(this, `daemon-set-${pod.node.id}`, { pod, config });
  }

  /** Read from what was written: the form decides which constructs there are, before anything is validated. */
  private get usesSeedForm(): boolean {
    return this.site.input.bmsCore?.form === 'seed';
  }
}

/** The ConfigMap of one pair of management nodes: its VIPs and bms-core's configuration. */
export class PodConfig extends Construct {
  private readonly pod: Pod;

  constructor(scope: Construct, id: string, { pod }: { readonly pod: Pod }) {
    super(scope, id);
    this.pod = pod;
    new k8s.KubeConfigMap(this, 'Resource', {
      metadata: { name: this.objectName },
      data: Lazy.any({ produce: () => this.data }),
    });
  }

  get objectName(): string {
    return configMapName(this.pod.node.id, this.pod.site.input.name);
  }

  /** Its content. For what is produced at synthesis, after validation. */
  get data(): Record<string, string> {
    const { spec, site } = this.pod;
    const vips = Object.entries(spec.vips).map(([vlan, address]) => [vipKey(Number(vlan)), address]);
    return { ...Object.fromEntries(vips), [CONFIG_KEY]: podConfigText(site.spec, spec) };
  }
}
