/** The shell program environment_start under dash and bash, on a file tree of its own. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ENVIRONMENTS, environmentOf, iniName } from '../../../src/runtime/launch/environments.ts';
import { launchErrors } from '../../../src/runtime/launch/errors.ts';
import { ended, printed } from './container.ts';
import { Sandbox } from './sandbox.ts';

const START = fileURLToPath(new URL('../../../images/launch/environment_start', import.meta.url));

for (const shell of ['dash', 'bash'] as const) {
  describe(`environment_start under ${shell}`, () => {
    let box: Sandbox;
    beforeEach(() => {
      box = new Sandbox();
      service('#!/bin/sh\necho "pid $$ in $(pwd) with $*"; cat "$1"\n');
      for (const environment of ENVIRONMENTS)
        box.write(`/tmp/account_confirm/${iniName('account_confirm', environment)}`, `env = ${environment.name}\n`);
    });
    afterEach(() => box.remove());

    /** The program as git has it: without an execute bit. */
    const service = (text: string) => box.write('/tmp/account_confirm/account_confirm', text, 0o644);
    const env = (more: Record<string, string> = {}) => ({
      PATH: '/usr/bin:/bin',
      LAUNCH_ROOT: box.root,
      PROC: 'account_confirm',
      GIT_DIR: 'account_confirm',
      RUNENV: 'test',
      ...more,
    });
    const start = (more: Record<string, string> = {}) => spawnSync(shell, [START], { encoding: 'utf8', env: env(more) });

    it('003-3: the service runs in /data/bin with its ini, executable, its log touched', () => {
      const { status, stdout } = start();
      expect(status).toBe(0);
      expect(stdout).toContain(`in ${box.at('/data/bin')} with ../etc/account_confirm.ini\nenv = test\n`);
      expect(box.list('/data/bin')).toEqual(['account_confirm']);
      expect(box.list('/data/etc')).toEqual(['account_confirm.ini']);
      expect(box.read('/data/log/account_confirm.log')).toBe('');
    });
    for (const { name } of ENVIRONMENTS)
      it(`003-9: RUNENV ${name} starts with the ini of ${name}`, () => {
        expect(start({ RUNENV: name }).stdout).toContain(`env = ${name}\n`);
      });
    for (const value of [
      '',
      'prod',
      'production',
      'prodcut',
      'PRE',
      'tesst',
      'development',
      'staging',
      'banana',
      'product ',
      '*',
      '../pre',
      'x'.repeat(300),
    ])
      it(`003-9: RUNENV "${value.slice(0, 20)}" is refused with 64 and the words of the error table`, () => {
        const { status, stderr, stdout } = start({ RUNENV: value });
        expect(status).toBe(64);
        let told = '';
        try {
          environmentOf(value);
        } catch (error) {
          told = `${error}\n`;
        }
        expect(stderr).toBe(told);
        expect(stdout).toBe('');
        expect(box.exists('/data/etc/account_confirm.ini')).toBe(false);
      });
    it('003-9: an unset RUNENV is refused', () => {
      const { RUNENV: _, ...rest } = env();
      expect(spawnSync(shell, [START], { encoding: 'utf8', env: rest }).status).toBe(64);
    });
    it("003-9: an environment without an ini in the repository never gets production's", () => {
      spawnSync('rm', [box.at('/tmp/account_confirm/account_confirm.ini.dev')]);
      const { status, stderr } = start({ RUNENV: 'dev' });
      expect(status).toBe(66);
      const path = '/tmp/account_confirm/account_confirm.ini.dev';
      expect(stderr).toBe(`${launchErrors.LAUNCH_SERVICE_FILE({ path, reason: 'is missing' })}\n`);
      expect(box.exists('/data/etc/account_confirm.ini')).toBe(false);
    });
    for (const [name, value] of [
      ['PROC', '../account_confirm'],
      ['PROC', ''],
      ['PROC', '-rf'],
      ['PROC', '..'],
      ['PROC', 'a b'],
      ['PROC', 'ä'],
      ['PROC', 'a\nb'],
      ['GIT_DIR', '..'],
      ['GIT_DIR', 'a/b'],
      ['GIT_DIR', ''],
    ] as const)
      it(`003-2: ${name}=${JSON.stringify(value)} is refused with 64`, () => {
        const { status, stderr } = start({ [name]: value });
        expect(status).toBe(64);
        expect(stderr).toBe(`${launchErrors.LAUNCH_NAME({ name, value })}\n`);
      });
    it('003-2: one image, many services: PROC and GIT_DIR choose', () => {
      box.write('/tmp/other.git/pay-1', '#!/bin/sh\necho paying\n');
      box.write('/tmp/other.git/pay-1.ini.test', '');
      expect(start({ PROC: 'pay-1', GIT_DIR: 'other.git' }).stdout).toContain('paying\n');
    });
    it('003-3: a missing program or checkout is named, with 66', () => {
      spawnSync('rm', [box.at('/tmp/account_confirm/account_confirm')]);
      expect(start()).toMatchObject({ status: 66, stderr: expect.stringContaining('/tmp/account_confirm/account_confirm is missing') });
      expect(start({ GIT_DIR: 'absent' })).toMatchObject({ status: 66, stderr: expect.stringContaining('/tmp/absent is not a directory') });
    });
    it('003-3: a symlink out of the checkout is refused, one inside is followed', () => {
      box.write('/secret', 'token');
      spawnSync('ln', ['-sf', '../../secret', box.at('/tmp/account_confirm/account_confirm.ini.test')]);
      const { status, stderr } = start();
      expect(status).toBe(66);
      expect(stderr).toContain('is a symbolic link out of the checkout');
      box.write('/tmp/account_confirm/conf/shared.ini', 'env = shared\n');
      spawnSync('ln', ['-sf', 'conf/shared.ini', box.at('/tmp/account_confirm/account_confirm.ini.test')]);
      expect(start().stdout).toContain('env = shared\n');
    });
    it('003-3: a checkout that is itself a symlink is refused', () => {
      box.symlink(box.at('/tmp/account_confirm'), '/tmp/link');
      expect(start({ GIT_DIR: 'link' }).status).toBe(66);
    });
    it('003-3: a second start brings the new program and keeps the log', () => {
      expect(start().status).toBe(0);
      box.write('/data/log/account_confirm.log', 'lines\n');
      service('#!/bin/sh\necho second\n');
      expect(start().stdout).toContain('second\n');
      expect(box.read('/data/log/account_confirm.log')).toBe('lines\n');
    });
    it('003-3: the running program of the last start is replaced, not written into', async () => {
      service('#!/bin/sh\necho up; exec sleep 5\n');
      const child = spawn(shell, [START], { env: env() });
      const end = ended(child);
      await printed(child, 'up\n');
      service('#!/bin/sh\necho second\n');
      expect(start().stdout).toContain('second\n');
      child.kill('SIGKILL');
      await end;
    });
    it('003-3: the service is the same process, and its death is the end', async () => {
      service('#!/bin/sh\necho "pid $$"; exit 9\n');
      const child = spawn(shell, [START], { env: env() });
      const { exitCode, stdout } = await ended(child);
      expect(stdout).toContain(`pid ${child.pid}\n`);
      expect(exitCode).toBe(9);
    });
    it('003-3: a signal reaches the service', async () => {
      service('#!/bin/sh\ntrap "exit 42" TERM\necho ready\nwhile [ $((i=i+1)) -lt 200 ]; do sleep 0.05; done\n');
      const child = spawn(shell, [START], { env: env() });
      const end = ended(child);
      await printed(child, 'ready\n');
      child.kill('SIGTERM');
      expect((await end).exitCode).toBe(42);
    });
    it('003-3: what the script needs for itself does not reach the service, its environment does', () => {
      service('#!/bin/sh\nenv\n');
      const { stdout } = start({ TNS_ADMIN: '/data/oracle/network/admin' });
      expect(stdout).not.toMatch(/^launch_/m);
      expect(stdout).toContain('TNS_ADMIN=/data/oracle/network/admin');
    });
    it('003-3: a directory in the way is named', () => {
      box.write('/data/bin/account_confirm/x', '');
      expect(start()).toMatchObject({ status: 66, stderr: expect.stringContaining('/data/bin/account_confirm is a directory') });
    });
    it('003-3: a program that the system cannot run ends the container', () => {
      service('\x7fELF but not really');
      chmodSync(box.at('/tmp/account_confirm/account_confirm'), 0o755);
      expect([126, 1]).toContain(start().status); // dash says 126, bash 1
    });
  });
}
