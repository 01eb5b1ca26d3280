import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { App } from 'cdk8s';
import { Site } from 'cdk8s-baremetal';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { fetchConfig } from 'cdk8s-baremetal-runtime/launch/fetch-config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { established, kubectl, withoutCluster } from '../support/cluster.ts';
import { seedSite } from '../support/seed-site.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const NAMESPACE = 'bms-test-seed-form';

describe.skipIf(withoutCluster('applying manifests to an API server'))('a real API server', () => {
  const folder = temporaryFolder();
  beforeAll(() => {
    folder.create();
    // without kubectl's own check, which refuses rules in CEL before the server, if it is older than 1.25, ignores them
    kubectl('apply', '--validate=false', '-f', 'crds');
    established('crds');
  });
  afterAll(() => {
    kubectl('delete', '-f', 'dist', '--ignore-not-found', '--wait=false');
    kubectl('delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait=false');
    folder.remove();
  });

  it('takes dist/ as it is; applying it again changes nothing', () => {
    const first = kubectl('apply', '-f', 'dist').trim().split('\n');
    expect(first.filter((line) => !/ (created|configured|unchanged)$/.test(line))).toEqual([]);
    const again = kubectl('apply', '-f', 'dist').trim().split('\n');
    expect(again.filter((line) => !line.endsWith(' unchanged'))).toEqual([]);
  });

  it('gives the ConfigMap back byte for byte', () => {
    const { data } = JSON.parse(kubectl('get', 'configmap', 'pod45-wuxi2-bmscore', '-n', 'default', '-o', 'json'));
    const made = parseAllDocuments(readFileSync('dist/wuxi2.k8s.yaml', 'utf8')).map((document) => document.toJS());
    expect(data.config).toBe(made.find(({ kind }) => kind === 'ConfigMap').data.config);
  });

  it('refuses a BareMetalNode that the schema does not allow', () => {
    const node = {
      apiVersion: 'baremetal.bms.io/v1alpha1',
      kind: 'BareMetalNode',
      metadata: { name: 'broken' },
      spec: { site: 'wuxi2', pod: 'pod45', interfaces: [] },
    };
    writeFileSync(folder.path('broken.yaml'), stringify(node));
    expect(() => kubectl('apply', '-f', folder.path('broken.yaml'))).toThrow(/bmc/);
  });

  describe("the original's form", () => {
    beforeAll(() => {
      const site = { ...seedSite(), namespace: NAMESPACE, bmsCore: { form: 'seed' as const } };
      const manifests = Site.fromInput(new App(), site).toJson();
      writeFileSync(folder.path('seed.yaml'), manifests.map((manifest: unknown) => stringify(manifest, { version: '1.1' })).join('---\n'));
      kubectl('apply', '-f', folder.path('seed.yaml'));
    });

    const may = (verb: string, resource: string): boolean => {
      try {
        return (
          kubectl('auth', 'can-i', verb, resource, '-n', NAMESPACE, `--as=system:serviceaccount:${NAMESPACE}:bms-admin`).trim() === 'yes'
        );
      } catch {
        return false; // "no" ends with 1
      }
    };

    it.each([
      ['get', 'configmaps/pod45-wuxi2-bmscore', true],
      ['get', 'configmaps/kube-root-ca.crt', false],
      ['list', 'configmaps', false],
      ['update', 'configmaps/pod45-wuxi2-bmscore', false],
      ['get', 'secrets/pod45-bmc', false],
      ['get', 'pods', false],
    ])('000-12: bms-admin may %s %s: %s', (verb, resource, allowed) => {
      expect(may(verb, resource)).toBe(allowed);
    });

    it('000-11: the init container reads its ConfigMap with the token of bms-admin', async () => {
      const { clusters } = JSON.parse(kubectl('config', 'view', '--minify', '--raw', '--flatten', '-o', 'json'));
      const server = new URL(clusters[0].cluster.server);
      const account = 'var/run/secrets/kubernetes.io/serviceaccount';
      mkdirSync(folder.path(account), { recursive: true });
      writeFileSync(folder.path(account, 'ca.crt'), Buffer.from(clusters[0].cluster['certificate-authority-data'], 'base64'));
      writeFileSync(folder.path(account, 'token'), tokenOf('bms-admin'));
      await fetchConfig({
        env: {
          NODE_NAME: 'mgmt-pod45-wuxi2-1',
          POD_NAMESPACE: NAMESPACE,
          KUBERNETES_SERVICE_HOST: server.hostname,
          KUBERNETES_SERVICE_PORT: server.port,
        },
        network: nodeNetwork,
        clock: nodeClock,
        root: folder.path(),
      });
      expect(readFileSync(folder.path('etc/baremetal-api/baremetal-api.ini'), 'utf8')).toBe(
        readFileSync('test/contract/config/fixtures/pod45-wuxi2.ini', 'utf8'),
      );
    });
  });

  /** The TokenRequest API, which kubectl calls `create token` from 1.24 on. */
  function tokenOf(account: string): string {
    const request = folder.path('token-request.json');
    writeFileSync(
      request,
      JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 600 } }),
    );
    return JSON.parse(kubectl('create', '--raw', `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${account}/token`, '-f', request)).status
      .token;
  }
});
