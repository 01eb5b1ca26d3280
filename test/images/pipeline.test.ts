/** The build command with builders that write down what they are told: no image is built here. */

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { catalog } from 'cdk8s-baremetal-contract/onecloud/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { dockerfileOf, serviceImages, THIRD_PARTY } from '../../images/onecloud/services.ts';
import { contentHash } from '../../scripts/images.ts';
import { BUILDERS, type BuildRequest, buildCommands, findCommand, shellLine } from '../../scripts/images-commands.ts';
import { imageBuilds } from '../../scripts/images-list.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = temporaryFolder();
beforeEach(() => {
  folder.create();
  mkdirSync(folder.path('bin'));
});
afterEach(() => {
  folder.remove();
  rmSync('lib/images/onecloud', { recursive: true, force: true });
});

/** A builder that records its arguments. It finds the images whose reference `knows` matches, and fails at `fails`. */
function builder(name: string, { knows = '^$', fails = '^$' }: { readonly knows?: string; readonly fails?: string } = {}): void {
  const script = `#!/bin/sh
printf '%s' "${name}" >> "${folder.path('log')}"
for word in "$@"; do printf ' %s' "$word" >> "${folder.path('log')}"; done
printf '\\n' >> "${folder.path('log')}"
for word in "$@"; do last=$word; done
case "$*" in
"buildx version") echo "$*" | grep -Eq '${fails}' && exit 1; exit 0 ;;
*inspect*) echo "$last" | grep -Eq '${knows}' && echo sha256:${'a'.repeat(64)} || exit 1 ;;
*" build "*|"build "*)
  echo "$*" | grep -Eq '${fails}' && exit 3
  while [ $# -gt 0 ]; do
    [ "$1" = --metadata-file ] && echo '{"containerimage.digest":"sha256:${'b'.repeat(64)}"}' > "$2"
    shift
  done ;;
push*) while [ $# -gt 0 ]; do [ "$1" = --digestfile ] && echo sha256:${'c'.repeat(64)} > "$2"; shift; done ;;
esac
exit 0
`;
  writeFileSync(folder.path('bin', name), script);
  chmodSync(folder.path('bin', name), 0o755);
}

function images(
  args: readonly string[],
  env: Record<string, string> = {},
): { code: number | null; out: string; err: string; log: string[] } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'scripts/images.ts', ...args], {
    encoding: 'utf8',
    // the shell's own folder, without the builders of this machine
    env: { ...process.env, PATH: `${folder.path('bin')}:${folder.path('system')}`, ...env },
  });
  const all = existsSync(folder.path('log')) ? readFileSync(folder.path('log'), 'utf8').trimEnd().split('\n') : [];
  const log = all.filter((line) => line !== 'docker buildx version'); // asked to choose a builder
  return { code: status, out: stdout, err: stderr, log };
}

/** What the recording script itself calls. */
function system(): void {
  mkdirSync(folder.path('system'));
  for (const program of ['grep', 'sh']) {
    writeFileSync(folder.path('system', program), `#!/bin/sh\nexec /bin/${program} "$@"\n`);
    chmodSync(folder.path('system', program), 0o755);
  }
}

const TO = ['--registry', 'registry.example.net:5000/bms', '--tag', 'v0.1.0'];

describe('004-13: npm run images', () => {
  beforeEach(system);

  it('prints on a dry run exactly what it then runs', () => {
    builder('docker');
    const dry = images([...TO, '--push', '--only', 'onecloud-operator', '--dry-run']);
    expect(dry).toMatchObject({ code: 0, log: [] });
    const printed = dry.out.split('\n').filter((line) => line.startsWith('docker '));
    const wet = images([...TO, '--push', '--only', 'onecloud-operator']);
    expect(wet.code).toBe(0);
    const withoutFolder = (line = ''): string => line.replace(/--metadata-file \S+/, '--metadata-file X');
    expect(wet.log.slice(1).map(withoutFolder)).toEqual(printed.map(withoutFolder));
    expect(withoutFolder(printed[0])).toMatch(
      /^docker buildx build --file images\/operator\/Dockerfile --tag registry\.example\.net:5000\/bms\/onecloud-operator:v0\.1\.0 --tag \S+:content-[0-9a-f]{16} .*--metadata-file X --push \.$/,
    );
  });

  it('tells each digest', () => {
    builder('docker');
    const { out } = images([...TO, '--push', '--only', 'onecloud-operator']);
    expect(out).toContain(`registry.example.net:5000/bms/onecloud-operator:v0.1.0  built  sha256:${'b'.repeat(64)}`);
  });

  it('does not build what is there already, and gives it the tag', () => {
    builder('docker', { knows: 'onecloud-operator:content-[0-9a-f]{16}$' });
    const { out, log } = images([...TO, '--push', '--only', 'onecloud-operator']);
    expect(log.map((line) => line.split(' ').slice(0, 4).join(' '))).toEqual([
      'docker buildx imagetools inspect',
      'docker buildx imagetools create',
    ]);
    expect(log[1]).toMatch(/--tag \S+onecloud-operator:v0\.1\.0 \S+:content-[0-9a-f]{16}$/);
    expect(out).toContain(`found  sha256:${'a'.repeat(64)}`);
  });

  it.each([
    ['podman', 'podman build --file images/operator/Dockerfile', `sha256:${'c'.repeat(64)}`],
    ['buildah', 'buildah build --file images/operator/Dockerfile', `sha256:${'c'.repeat(64)}`],
  ])('works with %s where that is what there is', (name, begins, digest) => {
    builder(name);
    builder('skopeo');
    const { code, log, out } = images([...TO, '--push', '--only', 'onecloud-operator']);
    expect(code).toBe(0);
    expect(log[1]).toMatch(new RegExp(`^${begins}`));
    expect(log.slice(2).map((line) => line.replace(/--digestfile \S+/, '-'))).toEqual([
      `${name} push - registry.example.net:5000/bms/onecloud-operator:v0.1.0`,
      expect.stringMatching(new RegExp(`^${name} push - \\S+:content-`)),
    ]);
    expect(out).toContain(digest);
  });

  it('takes podman where docker has no buildx', () => {
    builder('docker', { fails: 'version' });
    builder('podman');
    expect(images([...TO, '--only', 'bms_core', '--dry-run']).out).toContain('\npodman build ');
  });

  it('ends at the first build that fails, and says which', () => {
    builder('docker', { fails: 'images/bms-core' });
    const { code, err, log } = images([...TO, '--only', 'bms_core,onecloud-operator']);
    expect(code).toBe(1);
    expect(err).toContain('ended with 3');
    expect(log.filter((line) => line.includes('onecloud-operator'))).toEqual([]);
  });

  it.each<[string, string[], Record<string, string>, RegExp]>([
    ['no registry', ['--tag', 'v1'], {}, /--registry is missing/],
    ['a registry with a scheme', ['--registry', 'https://x', '--tag', 'v1'], {}, /--registry https:\/\/x|registry path/],
    ['a tag that is none', ['--registry', 'x/y', '--tag', 'a b'], {}, /--tag a b/],
    ['an image that is none', [...TO, '--only', 'glanse'], {}, /--only glanse: there are bms_core/],
    ['a service without its programs', [...TO, '--only', 'glance'], {}, /glance: name OneCloud's checkout with --onecloud DIR/],
    ['no builder', TO, {}, /none of docker with buildx, podman, buildah is installed/],
    ['a builder that is none', [...TO, '--builder', 'kaniko'], {}, /--builder kaniko/],
    ['an unknown flag', [...TO, '--pusch'], {}, /--pusch/],
  ])('refuses %s', (_, args, env, told) => {
    const { code, err } = images(args, env);
    expect(code).toBe(1);
    expect(err).toMatch(told);
  });

  it('takes REGISTRY and TAG as the original’s make does', () => {
    builder('docker');
    const { out } = images(['--only', 'bms_core', '--dry-run'], { REGISTRY: 'zexi', TAG: 'dev' });
    expect(out).toContain('--tag zexi/bms_core:dev');
  });

  it("puts a service's programs beside its Dockerfile, and skips those that were not made", () => {
    builder('docker');
    mkdirSync(folder.path('onecloud/_output/bin'), { recursive: true });
    for (const program of ['glance', 'climc']) writeFileSync(folder.path('onecloud/_output/bin', program), `#!${program}`);
    const { out, log, code } = images([...TO, '--only', 'glance,keystone', '--onecloud', folder.path('onecloud')]);
    expect(code).toBe(0);
    expect(log.at(-1)).toMatch(/--file lib\/images\/onecloud\/glance\/Dockerfile .* lib\/images\/onecloud\/glance$/);
    expect(readFileSync('lib/images/onecloud/glance/bin/glance', 'utf8')).toBe('#!glance');
    expect(out).toMatch(/keystone: \S+_output\/bin\/keystone not there: skipped/);
  });
});

describe('004-13: images of the services', () => {
  const all = serviceImages();

  it('are there for every image that a component names and nobody else publishes', () => {
    const named = catalog.flatMap(({ image, companions = [] }: { image: string; companions?: readonly { image: string }[] }) => [
      image,
      ...companions.map((one) => one.image),
    ]);
    expect(all.map(({ name }) => name)).toEqual([...new Set(named)].filter((name) => !THIRD_PARTY.includes(name)).sort());
    expect(imageBuilds({ services: true }).map(({ name }) => name)).toEqual(
      expect.arrayContaining(['bms_core', 'bms_launch', 'onecloud-operator', 'glance', 'web']),
    );
  });

  it('carry what their components start', () => {
    const of = (name: string) => all.find((image) => image.name === name);
    expect(of('glance')?.programs).toEqual(['glance']);
    expect(of('kubeserver')?.programs).toEqual(['kube-server']);
    expect(of('notify-plugins')?.programs).toEqual(['dingtalk', 'email', 'smsaliyun', 'websocket']);
    expect(of('climc')?.programs).toContain('climc');
    for (const { name, programs, pages } of all) expect(programs.length > 0 || pages === true, name).toBe(true);
  });

  it('are Dockerfiles that copy exactly these, with what they need', () => {
    const glance = all.find(({ name }) => name === 'glance');
    if (!glance) throw new Error('glance has an image');
    const text = dockerfileOf(glance);
    expect(text).toContain('COPY --chmod=755 bin/glance /opt/yunion/bin/');
    expect(text).toMatch(/apt-get install -y --no-install-recommends ca-certificates qemu-utils tzdata /);
    expect(text.match(/^FROM /gm)).toHaveLength(1);
    expect(text).not.toMatch(/:latest|ADD /);
    for (const image of all)
      expect(
        dockerfileOf(image)
          .split('\n')
          .find((line) => line.startsWith('FROM')),
      ).toBe(['FROM $', '{BASE_IMAGE}'].join(''));
  });
});

describe('004-13: the content of an image', () => {
  it('is another one with another file, name, mode or platform, and with nothing else', () => {
    const write = (name: string, text: string): void => writeFileSync(folder.path('bin', name), text);
    const hash = (platform?: string) =>
      contentHash({ dockerfile: folder.path('bin/Dockerfile'), inputs: [folder.path('bin/*')] }, platform);
    write('Dockerfile', 'FROM x');
    write('a', '1');
    const first = hash();
    expect(hash()).toBe(first);
    expect(hash('linux/arm64')).not.toBe(first);
    write('a', '2');
    expect(hash()).not.toBe(first);
    write('a', '1');
    expect(hash()).toBe(first);
    chmodSync(folder.path('bin/a'), 0o755);
    expect(hash()).not.toBe(first);
  });

  it('of our own images follows from sources that exist', () => {
    for (const { name, inputs, dockerfile } of imageBuilds({ services: false })) {
      expect(existsSync(dockerfile), name).toBe(true);
      for (const input of inputs) expect(globSync(input).length, `${name}: ${input}`).toBeGreaterThan(0);
    }
  });

  it.each(BUILDERS)('is built without a secret or a default registry by %s', (name) => {
    const request: BuildRequest = {
      builder: name,
      repository: 'r/x',
      tag: 't',
      contentTag: 'c',
      dockerfile: 'D',
      context: '.',
      push: false,
      digestFile: 'd',
      labels: {},
    };
    expect(buildCommands(request).flat().join(' ')).not.toMatch(/push|password|secret/);
    expect(findCommand(request)[0]).toBe(name);
  });

  it('is printed as a shell reads it', () => {
    expect(shellLine(['a', 'b c', "d'e", 'f=g:h/i@j'])).toBe("a 'b c' 'd'\\''e' f=g:h/i@j");
  });
});

describe('004-13: the workflows', () => {
  const workflow = (name: string) => parse(readFileSync(`.github/workflows/${name}.yml`, 'utf8'));

  it.each(['ci', 'images'])('%s uses actions by their major, and has no right that it does not need', (name) => {
    const { permissions, jobs } = workflow(name);
    expect(permissions).toEqual({ contents: 'read' });
    const steps = Object.values<{ steps: { uses?: string; run?: string }[] }>(jobs).flatMap((job) => job.steps);
    for (const { uses } of steps) if (uses !== undefined) expect(uses).toMatch(/^[\w-]+\/[\w-]+@v\d+$/);
    // what a pull request is called must not become a command
    for (const { run } of steps) if (run !== undefined) expect(run).not.toMatch(/\$\{\{\s*github\.(event|head_ref)/);
  });

  it('images are pushed for tags alone, and every one of ours is built', () => {
    const { on, jobs } = workflow('images');
    expect(on.push.tags).toEqual(['v*']);
    const { matrix } = jobs.build.strategy;
    expect(matrix.image).toEqual(imageBuilds({ services: false }).map(({ name }) => name));
    expect(jobs.build.permissions).toEqual({ contents: 'read', packages: 'write' });
    const text = JSON.stringify(jobs.build.steps);
    expect(text).toContain("startsWith(github.ref, 'refs/tags/')");
  });

  it('ci installs, checks and synthesizes, and fails when dist/ is stale', () => {
    const text = JSON.stringify(workflow('ci').jobs);
    for (const command of ['.ci/run', 'npx cdk8s synth', 'git diff --exit-code']) expect(text).toContain(command);
  });
});

describe('004-13: the operator’s image', () => {
  const dockerfile = readFileSync('images/operator/Dockerfile', 'utf8');
  const [, ...stages] = dockerfile.split(/^FROM /m);

  it('builds in one stage, and ships two programs for a numeric user that is not root', () => {
    expect(stages).toHaveLength(2);
    expect(stages[1]).toMatch(/^USER 65532:65532$/m);
    expect([...dockerfile.matchAll(/\/src\/lib\/([\w-]+)\.cjs/g)].map((match) => match[1])).toEqual(['operator', 'render-secrets']);
    expect(stages[1]).not.toContain('npm');
  });

  it("installs with every workspace's package.json", () => {
    const { workspaces } = JSON.parse(readFileSync('package.json', 'utf8')) as { workspaces: string[] };
    for (const workspace of workspaces) expect(stages[0]).toContain(`COPY ${workspace}/package.json ${workspace}/`);
  });
});
