/** What `npm run synth` says that a cluster must have, held against manifests of every form. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { clusterNeeds, type Manifest } from '../../scripts/cluster-needs.ts';
import { seedSite } from '../support/seed-site.ts';
import { synthSite } from '../support/synth.ts';

const needsOf = (bmsCore: NonNullable<ReturnType<typeof seedSite>['bmsCore']>, more = {}) =>
  clusterNeeds(synthSite({ ...seedSite(), ...more, bmsCore }) as unknown as Manifest[]);
const named = (needs: ReturnType<typeof clusterNeeds>, text: string) => needs.find(({ what }) => what.includes(text));

const everything = {
  store: 'kubernetes' as const,
  secretsKey: { secretName: 'key-of-secrets', key: 'aes' },
  api: { tokens: { secretName: 'who' }, tls: { secretName: 'certificate' } },
};

describe('what manifests take for granted in a cluster', () => {
  it('every Secret that is not made there, with a command that makes it in the site’s namespace', () => {
    const needs = needsOf(everything, { namespace: 'bms' });
    expect(needs.filter(({ what }) => what.startsWith('Secret')).map(({ what }) => what)).toEqual([
      'Secret certificate (tls.crt, tls.key)',
      'Secret key-of-secrets (aes)',
      'Secret login-registry (.dockerconfigjson)',
      'Secret pod45-bmc (username, password)',
      'Secret who (tokens)',
    ]);
    expect(named(needs, 'key-of-secrets')?.commands).toEqual([
      'openssl rand -base64 32 | kubectl create secret generic key-of-secrets -n bms --from-file=aes=/dev/stdin',
    ]);
    expect(named(needs, 'certificate')?.commands).toEqual(['kubectl create secret tls certificate -n bms --cert=tls.crt --key=tls.key']);
    expect(named(needs, 'who')?.commands[1]).toBe('kubectl create secret generic who -n bms --from-file=tokens');
    expect(named(needs, 'pod45-bmc')?.without).toContain('pod45-bm-01, pod45-bm-02');
  });

  it('a password in an environment variable, which no mount names', () => {
    const mysql = { url: 'mysql://bms@db.example.net/bms', password: { secretName: 'bms-db' } };
    expect(named(needsOf({ ...everything, store: { mysql } }), 'bms-db')).toEqual({
      what: 'Secret bms-db (password)',
      without: 'DaemonSet bms-core-pod45-wuxi2 does not start',
      commands: ['kubectl create secret generic bms-db -n default --from-file=password=FILE'],
    });
  });

  it('nodes and their label, and the NFS export of a volume', () => {
    const needs = needsOf({});
    expect(needs[0]?.commands).toEqual(['kubectl label node mgmt-pod45-wuxi2-1 mgmt-pod45-wuxi2-2 node=ok']);
    expect(named(needs, 'NFS')?.what).toBe('NFS export 192.168.50.20:/tftpboot');
  });

  it('nothing that is made there, or may be missing', () => {
    const pod = {
      volumes: [
        { name: 'made', secret: { secretName: 'made' } },
        { name: 'maybe', secret: { secretName: 'maybe', optional: true } },
      ],
      containers: [{ name: 'main', envFrom: [{ secretRef: { name: 'environment' } }] }],
    };
    const manifests: Manifest[] = [
      { kind: 'Secret', metadata: { name: 'made', namespace: 'bms' } },
      { kind: 'Deployment', metadata: { name: 'web', namespace: 'bms' }, spec: { template: { spec: pod } } },
    ];
    expect(clusterNeeds(manifests).map(({ what }) => what)).toEqual(['Secret environment (environment variables)']);
  });

  it('no command has a secret among its arguments', () => {
    const commands = needsOf(everything).flatMap((need) => need.commands);
    expect(commands.filter((command) => /from-literal=(?!username=)|\$\(|--docker-password/.test(command))).toEqual([]);
  });

  it('README names what the committed site needs', () => {
    const documents = parseAllDocuments(readFileSync('dist/wuxi2.k8s.yaml', 'utf8')).map((document) => document.toJS() as Manifest);
    const readme = readFileSync('README.md', 'utf8');
    const wanted = clusterNeeds(documents).flatMap(({ what }) => /^(?:Secret|Nodes?) (.*?)(?: \(| with|$)/.exec(what)?.[1] ?? []);
    expect(wanted.length).toBeGreaterThan(4);
    expect(wanted.filter((name) => !readme.includes(name))).toEqual([]);
  });
});
