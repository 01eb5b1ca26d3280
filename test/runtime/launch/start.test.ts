/** The shell program kolla_start: under dash and bash, beside a prepared command, and as process 1 of a container. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildLaunch } from '../../../scripts/build-launch.ts';
import { launchErrors } from '../../../src/runtime/launch/errors.ts';
import { Container, canContain, ended, printed, processOne } from './container.ts';
import { entry, isRoot, Sandbox } from './sandbox.ts';

/** The test of the images' scripts, which only bash understands: set, even to nothing. */
const isSet = (name: string): string => `[[ "\${!${name}[@]}" ]]`;
const START = fileURLToPath(new URL('../../../images/launch/kolla_start', import.meta.url));

for (const shell of ['dash', 'bash'] as const) {
  describe(`kolla_start under ${shell}`, () => {
    let box: Sandbox;
    beforeEach(() => {
      box = new Sandbox();
    });
    afterEach(() => box.remove());

    const environment = (more: Record<string, string> = {}) => ({
      PATH: `${box.at('/bin')}:/usr/bin:/bin`,
      KOLLA_PREPARED: '',
      KOLLA_RUN_DIR: box.at('/run'),
      ...more,
    });
    const prepare = (command: string | string[]) => {
      box.config({ command });
      expect(box.run({ KOLLA_RUN_DIR: '/run' }).exitCode).toBe(0);
    };
    const start = (more: Record<string, string> = {}) => spawnSync(shell, [START], { encoding: 'utf8', env: environment(more) });
    /** Prints each of its arguments on a line of its own, in brackets. */
    const showArguments = () => box.write('/bin/show', '#!/bin/sh\nfor a; do echo "[$a]"; done\n', 0o755);

    it('001-9: prints the command and runs it', () => {
      showArguments();
      prepare('show a b');
      expect(start()).toMatchObject({ status: 0, stdout: "Running command: 'show a b'\n[a]\n[b]\n" });
    });
    it('K5: quoting in the command is kept', () => {
      showArguments();
      prepare(`show 'b  c' "it's" '' '*' '$HOME'`);
      expect(start().stdout.split('\n').slice(1, -1)).toEqual(['[b  c]', "[it's]", '[]', '[*]', '[$HOME]']);
    });
    it('K5: an argument list arrives as it is', () => {
      showArguments();
      const words = ['$(id)', '`id`', "'", '"', '\\', 'a b', '-n', '--', 'ü'];
      prepare(['show', ...words]);
      expect(start().stdout.split('\n').slice(1, -1)).toEqual(words.map((word) => `[${word}]`));
    });
    it('001-9: a /run_command of another origin is split into words, and patterns stay patterns', () => {
      showArguments();
      prepare('show one');
      box.write('/run/run_command', 'show two  *');
      expect(start().stdout.split('\n').slice(1, -1)).toEqual(['[two]', '[*]']);
    });
    it('001-9: extend_start may add ARGS', () => {
      showArguments();
      prepare(`show 'a b'`);
      box.write('/bin/kolla_extend_start', 'ARGS="--new-cluster  --x"\n');
      expect(start().stdout).toBe("Running command: 'show 'a b' --new-cluster  --x'\n[a b]\n[--new-cluster]\n[--x]\n");
    });
    it('001-9: extend_start may replace CMD', () => {
      showArguments();
      prepare(`show 'a b'`);
      box.write('/bin/kolla_extend_start', 'CMD="show other $CMD"\n');
      expect(start().stdout.split('\n').slice(1, -1)).toEqual(['[other]', '[show]', "['a]", "[b']"]);
    });
    it('001-9: extend_start is sourced though it has no execute bit, and may be written for bash', () => {
      prepare('env');
      box.write('/bin/kolla_extend_start', `if ! ${isSet('KOLLA_BOOTSTRAP')}; then export EXTENDED=yes; fi\n`, 0o644);
      expect(start().stdout).toContain('EXTENDED=yes');
    });
    it('001-9: the chain of extend_start: one sources the next through PATH', () => {
      prepare('env');
      box.write('/bin/kolla_extend_start', '. kolla_nova_extend_start\n', 0o644);
      box.write('/bin/kolla_nova_extend_start', 'export SECOND=yes\n', 0o644);
      expect(start().stdout).toContain('SECOND=yes');
    });
    for (const value of ['', '1'])
      it(`001-9: KOLLA_SKIP_EXTEND_START="${value}" skips it: set counts, not the value`, () => {
        prepare('env');
        box.write('/bin/kolla_extend_start', 'export EXTENDED=yes\n');
        expect(start({ KOLLA_SKIP_EXTEND_START: value }).stdout).not.toContain('EXTENDED');
      });
    it('001-9: an extend_start that fails ends the start with its code', () => {
      prepare('echo SERVICE');
      box.write('/bin/kolla_extend_start', '(exit 7)\n');
      const { status, stdout } = start();
      expect(status).toBe(7);
      expect(stdout).not.toContain('SERVICE');
    });

    const bootstrap: { variable: string; value: string; status: number; says: string }[] = [
      { variable: 'KOLLA_BOOTSTRAP', value: '', status: 0, says: 'db sync' },
      { variable: 'KOLLA_BOOTSTRAP', value: 'true', status: 0, says: 'db sync' },
      { variable: 'KOLLA_UPGRADE', value: '', status: 0, says: 'upgrade' },
      { variable: 'KOLLA_OSM', value: '', status: 0, says: 'online data migrations' },
      { variable: 'KOLLA_UPGRADE_CHECK', value: '', status: 5, says: 'upgrade check' },
    ];
    for (const { variable, value, status, says } of bootstrap)
      it(`001-10: ${variable}="${value}": the job runs in place of the service and its code is the container's`, () => {
        prepare('echo SERVICE');
        box.write(
          '/bin/kolla_extend_start',
          [
            `if ${isSet('KOLLA_BOOTSTRAP')}; then echo "db sync"; exit 0; fi`,
            `if ${isSet('KOLLA_UPGRADE')}; then echo upgrade; exit 0; fi`,
            `if ${isSet('KOLLA_OSM')}; then echo "online data migrations"; exit 0; fi`,
            `if ${isSet('KOLLA_UPGRADE_CHECK')}; then echo "upgrade check"; exit 5; fi`,
          ].join('\n'),
        );
        const result = start({ [variable]: value });
        expect(result.status).toBe(status);
        expect(result.stdout).toContain(says);
        expect(result.stdout).not.toContain('SERVICE');
      });

    it('001-9: the service is the same process', async () => {
      prepare(['sh', '-c', 'echo "pid $$"']);
      const child = spawn(shell, [START], { env: environment() });
      const { stdout } = await ended(child);
      expect(stdout).toContain(`pid ${child.pid}\n`);
    });
    it('001-9: signals reach the service, and its exit code is the start', async () => {
      prepare(['sh', '-c', 'trap "echo stopping; exit 42" TERM; echo ready; while [ $((i=i+1)) -lt 200 ]; do sleep 0.05; done']);
      const child = spawn(shell, [START], { env: environment() });
      const end = ended(child);
      await printed(child, '\nready\n');
      child.kill('SIGTERM');
      expect(await end).toMatchObject({ exitCode: 42, stdout: expect.stringContaining('stopping') });
    });
    it('001-9: a service that a signal kills is seen as killed', async () => {
      prepare(['sh', '-c', 'kill -9 $$']);
      expect(await ended(spawn(shell, [START], { env: environment() }))).toMatchObject({ killedBy: 'SIGKILL' });
    });
    it('001-9: a command that is not there: 127, by name', () => {
      prepare('nova-apu --debug');
      const { status, stderr } = start();
      expect(status).toBe(127);
      expect(stderr).toBe(`${launchErrors.LAUNCH_COMMAND_NOT_FOUND({ command: 'nova-apu' })}\n`);
      prepare('/absent/nova-api');
      expect(start().status).toBe(127);
    });
    it('001-9: a command without +x: 126, by name', () => {
      box.write('/bin/plain', '#!/bin/sh\n', 0o644);
      prepare(box.at('/bin/plain'));
      const { status, stderr } = start();
      expect(status).toBe(126);
      expect(stderr).toBe(`${launchErrors.LAUNCH_COMMAND_NOT_EXECUTABLE({ command: box.at('/bin/plain') })}\n`);
      prepare(box.at('/bin'));
      expect(start().status).toBe(126);
    });
    it('001-9: no run_command: 1, by name', () => {
      const { status, stderr } = start();
      expect(status).toBe(1);
      expect(stderr).toBe(`${launchErrors.LAUNCH_COMMAND_MISSING({ file: box.at('/run/run_command') })}\n`);
    });
    it('001-9: what the script needs for itself does not reach the service', () => {
      prepare('env');
      expect(start().stdout).not.toMatch(/^launch_/m);
    });
    it('001-9: a failing set-configs ends the start with its code, and no service runs', () => {
      prepare('echo SERVICE');
      box.write('/bin/kolla_set_configs', '#!/bin/sh\nexit 2\n', 0o755);
      const { KOLLA_PREPARED: _, ...env } = environment();
      const { status, stdout } = spawnSync(shell, [copyOfStart(box)], { encoding: 'utf8', env });
      expect(status).toBe(2);
      expect(stdout).not.toContain('SERVICE');
    });
    it.skipIf(!isRoot)('001-9: another user than root goes through sudo -E where there is one', () => {
      prepare('echo SERVICE');
      box.write('/bin/kolla_set_configs', '#!/bin/sh\necho CONFIGURED\n', 0o755);
      box.write('/bin/sudo', '#!/bin/sh\necho "sudo $*"; [ "$1" = -E ] && shift; exec "$@"\n', 0o755);
      const { KOLLA_PREPARED: _, ...env } = environment();
      spawnSync('chmod', ['-R', 'a+rX', box.root]);
      const { stdout } = spawnSync('setpriv', ['--reuid=65534', '--clear-groups', shell, copyOfStart(box)], { encoding: 'utf8', env });
      expect(stdout).toContain(`sudo -E ${box.at('/bin/kolla_set_configs')}\nCONFIGURED\n`);
      expect(stdout).toContain('SERVICE');
    });
  });
}

function copyOfStart(box: Sandbox): string {
  spawnSync('cp', [START, box.at('/bin/kolla_start')]);
  return box.at('/bin/kolla_start');
}

it('001-9: without any bash a POSIX extend_start is sourced by sh', () => {
  const box = new Sandbox();
  try {
    for (const name of ['cat', 'env', 'id', 'dash']) {
      box.write('/bin/.keep', '');
      symlinkSync(`/usr/bin/${name}`, box.at(`/bin/${name}`));
    }
    box.write('/bin/kolla_extend_start', 'export EXTENDED=yes\n');
    box.config({ command: 'env' });
    box.run({ KOLLA_RUN_DIR: '/run' });
    const env = { PATH: box.at('/bin'), KOLLA_PREPARED: '', KOLLA_RUN_DIR: box.at('/run') };
    expect(spawnSync('/usr/bin/dash', [START], { encoding: 'utf8', env }).stdout).toContain('EXTENDED=yes');
  } finally {
    box.remove();
  }
});

describe.skipIf(!canContain)('in a container, as shipped', () => {
  let launch: string;
  let container: Container;
  beforeAll(async () => {
    launch = mkdtempSync(join(tmpdir(), 'launch-built-'));
    await buildLaunch(launch);
  });
  afterAll(() => rmSync(launch, { recursive: true, force: true }));
  beforeEach(() => {
    container = new Container(launch);
  });
  afterEach(() => container.remove());

  it('001-9: nova-api from its config.json to its process', async () => {
    container.source('nova.conf', '[DEFAULT]\ndebug = False\n');
    container.source('policy.yaml', '{}\n');
    container.config({
      command: 'nova-api',
      config_files: [
        entry('nova.conf', '/etc/nova/nova.conf'),
        entry('policy.yaml', '/etc/nova/policy.yaml', { optional: true }),
        entry('ca-certificates', '/var/lib/kolla/share/ca-certificates', { owner: 'root', perm: '0600', optional: true }),
      ],
      permissions: [
        { path: '/var/log/kolla/nova', owner: 'nova:nova', recurse: true },
        { path: '/var/log/kolla/nova/nova-metadata.log', owner: 'nova:nova' },
      ],
    });
    container.write('/var/log/kolla/nova/nova-api.log', '');
    container.program(
      'nova-api',
      '#!/bin/sh\necho "pid $$"; cat /etc/nova/nova.conf; stat -c "%a %u:%g" /etc/nova/nova.conf /run_command\n',
    );
    container.program('kolla_extend_start', 'echo "extended as $KOLLA_SERVICE_NAME"\n. kolla_nova_extend_start\n', 0o644);
    container.program('kolla_nova_extend_start', `if ${isSet('KOLLA_BOOTSTRAP')}; then exit 0; fi\n`, 0o644);
    const { exitCode, stdout, stderr } = await container.exec(['kolla_start'], { KOLLA_SERVICE_NAME: 'nova-api' });
    expect(stderr).toContain('INFO: Copying /var/lib/kolla/config_files/nova.conf to /etc/nova/nova.conf');
    expect(stdout).toBe("extended as nova-api\nRunning command: 'nova-api'\npid 1\n[DEFAULT]\ndebug = False\n600 42436:42436\n644 0:0\n");
    expect(exitCode).toBe(0);
    expect(container.who('/var/log/kolla/nova/nova-api.log')).toBe('0644 42436:42436');
  });
  it('001-9: ironic-conductor from a config.yaml with directories, merge and a quoted argument', async () => {
    container.source('ironic.conf', '[DEFAULT]\n');
    container.source('ironic.d/10-pxe.conf', '[pxe]\n');
    container.source(
      'config.yaml',
      [
        `command: ironic-conductor --config-file /etc/ironic/ironic.conf --log-file '/var/log/kolla/ironic/a b.log'`,
        'config_files:',
        '  - {source: /var/lib/kolla/config_files/ironic.conf, dest: /etc/ironic/ironic.conf, owner: nova, perm: "0600"}',
        '  - {source: /var/lib/kolla/config_files/ironic.d, dest: /etc/ironic/conf.d, owner: nova, perm: "0644", merge: true}',
        'directories:',
        '  - {path: /var/lib/ironic/tftpboot, owner: "nova:kolla", perm: "2775"}',
        'permissions:',
        '  - {path: /var/lib/ironic, owner: "nova:nova", recurse: true, exclude: [tftpboot, images]}',
      ].join('\n'),
    );
    container.write('/etc/ironic/conf.d/00-image.conf', 'shipped');
    container.program('ironic-conductor', '#!/bin/sh\nfor a; do echo "[$a]"; done\n');
    const { exitCode, stdout, stderr } = await container.exec(['kolla_start']);
    expect(stderr).not.toContain('ERROR');
    expect(stdout).toContain('[/var/log/kolla/ironic/a b.log]\n');
    expect(exitCode).toBe(0);
    expect(container.list('/etc/ironic/conf.d')).toEqual(['00-image.conf', '10-pxe.conf']);
    expect(container.who('/var/lib/ironic/tftpboot')).toBe('2775 42436:42400');
    expect(container.who('/var/lib/ironic')).toBe('0755 42436:42436');
    expect((await container.exec(['kolla_set_configs', '--check'])).exitCode).toBe(0);
  });
  it("001-9: as process 1 the service gets the signals and its exit code is the container's", async () => {
    container.config({ command: ['sh', '-c', 'trap "exit 42" TERM; echo ready; while [ $((i=i+1)) -lt 200 ]; do sleep 0.05; done'] });
    const child = container.spawn(['kolla_start']);
    const end = ended(child);
    await printed(child, '\nready\n');
    process.kill(processOne(child), 'SIGTERM');
    expect((await end).exitCode).toBe(42);
  });
  it('001-9: as process 1 a stop during extend_start ends the start when the running step is over', async () => {
    container.config({ command: 'echo SERVICE' });
    container.program('kolla_extend_start', 'echo\necho ready\nsleep 0.3\n', 0o644);
    const child = container.spawn(['kolla_start']);
    const end = ended(child);
    await printed(child, '\nready\n');
    process.kill(processOne(child), 'SIGTERM');
    const { exitCode, stdout } = await end;
    expect(exitCode).toBe(143);
    expect(stdout).not.toContain('SERVICE');
  });
  it('001-6: COPY_ONCE: the second start runs the first command', async () => {
    container.config({ command: 'echo first' });
    expect((await container.exec(['kolla_start'], { KOLLA_CONFIG_STRATEGY: 'COPY_ONCE' })).stdout).toContain('\nfirst\n');
    container.config({ command: 'echo second' });
    expect((await container.exec(['kolla_start'], { KOLLA_CONFIG_STRATEGY: 'COPY_ONCE' })).stdout).toContain('\nfirst\n');
  });
  it('001-6: the exit codes of kolla_set_configs: 0, 1, 2', async () => {
    container.config({ command: 'x' });
    expect((await container.exec(['kolla_set_configs'])).exitCode).toBe(0);
    expect((await container.exec(['kolla_set_configs'], { KOLLA_CONFIG_STRATEGY: 'X' })).exitCode).toBe(1);
    expect((await container.exec(['kolla_set_configs', '--what'])).exitCode).toBe(2);
  });
  it('001-9: an unset strategy stops the start', async () => {
    container.config({ command: 'echo SERVICE' });
    const { exitCode, stdout, stderr } = await container.exec(['env', '-u', 'KOLLA_CONFIG_STRATEGY', 'kolla_start']);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('KOLLA_CONFIG_STRATEGY is not set');
    expect(stdout).not.toContain('SERVICE');
  });
  it('K9: what a caller puts into NODE_OPTIONS does not run as root', async () => {
    container.config({ command: 'x' });
    container.write('/tmp/evil.cjs', "require('fs').writeFileSync('/tmp/owned', '')");
    const evil = { NODE_OPTIONS: '--require=/tmp/evil.cjs', NODE_PATH: '/tmp', LD_LIBRARY_PATH: '/tmp' };
    expect((await container.exec(['kolla_set_configs'], evil)).exitCode).toBe(0);
    expect(container.exists('/tmp/owned')).toBe(false);
  });
  it('K9: KOLLA_CONFIG through the shipped program is ignored', async () => {
    container.config({ command: 'honest' });
    const { stderr } = await container.exec(['kolla_set_configs'], { KOLLA_CONFIG: '{"command":"evil"}' });
    expect(container.read('/run_command')).toBe('honest');
    expect(stderr).toContain('KOLLA_CONFIG is set and ignored');
  });
  it('001-4: a service image that links the programs into /usr/local/bin, as its base layer does', async () => {
    container.config({ command: 'sh -c "echo served"' });
    for (const name of ['kolla_start', 'kolla_set_configs']) container.symlink(`/opt/launch/${name}`, `/srv/bin/${name}`);
    expect(await container.exec(['/srv/bin/kolla_start'])).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('served\n') });
  });
  it('001-9: init container and service container: only the shell program runs in the second', async () => {
    container.config({ command: ['sh', '-c', 'echo "served $0"', 'a b'] });
    expect((await container.exec(['kolla_set_configs'], { KOLLA_RUN_DIR: '/run/kolla' })).exitCode).toBe(0);
    rmSync(container.at('/opt/launch/set-configs.cjs'));
    const service = await container.exec(['kolla_start'], { KOLLA_RUN_DIR: '/run/kolla', KOLLA_PREPARED: 'true' });
    expect(service).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('served a b\n') });
  });
});
