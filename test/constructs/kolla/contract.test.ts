/** The manifests against the programs that they start: real set-configs and kolla_start on what the pod would see. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { App } from 'cdk8s';
import { KOLLA_REFUSED_VARIABLES, kollaPath, kollaVariable, LAUNCH_DIRECTORY, launchProgram } from 'cdk8s-baremetal-contract/launch/index';
import { CONFIG_DIRECTORY, parseConfig, RUN_COMMAND } from 'cdk8s-baremetal-runtime/launch/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { novaApi } from '../../../examples/nova-api/app.ts';
import { SHELL_PROGRAMS } from '../../../scripts/build-launch.ts';
import { isRoot, NOVA, Sandbox } from '../../runtime/launch/sandbox.ts';
import { find, manifestsOf } from '../../support/synth.ts';
import { pod, workload } from './service.ts';

interface Container {
  readonly name: string;
  readonly command?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
}

const manifests = manifestsOf(novaApi(new App()));
const { template } = find(manifests, 'Deployment', 'nova-api').spec;
const { data } = find(manifests, 'ConfigMap', 'nova-api');
const containers = [...template.spec.initContainers, ...template.spec.containers] as Container[];
const named = (name: string): Container => containers.find((container) => container.name === name) as Container;
const environment = ({ env = [] }: Container): Record<string, string> =>
  Object.fromEntries(env.map(({ name, value = '' }) => [name, value]));

const PROGRAMS = fileURLToPath(new URL('../../../images/launch/', import.meta.url));
const SOURCES = ['kolla_start', 'kolla_set_configs'].map((name) => readFileSync(PROGRAMS + name, 'utf8')).join('\n');
const RUNTIME = readFileSync(fileURLToPath(new URL('../../../src/runtime/launch/set-configs.ts', import.meta.url)), 'utf8');

describe('the contract between manifests and programs', () => {
  it('both sides name the same directories and files', () => {
    expect(kollaPath.configFiles).toBe(CONFIG_DIRECTORY);
    expect(readFileSync(fileURLToPath(new URL('../../../src/runtime/launch/defaults.ts', import.meta.url)), 'utf8')).toContain(
      `'${kollaPath.defaults}'`,
    );
    expect(readFileSync(`${PROGRAMS}Dockerfile`, 'utf8')).toContain(`${LAUNCH_DIRECTORY}/`);
  });

  it('every program that a manifest starts is one that ships', () => {
    expect([...SHELL_PROGRAMS].sort()).toEqual(Object.values(launchProgram).sort());
    const started = [pod(), pod({ launch: { image: 'x:1', by: 'image' } })].flatMap((spec) =>
      [...spec.initContainers, ...spec.containers].flatMap(({ command = [] }: Container) => command.slice(0, 1)),
    );
    for (const program of started) {
      const name = program.replace(`${LAUNCH_DIRECTORY}/`, '');
      if (name !== '/bin/sh') expect(SHELL_PROGRAMS).toContain(name);
    }
  });

  it('every KOLLA_ variable in a manifest is one that a program or an image reads', () => {
    const images = ['nova-api', 'nova-base'].map((layer) =>
      readFileSync(new URL(`../../../images/kolla/${layer}/extend_start.sh`, import.meta.url), 'utf8'),
    );
    const jobs = manifests.filter(({ kind }) => kind === 'Job').flatMap(({ spec }) => spec.template.spec.containers as Container[]);
    const used = new Set(
      [...containers, ...jobs].flatMap(({ env = [] }) => env.map(({ name }) => name)).filter((name) => name.startsWith('KOLLA_')),
    );
    expect([...used].sort()).toEqual(
      [
        'KOLLA_BOOTSTRAP',
        'KOLLA_CONFIG_STRATEGY',
        'KOLLA_OSM',
        'KOLLA_PREPARED',
        'KOLLA_RUN_DIR',
        'KOLLA_SERVICE_NAME',
        'KOLLA_UPGRADE',
      ].sort(),
    );
    used.delete(kollaVariable.serviceName); // the prompt's
    for (const name of used) expect(`${SOURCES}${RUNTIME}${images.join('')}`).toContain(name);
    for (const name of KOLLA_REFUSED_VARIABLES) expect(SOURCES).toContain(`${name}=ignored`);
  });

  it('config.json is one that kolla_set_configs takes', () => {
    const config = parseConfig('config.json', data['config.json'], JSON.parse);
    expect(config.command.argv[0]).toBe('nova-api');
    expect(config.configFiles.map(({ dest }) => dest)).toEqual(['/etc/nova/nova.conf', '/etc/nova/nova.conf.d/', '/etc/nova/policy.yaml']);
  });

  it('what the preparing container writes, the service sees at the same place; nothing else is shared', () => {
    const prepared = named('configure').volumeMounts;
    const service = named('nova-api').volumeMounts;
    const writes = ['/etc/nova', '/var/log/kolla', '/var/lib/nova', kollaPath.runDirectory];
    for (const path of writes) {
      const mount = prepared.find(({ mountPath }) => mountPath === path);
      expect(service.find(({ mountPath }) => mountPath === path)?.name).toBe(mount?.name);
      expect(mount).toBeDefined();
    }
    expect(service.find(({ mountPath }) => mountPath === kollaPath.runDirectory)?.readOnly).toBe(true);
    // with a read-only root, all that set-configs writes has to be on a volume
    expect(prepared.map(({ mountPath }) => mountPath)).toContain(kollaPath.defaults);
  });
});

describe('a pod lived through', () => {
  let box: Sandbox;
  beforeEach(() => {
    box = new Sandbox();
    for (const [name, text] of Object.entries(data as Record<string, string>)) box.source(name, text);
    box.source('credentials.conf', '[database]\nconnection = mysql+pymysql://nova@db/nova\n');
    for (const { mountPath } of named('configure').volumeMounts) mkdirSync(box.at(mountPath), { recursive: true });
  });
  afterEach(() => box.remove());

  it('001-5 001-9: the init container places the configuration, kolla_start starts the service from it', () => {
    const { exitCode, log } = box.run(environment(named('configure')));
    expect(log).toContain('Copying /var/lib/kolla/config_files/nova.conf to /etc/nova/nova.conf');
    expect(exitCode).toBe(0);
    expect(box.read('/etc/nova/nova.conf')).toBe(data['nova.conf']);
    expect(box.who('/etc/nova/nova.conf.d/credentials.conf')).toBe(`0600 ${NOVA.uid}:${NOVA.gid}`);
    expect(box.exists('/etc/nova/policy.yaml')).toBe(false);
    expect(box.exists(`${kollaPath.runDirectory}${RUN_COMMAND}`)).toBe(true);

    box.write('/bin/nova-api', '#!/bin/sh\necho "nova-api $*"\n', 0o755);
    const started = spawnSync('dash', [`${PROGRAMS}kolla_start`], {
      encoding: 'utf8',
      env: { ...environment(named('nova-api')), PATH: `${box.at('/bin')}:/usr/bin:/bin`, KOLLA_RUN_DIR: box.at(kollaPath.runDirectory) },
    });
    expect(started.stdout.split('\n')).toEqual([
      "Running command: 'nova-api --config-file /etc/nova/nova.conf --config-dir /etc/nova/nova.conf.d'",
      'nova-api --config-file /etc/nova/nova.conf --config-dir /etc/nova/nova.conf.d',
      '',
    ]);
  });

  it('001-6: COPY_ONCE keeps the files of a pod whose containers start again', () => {
    const once = environment(pod({ strategy: 'COPY_ONCE' }).initContainers.at(-1) as Container);
    expect(box.run(once).exitCode).toBe(0);
    box.source('nova.conf', 'changed');
    expect(box.run(once).exitCode).toBe(0);
    expect(box.read('/etc/nova/nova.conf')).toBe(data['nova.conf']);
    expect(box.run(environment(named('configure'))).exitCode).toBe(0);
    expect(box.read('/etc/nova/nova.conf')).toBe('changed');
  });
});

describe('volumes start with what the image has', () => {
  let box: Sandbox;
  beforeEach(() => {
    box = new Sandbox();
    box.write('/image/etc/nova/api-paste.ini', 'paste', 0o640);
    box.write('/image/log/.keep', '');
    for (const path of ['/volumes/nova', '/volumes/log', '/run']) mkdirSync(box.at(path), { recursive: true });
    chmodSync(box.at('/image/log'), 0o2775);
  });
  afterEach(() => box.remove());

  const [, , script] = named('fill-volumes').command ?? [];
  const fill = (shell: string) =>
    execFileSync(shell, [
      '-euc',
      script ?? '',
      'fill-volumes',
      box.at('/run/filled'),
      ...['named', box.at('/image/log'), box.at('/volumes/log')],
      ...['own', box.at('/image/etc/nova'), box.at('/volumes/nova')],
      ...['own', box.at('/image/etc/absent'), box.at('/volumes/nova')],
    ]);

  it.each(['dash', 'bash'])('under %s: files, modes, the directory itself', (shell) => {
    fill(shell);
    expect(box.read('/volumes/nova/api-paste.ini')).toBe('paste');
    expect(box.who('/volumes/nova/api-paste.ini')).toMatch(/^0640/);
    expect(box.who('/volumes/log')).toMatch(/^2775/);
  });

  it('once in the life of a pod: what was configured since stays', () => {
    fill('dash');
    writeFileSync(box.at('/volumes/nova/api-paste.ini'), 'configured');
    fill('dash');
    expect(box.read('/volumes/nova/api-paste.ini')).toBe('configured');
  });

  it('a fill that was cut off is done again; a named volume with anything in it is left alone', () => {
    writeFileSync(box.at('/volumes/nova/api-paste.ini'), 'half');
    writeFileSync(box.at('/volumes/log/nova.log'), 'of last year');
    fill('dash');
    expect(box.read('/volumes/nova/api-paste.ini')).toBe('paste');
    expect(existsSync(box.at('/volumes/log/.keep'))).toBe(false);
  });
});

it('owners are told by name, as the image knows them', () => {
  if (!isRoot) console.warn('test/constructs/kolla: not root, so files stay with whoever runs the tests');
  expect(workload().spec.template.spec.initContainers.at(-1).image).toBe(workload().spec.template.spec.containers[0].image);
});
