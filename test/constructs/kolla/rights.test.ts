/**
 * The rights that the manifests give are enough and no more is used: the pod's containers one after another, with the built programs,
 * a read-only root, the manifests' volumes, users and capabilities. Needs root, and util-linux.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from 'cdk8s';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { novaApi } from '../../../examples/nova-api/app.ts';
import { buildLaunch } from '../../../scripts/build-launch.ts';
import { Container, canContain } from '../../runtime/launch/container.ts';
import { find, manifestsOf } from '../../support/synth.ts';

const hasSetpriv = spawnSync('setpriv', ['--version']).status === 0;
if (!hasSetpriv)
  console.warn('test/constructs/kolla: setpriv is missing (Debian package util-linux): the rights of the containers are not tested');

interface Spec {
  readonly name: string;
  readonly command?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
  readonly securityContext: {
    readonly runAsUser: number;
    readonly runAsGroup: number;
    readonly readOnlyRootFilesystem?: boolean;
    readonly capabilities: { readonly add?: readonly string[] };
  };
}

/** $0: the container's tree; $1: Node; $2: 1 when the tree is read-only; then triples of volume, path, mode up to "--"; then the command. */
const ENTER = `set -e
root=$0; node=$1; frozen=$2; shift 2
mount --bind "$root" "$root"
mount --bind /usr "$root/usr"; mount --bind "$node" "$root/opt/launch/node"
while [ "$1" != -- ]; do
  mount --bind "$1" "$root$2"
  [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
  shift 3
done
shift
mount -t proc proc "$root/proc"
[ "$frozen" = 0 ] || mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"`;

describe.skipIf(!canContain || !hasSetpriv)('001-2: the pod with exactly the rights of its manifests', () => {
  const manifests = manifestsOf(novaApi(new App()));
  const { spec } = find(manifests, 'Deployment', 'nova-api').spec.template;
  const { data } = find(manifests, 'ConfigMap', 'nova-api');
  const launch = mkdtempSync(join(tmpdir(), 'rights-launch-'));
  const volumes = mkdtempSync(join(tmpdir(), 'rights-volumes-'));
  let box: Container;

  beforeAll(async () => {
    await buildLaunch(launch);
    box = new Container(launch);
    chmodSync(box.root, 0o755);
    box.write('/etc/passwd', 'root:x:0:0::/root:/bin/sh\nnova:x:42436:42436::/var/lib/nova:/bin/false\n');
    box.write('/etc/group', 'root:x:0:\nnova:x:42436:\nkolla:x:42400:nova\n');
    // what the image has where volumes will be
    box.write('/etc/nova/api-paste.ini', '[composite:osapi]\n', 0o640);
    chownSync(box.at('/etc/nova/api-paste.ini'), 0, 42436);
    box.write('/var/lib/nova/.keep', '');
    mkdirSync(box.at('/var/log/kolla'), { recursive: true });
    chownSync(box.at('/var/log/kolla'), 0, 42400);
    chmodSync(box.at('/var/log/kolla'), 0o2775);
    box.program(
      'nova-api',
      '#!/bin/sh\nid -u; grep CapEff /proc/self/status; cat /etc/nova/nova.conf.d/credentials.conf /etc/nova/api-paste.ini\necho up >>/var/log/kolla/nova/nova-api.log\n(echo >/etc/nova/by-hand) 2>/dev/null || echo "not mine"\n',
    );
    for (const name of new Set(
      [...spec.initContainers, ...spec.containers].flatMap(({ volumeMounts }: Spec) => volumeMounts.map((mount) => mount.name)),
    ))
      mkdirSync(join(volumes, String(name)));
    for (const [name, text] of Object.entries({ ...data, 'credentials.conf': '[database]\n' } as Record<string, string>)) {
      writeFileSync(join(volumes, 'config-files', name), text, { mode: 0o400 });
    }
  });
  afterAll(() => {
    box?.remove();
    for (const folder of [launch, volumes]) rmSync(folder, { recursive: true, force: true });
  });

  const run = (name: string, command?: readonly string[]) => {
    const container = [...spec.initContainers, ...spec.containers].find((one: Spec) => one.name === name) as Spec;
    const { runAsUser, runAsGroup, readOnlyRootFilesystem = false, capabilities } = container.securityContext;
    const mounts = container.volumeMounts
      .filter(({ name: volume }) => !['etc-localtime', 'lib-modules', 'api-token'].includes(volume))
      .flatMap(({ name: volume, mountPath, readOnly }) => {
        mkdirSync(box.at(mountPath), { recursive: true });
        return [join(volumes, volume), mountPath, readOnly ? 'ro' : 'rw'];
      });
    const bounding = ['-all', ...(capabilities.add ?? []).map((capability) => `+${capability.toLowerCase()}`)].join(',');
    const drop = [
      'setpriv',
      `--bounding-set=${bounding}`,
      '--no-new-privs',
      `--reuid=${runAsUser}`,
      `--regid=${runAsGroup}`,
      runAsUser === 0 ? '--clear-groups' : '--init-groups',
    ];
    const env = (container.env ?? []).map(({ name: variable, value = '' }) => `${variable}=${value}`);
    return spawnSync(
      'unshare',
      [
        '--mount',
        '--pid',
        '--fork',
        '--kill-child',
        'sh',
        '-c',
        ENTER,
        box.root,
        process.execPath,
        readOnlyRootFilesystem ? '1' : '0',
        ...mounts,
        '--',
      ].concat(...['/usr/bin/env', '-i', 'PATH=/opt/launch:/srv/bin:/usr/bin:/bin', ...env], drop, command ?? container.command ?? []),
      { encoding: 'utf8' },
    );
  };

  it('fill-volumes: four capabilities and a read-only root are enough', () => {
    expect(run('fill-volumes')).toMatchObject({ status: 0, stderr: '' });
    expect(readFileSync(join(volumes, 'etc-nova/api-paste.ini'), 'utf8')).toBe('[composite:osapi]\n');
    const { mode, gid } = statSync(join(volumes, 'kolla-logs'));
    expect([(mode & 0o7777).toString(8), gid]).toEqual(['2775', 42400]);
  });

  it('configure: they are enough for kolla_set_configs too, and all that it writes is on volumes', () => {
    const { status, stderr } = run('configure');
    expect({ status, stderr }).toMatchObject({ status: 0 });
    const { uid, mode } = statSync(join(volumes, 'etc-nova/nova.conf'));
    expect([uid, (mode & 0o7777).toString(8)]).toEqual([42436, '600']);
    expect(statSync(join(volumes, 'kolla-logs/nova')).uid).toBe(42436);
    expect(readFileSync(join(volumes, 'run/run_command'), 'utf8')).toContain('nova-api');
  });

  it('the service: nova, without a capability, reads its files and writes its log', () => {
    const { status, stdout, stderr } = run('nova-api', ['kolla_start']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [running, ...lines] = stdout.trimEnd().split('\n');
    expect(running).toBe("Running command: 'nova-api --config-file /etc/nova/nova.conf --config-dir /etc/nova/nova.conf.d'");
    expect(lines).toEqual(['42436', 'CapEff:\t0000000000000000', '[database]', '[composite:osapi]', 'not mine']);
    expect(readFileSync(join(volumes, 'kolla-logs/nova/nova-api.log'), 'utf8')).toBe('up\n');
  });

  it.each(['CHOWN', 'FOWNER'])('without %s configuring fails, and says so', (capability) => {
    const { capabilities } = spec.initContainers.find(({ name }: Spec) => name === 'configure').securityContext;
    const all = [...capabilities.add];
    try {
      writeFileSync(join(volumes, 'config-files/nova.conf'), `# without ${capability}\n`);
      capabilities.add = all.filter((one) => one !== capability);
      const { status, stderr } = run('configure');
      expect(status).toBe(2);
      expect(stderr).toContain('LAUNCH_PERMISSION');
    } finally {
      capabilities.add = all;
    }
  });
});
