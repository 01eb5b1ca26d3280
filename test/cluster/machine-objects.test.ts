/** bms-core on loopback and the BareMetalNodes of a real API server, by a service account's token with the rights that the manifests give. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { type Network, silentLogger, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { type NodeRecord, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { type BmsCore, startBmsCore } from 'cdk8s-baremetal-runtime/main';
import { MemoryStore, modify } from 'cdk8s-baremetal-runtime/store/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { type KubernetesPeer, kubernetesPeer } from '../runtime/store/kubernetes-peer.ts';
import { kubectl, withoutCluster } from '../support/cluster.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

// biome-ignore lint/suspicious/noExplicitAny: manifests
type Manifest = any;

const manifests: Manifest[] = parseAllDocuments(readFileSync('dist/wuxi2.k8s.yaml', 'utf8')).map((document) => document.toJS());
const rules = manifests.filter(({ kind, metadata }) => kind === 'Role' && metadata.name !== 'bms-core-store').flatMap((role) => role.rules);
const machines = manifests.filter(({ kind, spec }) => kind === 'BareMetalNode' && spec.pod === 'pod45');
const [first] = machines;

describe.skipIf(withoutCluster('machines as objects of an API server'))('002-6 002-9: BareMetalNodes and bms-core', () => {
  const folder = temporaryFolder();
  const store = new MemoryStore();
  let peer: KubernetesPeer;
  let core: BmsCore;
  let cut = new AbortController();

  /** The same, with a cable that can be pulled. */
  const network: Network = {
    ...nodeNetwork,
    request: async (request) => {
      cut.signal.throwIfAborted();
      return nodeNetwork.request(request);
    },
    requestStream: async (request) => {
      cut.signal.throwIfAborted();
      const signal = request.signal ? AbortSignal.any([request.signal, cut.signal]) : cut.signal;
      return nodeNetwork.requestStream({ ...request, signal });
    },
  };

  beforeAll(async () => {
    folder.create();
    peer = kubernetesPeer({ rules });
    for (const secret of new Set(machines.map(({ spec }) => spec.bmc.credentialsSecretRef.name))) {
      mkdirSync(folder.path('credentials', String(secret)), { recursive: true });
      writeFileSync(folder.path('credentials', String(secret), 'username'), 'admin\n');
      writeFileSync(folder.path('credentials', String(secret), 'password'), 'hunter2!\n');
    }
    for (const machine of machines) apply(machine);
    const off = ['api', 'dhcp', 'tftp', 'http_boot', 'deploy_helper', 'power_sync'] as const;
    const env = {
      ...Object.fromEntries(off.map((name) => [bmsCoreConfig.envName(name, 'enabled'), 'false'])),
      BMS_SW_COORDINATION__BACKEND_URL: 'kubernetes://',
      BMS_STORE__URL: 'memory://',
      BMS_IPMI__CREDENTIALS_DIR: folder.path('credentials'),
      BMS_OBJECTS__ENABLED: 'true',
      BMS_OBJECTS__FORGET_AFTER: '2',
      BMS_PXE__TFTPBOOT_DIR: folder.path(),
      BMS_IMAGE_CACHE__DIR: folder.path('images'),
    };
    core = await startBmsCore({
      config: bmsCoreConfig.parse('', { env }),
      memberName: 'mgmt-pod45-wuxi2-1',
      serverAddress: '127.0.0.1',
      stateDirectory: folder.path(),
      network,
      clock: nodeClock,
      random: nodeRandom,
      logger: silentLogger,
      store,
      cluster: peer.access(),
    });
  }, 60_000);
  afterAll(async () => {
    await core?.close();
    expect(kubectl('get', 'leases', '-n', peer.namespace, '-o', 'name')).toBe('');
    peer?.remove();
    folder.remove();
  });

  const apply = (machine: Manifest, change: object = {}, name: string = machine.metadata.name): void => {
    const { site, pod, interfaces, properties, bmc } = machine.spec;
    const spec = { site, pod, interfaces, properties, ...change };
    const address = bmc.address.replace(/^10\.128\.192/, '127.11.45'); // nobody's BMC
    const object = {
      ...machine,
      metadata: { name, namespace: peer.namespace },
      spec: { ...spec, bmc: { ...bmc, address, ...('bmc' in change ? (change.bmc as object) : {}) } },
    };
    writeFileSync(folder.path('object.json'), JSON.stringify(object));
    kubectl('apply', '-f', folder.path('object.json'));
  };
  const status = (name: string): Manifest => JSON.parse(kubectl('get', 'bmn', name, '-n', peer.namespace, '-o', 'json')).status;
  const condition = (name: string, type: string): Manifest => status(name)?.conditions?.find((one: Manifest) => one.type === type);
  const events = (name: string): string[] =>
    JSON.parse(kubectl('get', 'events', '-n', peer.namespace, '--field-selector', `involvedObject.name=${name}`, '-o', 'json'))
      .items.map(({ type, reason, message }: Manifest) => `${type} ${reason} ${message}`)
      .sort();
  const node = async (name: string): Promise<NodeRecord | undefined> =>
    (await store.list(nodeKind)).find(({ value }) => value.name === name)?.value;
  const eventually = async (check: () => Promise<unknown> | unknown): Promise<void> => {
    for (let tries = 0; ; tries++) {
      try {
        await check();
        return;
      } catch (error) {
        if (tries > 100) throw error;
        await sleep(nodeClock, 200);
      }
    }
  };
  const name: string = first?.metadata.name;

  it('machines of the site appear in the store, and their status on the objects', async () => {
    await eventually(async () => {
      expect((await store.list(nodeKind)).map(({ value }) => value.name).sort()).toEqual(
        machines.map(({ metadata }) => metadata.name).sort(),
      );
      for (const { metadata } of machines) expect(condition(metadata.name, 'Accepted')?.status).toBe('True');
    });
    const enrolled = await node(name);
    // the replica is a member of its pod by a Lease, which is released at its end
    expect(kubectl('get', 'leases', '-n', peer.namespace, '-o', 'name')).toBe(
      'lease.coordination.k8s.io/pod45-wuxi2.member.mgmt-pod45-wuxi2-1\n',
    );
    expect(status(name)).toMatchObject({ uuid: enrolled?.uuid, observedGeneration: 1, power: 'unknown' });
    expect(enrolled).toMatchObject({ bmc: { username: 'admin', passwordRef: `credentials.${first.spec.bmc.credentialsSecretRef.name}` } });
    await eventually(async () => expect(status(name).owner).toBe((await node(name))?.owner));
    expect(kubectl('get', 'bmn', '-n', peer.namespace, '-o', 'json')).not.toContain('hunter2');
  }, 60_000);

  it('a duplicate is refused with code and cure', async () => {
    apply(first, { bmc: { address: '127.11.45.250' } }, 'twin');
    await eventually(() =>
      expect(condition('twin', 'Accepted')).toMatchObject({
        status: 'False',
        reason: 'MACHINE_TAKEN',
        message: expect.stringContaining(`belongs to the machine ${name} already. Correct the typo`),
      }),
    );
    expect(await node('twin')).toBeUndefined();
    await eventually(() => expect(events('twin')).toEqual([expect.stringMatching(/^Warning Refused MACHINE_TAKEN: .*Correct the typo/)]));
    expect(events(name)).toEqual([expect.stringMatching(/^Normal Enrolled enrolled as the machine /)]);
    expect(kubectl('describe', 'bmn', 'twin', '-n', peer.namespace)).toContain('MACHINE_TAKEN');
    kubectl('delete', 'bmn', 'twin', '-n', peer.namespace);
  }, 60_000);

  it('a change of the spec is applied, also one made while the API server could not be reached', async () => {
    apply(first, { properties: { ...first.spec.properties, cpus: 7 } });
    await eventually(async () => expect((await node(name))?.properties.cpus).toBe(7));
    await eventually(() => expect(events(name)).toContainEqual(expect.stringMatching(/^Normal Corrected generation 2 .* properties$/)));
    cut.abort(new Error('no route to host'));
    apply(first, { properties: { ...first.spec.properties, cpus: 9 } });
    await sleep(nodeClock, 1_000);
    expect((await node(name))?.properties.cpus).toBe(7);
    cut = new AbortController();
    await eventually(async () => expect((await node(name))?.properties.cpus).toBe(9));
    await eventually(() => expect(status(name).observedGeneration).toBe(3));
  }, 60_000);

  it('deletion holds a machine with an instance; made again, it is let go; without one its record goes', async () => {
    const instance = { uuid: 'i-1', name: 'web', imageId: 'debian', vifs: [], volumes: [], at: 0 };
    const uuid = (await node(name))?.uuid ?? '';
    await modify(store, nodeKind, uuid, (value) => ({ ...value, state: 'active' as const, stateDeadline: undefined, instance }));
    kubectl('delete', 'bmn', name, '-n', peer.namespace);
    await eventually(async () => expect(await node(name)).toMatchObject({ maintenance: true, instance }));
    await eventually(() => expect(events(name)).toContainEqual(expect.stringMatching(/^Warning Held .*with its instance web/)));
    await sleep(nodeClock, 3_000);
    expect(await node(name)).toMatchObject({ maintenance: true, instance });
    apply(first);
    await eventually(async () => expect(await node(name)).toMatchObject({ uuid, maintenance: false }));
    await eventually(() => expect(status(name)).toMatchObject({ uuid, state: 'active', instance: { uuid: 'i-1', name: 'web' } }));
    await modify(store, nodeKind, uuid, ({ instance: _, ...value }) => ({ ...value, maintenance: true, maintenanceReason: 'by hand' }));
    kubectl('delete', 'bmn', name, '-n', peer.namespace);
    await eventually(async () => expect(await node(name)).toBeUndefined());
    await eventually(() => expect(events(name)).toContainEqual(expect.stringMatching(/^Normal Withdrawn /)));
  }, 60_000);
});
