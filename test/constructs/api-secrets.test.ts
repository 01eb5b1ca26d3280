/** The API's tokens and certificate, out of Secrets that the site names. */
import { bmsCoreConfig, path, type SiteInput } from 'cdk8s-baremetal-contract';
import { describe, expect, it } from 'vitest';
import { schemaProblems } from '../support/kubernetes-schema.ts';
import { seedSite } from '../support/seed-site.ts';
import { type AnyManifest, find, synthSite } from '../support/synth.ts';

type Form = 'per-pod' | 'seed';
const API = { tokens: { secretName: 'bms-api-tokens' }, tls: { secretName: 'bms-api-tls' } };

const synth = (form: Form, api?: NonNullable<SiteInput['bmsCore']>['api']): AnyManifest[] =>
  synthSite({ ...seedSite(), bmsCore: { form, ...(api && { api }) } });
const podOf = (manifests: readonly AnyManifest[], form: Form) =>
  find(manifests, 'DaemonSet', form === 'seed' ? 'bms-core' : 'bms-core-pod45-wuxi2').spec.template.spec;

describe.each(['per-pod', 'seed'] as const)('the form %s', (form) => {
  it('mounts both read-only, for root alone, where the configuration looks for them', () => {
    const manifests = synth(form, API);
    const pod = podOf(manifests, form);
    const [main] = pod.containers;
    expect(pod.volumes.filter(({ name }: { name: string }) => name.startsWith('api-'))).toEqual([
      { name: 'api-tokens', secret: { secretName: 'bms-api-tokens', defaultMode: 0o400, items: [{ key: 'tokens', path: 'tokens' }] } },
      {
        name: 'api-tls',
        secret: {
          secretName: 'bms-api-tls',
          defaultMode: 0o400,
          items: [
            { key: 'tls.crt', path: 'tls.crt' },
            { key: 'tls.key', path: 'tls.key' },
          ],
        },
      },
    ]);
    const { api } = bmsCoreConfig.parse(find(manifests, 'ConfigMap', 'pod45-wuxi2-bmscore').data.config);
    expect(api).toMatchObject({ tokens_file: path.apiTokensFile, tls_cert: path.apiTlsCert, tls_key: path.apiTlsKey });
    for (const file of [api.tokens_file, api.tls_cert, api.tls_key]) {
      const mount = main.volumeMounts.find(
        ({ mountPath }: { mountPath: string }) => file?.startsWith(`${mountPath}/`) && mountPath !== path.configDirectory,
      );
      expect(mount, file).toMatchObject({ readOnly: true });
      expect(mount.subPath).toBeUndefined(); // or a renewed certificate would never arrive
    }
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) expect(main[probe].httpGet.scheme).toBe('HTTPS');
    expect(manifests.filter(({ kind }) => kind !== 'BareMetalNode').flatMap((manifest) => schemaProblems(manifest))).toEqual([]);
  });

  it('one without the other', () => {
    const tokens = podOf(synth(form, { tokens: { secretName: 't' } }), form);
    expect(tokens.volumes.map(({ name }: { name: string }) => name)).toContain('api-tokens');
    expect(tokens.volumes.map(({ name }: { name: string }) => name)).not.toContain('api-tls');
    expect(tokens.containers[0].livenessProbe.httpGet.scheme).toBeUndefined();
  });

  it('changes nothing where neither is named', () => expect(synth(form, {})).toEqual(synth(form)));
});

it('a name that no Secret can have is refused', () => {
  expect(() => synth('per-pod', { tls: { secretName: 'No Name' } })).toThrow(/tls\.secretName/);
});
