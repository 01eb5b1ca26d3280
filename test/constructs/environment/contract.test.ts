/** What the manifests tell the programs, given to the real programs. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { App, Chart } from 'cdk8s';
import { EnvironmentService } from 'cdk8s-baremetal';
import {
  FULL_REVISION,
  launchProgram,
  nearestRunEnvironment,
  RUN_ENVIRONMENTS,
  SERVICE_FILE_NAME,
  serviceVariable,
} from 'cdk8s-baremetal-contract/launch/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { checkoutMain } from 'cdk8s-baremetal-runtime/launch/checkout-main';
import { ENVIRONMENTS, environmentOf, iniName, nodeProcessRunner, SERVICE_NAME } from 'cdk8s-baremetal-runtime/launch/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pospFromValues } from '../../../examples/posp/app.ts';
import { SHELL_PROGRAMS } from '../../../scripts/build-launch.ts';
import { GitRepository, hasGit } from '../../runtime/launch/git-repository.ts';
import { Sandbox } from '../../runtime/launch/sandbox.ts';
import { find, manifestsOf } from '../../support/synth.ts';

const VALUES = readFileSync(new URL('../../../examples/posp/values.yaml', import.meta.url), 'utf8');
const PROGRAMS = fileURLToPath(new URL('../../../images/launch/', import.meta.url));

type Env = readonly { readonly name: string; readonly value: string }[];
const variables = (env: Env): Record<string, string> => Object.fromEntries(env.map(({ name, value }) => [name, value]));
const podFor = (runenv: string) => {
  const chart = new Chart(new App(), 'test');
  EnvironmentService.fromValues(chart, 'service', VALUES.replace('runenv: "pre"', `runenv: "${runenv}"`), { release: 'accp' });
  return find(manifestsOf(chart), 'Deployment', 'posp-accp').spec.template.spec;
};

describe('one table on both sides', () => {
  it('of environments', () => {
    expect(RUN_ENVIRONMENTS).toEqual(ENVIRONMENTS);
    for (const word of ['prod', 'tset', 'Dev', 'staging', 'x', '']) {
      const told = nearestRunEnvironment(word);
      const message = (() => {
        try {
          environmentOf(word);
        } catch (error) {
          return String(error);
        }
        return '';
      })();
      if (told === undefined) expect(message).not.toContain('did you mean');
      else expect(message).toContain(`did you mean "${told}"?`);
    }
  });
  it('of names and revisions', () => {
    expect(SERVICE_FILE_NAME.source).toBe(SERVICE_NAME.source);
    expect(readFileSync(new URL('../../../src/runtime/launch/checkout.ts', import.meta.url), 'utf8')).toContain(String(FULL_REVISION));
  });
  it('of programs and variables', () => {
    const [copy, checkout] = podFor('pre').initContainers;
    expect(SHELL_PROGRAMS).toContain(copy.command[1].replace('/opt/launch/', ''));
    expect(SHELL_PROGRAMS).toContain(checkout.command[0].replace('/opt/launch/', ''));
    expect(podFor('pre').containers[0].command).toEqual([`/launch/${launchProgram.environmentStart}`]);
    const reader = readFileSync(new URL('../../../src/runtime/launch/checkout-main.ts', import.meta.url), 'utf8');
    for (const name of Object.keys(variables(checkout.env)).filter((name) => name.startsWith('GIT_')))
      expect(reader).toContain(`environment.${name}`);
    expect(reader).toContain(`environment.${serviceVariable.gitCredentials}`);
  });
});

describe('003-3: the start, with what the manifest says', () => {
  let box: Sandbox;
  beforeEach(() => {
    box = new Sandbox();
    box.write('/tmp/account_confirm/account_confirm', '#!/bin/sh\necho "in $(pwd):" "$@"; cat "$1"; exit 7\n', 0o644);
    for (const environment of ENVIRONMENTS)
      box.write(`/tmp/account_confirm/${iniName('account_confirm', environment)}`, `env = ${environment.name}\n`);
  });
  afterEach(() => box.remove());
  const start = (environment: Record<string, string>) =>
    spawnSync('dash', [`${PROGRAMS}${launchProgram.environmentStart}`], {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin', LAUNCH_ROOT: box.root, ...environment },
    });

  it.each(RUN_ENVIRONMENTS.map(({ name }) => name))("003-9: %s gets its own ini, and its death is the container's", (runenv) => {
    const { status, stdout } = start(variables(podFor(runenv).containers[0].env));
    expect(stdout).toContain(`env = ${runenv}\n`);
    expect(stdout).toContain(`in ${box.at('/data/bin')}: ../etc/account_confirm.ini`);
    expect(status).toBe(7);
    expect(box.exists('/data/log/account_confirm.log')).toBe(true);
  });

  it.each(['prod', 'dvelop', ''])('a RUNENV that got past synthesis is refused at the start: "%s"', (runenv) => {
    const { status, stderr } = start({ ...variables(podFor('pre').containers[0].env), RUNENV: runenv });
    expect(status).toBe(64);
    expect(stderr).toContain('LAUNCH_RUNENV');
    expect(box.exists('/data/etc/account_confirm.ini')).toBe(false);
  });
});

describe.skipIf(!hasGit)('003-4: the checkout, with what the manifest says', () => {
  let box: Sandbox;
  let repository: GitRepository;
  beforeEach(() => {
    box = new Sandbox();
    repository = new GitRepository();
  });
  afterEach(() => {
    box.remove();
    repository.remove();
  });

  /** The manifest's variables, but for where the project is: this machine's disk, which no manifest may name. */
  const run = async (revision: string): Promise<{ exitCode: number; log: string }> => {
    const values = VALUES.replace(/revision:.*/, `revision: "${revision}"`);
    const chart = new Chart(new App(), 'test');
    EnvironmentService.fromValues(chart, 'service', values, { release: 'accp' });
    const [, checkout] = find(manifestsOf(chart), 'Deployment', 'posp-accp').spec.template.spec.initContainers;
    let log = '';
    const exitCode = await checkoutMain({
      environment: { ...variables(checkout.env), GIT_PROJECT: repository.url, GIT_PROTOCOLS: 'file' },
      runner: nodeProcessRunner,
      clock: nodeClock,
      write: (text) => {
        log += text;
      },
      signal: new AbortController().signal,
      root: box.root,
    });
    return { exitCode, log };
  };

  it('the tree of exactly that revision is where the start looks for it', async () => {
    repository.write('account_confirm', 'first');
    const revision = repository.commit('first');
    repository.write('account_confirm', 'second');
    repository.commit('second');
    expect(await run(revision)).toMatchObject({ exitCode: 0 });
    expect(box.read('/tmp/account_confirm/account_confirm')).toBe('first');
  });
  it('a revision that the project has not is an error, and nothing is there', async () => {
    repository.write('account_confirm', 'first');
    repository.commit('first');
    const { exitCode, log } = await run('0'.repeat(40));
    expect(exitCode).not.toBe(0);
    expect(log).toContain('LAUNCH_GIT_');
    expect(box.exists('/tmp/account_confirm')).toBe(false);
  });
});

it("the manifest's own project is one that the checkout takes", async () => {
  const [, checkout] = find(manifestsOf(pospFromValues(new App())), 'Deployment', 'posp-accp-finance').spec.template.spec.initContainers;
  const asked: (readonly string[])[] = [];
  const box = new Sandbox();
  try {
    await checkoutMain({
      environment: variables(checkout.env),
      runner: {
        run: async ({ args }) => {
          asked.push(args);
          return { exitCode: args[0] === 'init' ? 0 : 128, killedBy: undefined, stdout: '', stderr: 'fatal: unable to access' };
        },
      },
      clock: nodeClock,
      write: () => undefined,
      signal: new AbortController().signal,
      root: box.root,
    });
  } finally {
    box.remove();
  }
  expect(asked.map(([verb]) => verb)).toEqual(['init', 'fetch']);
  expect(asked[1]).toEqual(
    expect.arrayContaining(['http://172.20.5.54/posp/posp_c/account_confirm.git', 'ecc71b65f2f09b2a044dff8d7f12d777e052b8b3']),
  );
});
