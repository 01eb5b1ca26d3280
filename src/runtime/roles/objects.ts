/** Machines as Kubernetes objects, where [objects] says so. */
import { parseNodeName } from 'cdk8s-baremetal-contract';
import { MountedCredentials } from '../machine/index.ts';
import { MachineObjects, objectErrors } from '../objects/index.ts';
import { serviceAccount } from '../store/kubernetes/service-account.ts';
import { ClusterEvents } from './cluster-events.ts';
import { ClusterObjects } from './cluster-objects.ts';
import { insideCluster } from './inside-cluster.ts';
import type { MachineRole } from './machine.ts';
import { type Role, type Surroundings, startRole } from './role.ts';

/** Its errors later than the start are logged and told on the objects; machines boot without an API server. */
export function startObjects(surroundings: Surroundings, machines: MachineRole): Promise<Role> {
  const { config, memberName, store, secrets, coordination, network, clock, random, logger, metrics } = surroundings;
  return startRole((closing) => {
    if (!config.objects.enabled) return {};
    const named = parseNodeName(memberName);
    const site = config.objects.site ?? named?.site;
    const pod = config.objects.pod ?? named?.pod;
    if (site === undefined || pod === undefined) throw objectErrors.OBJECTS_WHOSE({ node: memberName });
    const of = <T>(read: () => T): T => insideCluster(read, (reason) => objectErrors.OBJECTS_OUTSIDE({ reason }));
    const access = surroundings.cluster ?? of(() => serviceAccount({ env: process.env, clock }));
    const namespace = of(() => access.namespace);
    const source = new ClusterObjects({ access, namespace, network, clock, random });
    closing(() => source.close());
    const log = logger.child({ role: 'objects' });
    const events = new ClusterEvents({ access, namespace, instance: memberName, network, clock, random, logger: log });
    closing(() => events.close());
    const mounted = new MountedCredentials(config.ipmi.credentials_dir, secrets);
    const objects = new MachineObjects({
      source,
      namespace,
      site,
      pod,
      store,
      secrets: mounted,
      username: (name) => mounted.username(name),
      credentialsDirectory: config.ipmi.credentials_dir,
      cipherSuite: String(config.ipmi.cipher_suite),
      forgetAfterMs: config.objects.forget_after * 1000,
      memberId: machines.memberId,
      isAlive: (member) => coordination.isAlive(member),
      clock,
      random,
      logger: log,
      onNews: (news) => {
        metrics.add('bms_object_changes_total', { change: news.change });
        events.post(news);
      },
    });
    closing(() => objects.close());
    objects.start();
    metrics.collect(() => {
      const { objects: all, refused, reading } = objects.summary;
      metrics.set('bms_objects', { accepted: 'true' }, all - refused);
      metrics.set('bms_objects', { accepted: 'false' }, refused);
      metrics.set('bms_objects_reading', {}, Number(reading));
    });
    return {};
  });
}
