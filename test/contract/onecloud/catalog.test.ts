import { type Component, catalog, credentialsRow, HISTORY_LIMIT, layersOf, requiredSecrets } from 'cdk8s-baremetal-contract/onecloud/index';
import { describe, expect, it } from 'vitest';

/** Typed from the original's behaviour, not from the catalog: spec key, object name, kind, ports that nodes open. */
const ORIGINAL: readonly (readonly [string, string, string, readonly number[]])[] = [
  ['keystone', 'keystone', 'Deployment', [30500, 30357]],
  ['regionServer', 'region', 'Deployment', [30888]],
  ['scheduler', 'scheduler', 'Deployment', [30887]],
  ['climc', 'climc', 'Deployment', []],
  ['webconsole', 'webconsole', 'Deployment', [30899]],
  ['logger', 'logger', 'Deployment', [30999]],
  ['yunionconf', 'yunionconf', 'Deployment', [30889]],
  ['monitor', 'monitor', 'Deployment', [30093]],
  ['apiGateway', 'apigateway', 'Deployment', [30300, 30443]],
  ['web', 'web', 'Deployment', []],
  ['kubeserver', 'kubeserver', 'Deployment', [30442]],
  ['ansibleserver', 'ansibleserver', 'Deployment', [30890]],
  ['cloudnet', 'cloudnet', 'Deployment', [30891]],
  ['cloudevent', 'cloudevent', 'Deployment', [30892]],
  ['s3gateway', 's3gateway', 'Deployment', [30884]],
  ['devtool', 'devtool', 'Deployment', [30997]],
  ['autoupdate', 'autoupdate', 'Deployment', [30981]],
  ['ovnNorth', 'ovn-north', 'Deployment', [32241, 32242]],
  ['vpcAgent', 'vpcagent', 'Deployment', []],
  ['glance', 'glance', 'StatefulDeployment', [30292]],
  ['influxdb', 'influxdb', 'StatefulDeployment', [30086]],
  ['notify', 'notify', 'StatefulDeployment', [30777]],
  ['baremetalagent', 'baremetal-agent', 'StatefulDeployment', []],
  ['meter', 'meter', 'StatefulDeployment', [30909]],
  ['esxiagent', 'esxi-agent', 'StatefulDeployment', [30883]],
  ['hostagent', 'host', 'DaemonSet', []],
  ['hostdeployer', 'host-deployer', 'DaemonSet', []],
  ['yunionagent', 'yunionagent', 'DaemonSet', [30898]],
  ['regionDNS', 'region-dns', 'DaemonSet', []],
  ['cloudmonping', 'cloudmon-ping', 'CronJob', []],
  ['cloudmonreportusage', 'cloudmon-report-usage', 'CronJob', []],
  ['cloudmonreportserver', 'cloudmon-report-server', 'CronJob', []],
  ['cloudmonreporthost', 'cloudmon-report-host', 'CronJob', []],
];

const STORAGE = { 'esxi-agent': '30G', glance: '100G', influxdb: '20G', meter: '100G', notify: '1G', 'baremetal-agent': '100G' };

/** The pods that the document shows at deletion. */
const DELETED = `ansibleserver apigateway autoupdate climc cloudevent cloudnet devtool esxi-agent glance influxdb keystone logger meter
  monitor notify ovn-north region s3gateway scheduler vpcagent web webconsole yunionconf`.split(/\s+/);

const byName = (name: string): Component => {
  const found = catalog.find((component) => component.name === name);
  if (!found) throw new Error(`there is no component ${name}`);
  return found;
};

describe('the catalog', () => {
  it.each(ORIGINAL)('004-2 004-4: %s is default-%s, a %s', (key, name, kind, nodePorts) => {
    const component = catalog.find((row) => row.key === key);
    expect(component).toMatchObject({ name, kind });
    const ports = component?.ports ?? [];
    expect(ports.flatMap(({ nodePort }) => nodePort ?? [])).toEqual(nodePorts);
    // port = nodePort
    expect(ports.filter(({ port, nodePort }) => nodePort !== undefined && nodePort !== port)).toEqual([]);
  });

  it('004-2: has nothing beside them, and every component that the document deletes', () => {
    expect(catalog.map(({ key }) => key).sort()).toEqual(ORIGINAL.map(([key]) => key).sort());
    expect(DELETED).toHaveLength(23);
    expect(catalog.map(({ name }) => name)).toEqual(expect.arrayContaining(DELETED));
  });

  it('004-4: claims', () => {
    const found = catalog.flatMap(({ name, storage }) => (storage ? [[name, storage.size]] : []));
    expect(Object.fromEntries(found)).toEqual(STORAGE);
  });

  it('ports on the nodes that are no node ports: host 8885, baremetal-agent 8879', () => {
    expect(byName('host').ports).toEqual([{ name: 'api', port: 8885 }]);
    expect(byName('baremetal-agent').ports).toEqual([{ name: 'api', port: 8879 }]);
  });

  it('004-2: notify has five containers', () => {
    const { companions = [] } = byName('notify');
    expect(companions.map(({ name, image }) => [name, image])).toEqual(
      ['dingtalk', 'email', 'smsaliyun', 'websocket'].map((name) => [name, 'notify-plugins']),
    );
  });

  it('004-15: host has four, with the images of its neighbours', () => {
    const { companions = [] } = byName('host');
    expect(companions.map(({ name, image, tag }) => [name, image, tag])).toEqual([
      ['host-image', 'host-image', undefined],
      ['ovn-controller', 'openvswitch', '2.9.6-2'],
      ['sdnagent', 'sdnagent', undefined],
    ]);
  });

  it('004-6: tags of their own', () => {
    expect(byName('influxdb')).toMatchObject({ image: 'influxdb', tag: '1.7.7' });
    expect(byName('ovn-north')).toMatchObject({ image: 'openvswitch', tag: '2.9.6-2' });
  });

  it('no two rows share a key, a name, a node port, a database or an account', () => {
    const unique = (values: readonly unknown[]): void => expect(new Set(values).size).toBe(values.length);
    unique(catalog.map(({ key }) => key));
    unique(catalog.map(({ name }) => name));
    unique(catalog.flatMap(({ ports = [] }) => ports.flatMap(({ nodePort }) => nodePort ?? [])));
    unique(catalog.flatMap(({ database }) => database?.name ?? []));
    unique(catalog.flatMap(({ database }) => database?.user ?? []));
    unique(catalog.flatMap(({ account }) => account?.user ?? []));
  });

  it('every row that borrows credentials names one that has them', () => {
    for (const component of catalog) expect(credentialsRow(component).credentialsOf).toBeUndefined();
  });

  it('privileged, and on the node, only with a reason', () => {
    expect(catalog.filter(({ host }) => host?.privileged !== undefined).map(({ name }) => name)).toEqual([
      'baremetal-agent',
      'host-deployer',
      'host',
    ]);
    for (const { host } of catalog) for (const { reason } of host?.folders ?? []) expect(reason.length).toBeGreaterThan(10);
    // mounting through to the node is allowed to privileged containers only
    const through = catalog.filter(({ host }) => host?.folders?.some(({ propagation }) => propagation === 'Bidirectional'));
    expect(through.filter(({ host }) => host?.privileged === undefined)).toEqual([]);
  });
});

describe('layers', () => {
  const layers = layersOf(catalog);
  const layerOf = (name: string): number => layers.findIndex((layer) => layer.some((component) => component.name === name));

  it("follow the document's order: keystone, region, then scheduler and glance, then the others", () => {
    expect(layers[0]?.map(({ name }) => name)).toEqual(['keystone']);
    expect(layers[1]?.map(({ name }) => name)).toEqual(['region']);
    expect(layers[2]?.map(({ name }) => name)).toEqual(expect.arrayContaining(['scheduler', 'glance']));
    expect(layerOf('ansibleserver')).toBe(3);
    expect(layerOf('web')).toBeGreaterThan(layerOf('apigateway'));
    expect(layerOf('host')).toBeGreaterThan(layerOf('host-deployer'));
  });

  it('hold every component once, each after all that it needs', () => {
    expect(
      layers
        .flat()
        .map(({ key }) => key)
        .sort(),
    ).toEqual(catalog.map(({ key }) => key).sort());
    for (const { name, after } of catalog) {
      for (const key of after) {
        const needed = catalog.find((component) => component.key === key);
        expect(layerOf(needed?.name ?? '')).toBeLessThan(layerOf(name));
      }
    }
  });

  const row = (key: string, after: string[]): Component => ({ key, name: key, kind: 'Deployment', image: key, after });

  it('refuse a circle and a stranger', () => {
    expect(() => layersOf([row('a', []), row('b', ['c']), row('c', ['b'])])).toThrow('the components b, c wait for each other');
    expect(() => layersOf([row('a', ['z'])])).toThrow('a comes after z, which is no component');
    expect(layersOf([])).toEqual([]);
  });
});

describe('secrets', () => {
  it('each component has its own, and no pod gets more than it uses', () => {
    const secrets = requiredSecrets('default');
    const keysOf = (name: string): readonly string[] | undefined => secrets.find((secret) => secret.name === name)?.keys;
    expect(keysOf('default-certs')).toEqual(['ca.crt', 'service.crt', 'service.key', 'tls.crt', 'tls.key']);
    expect(keysOf('default-keystone-credentials')).toEqual(['db-password', 'bootstrap-password']);
    expect(keysOf('default-glance-credentials')).toEqual(['db-password', 'service-password']);
    expect(keysOf('default-baremetal-agent-credentials')).toEqual(['service-password', 'ipmi-password']);
    expect(keysOf('default-scheduler-credentials')).toBeUndefined(); // uses region's
    expect(keysOf('default-web-credentials')).toBeUndefined();
    expect(new Set(secrets.map(({ name }) => name)).size).toBe(secrets.length);
  });

  it('the history is bounded', () => expect(HISTORY_LIMIT).toBe(32));
});
