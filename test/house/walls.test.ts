/** Who may import whom, read from the sources and from the bundles. */
import { globSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bundleInputs, bundles } from '../../scripts/bundles.ts';

/** An arrow is an import; there are no others. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  contract: [],
  constructs: ['contract', 'imports'],
  runtime: ['contract'],
  simulator: ['contract', 'runtime'],
  operator: ['contract', 'constructs', 'runtime'],
  cli: ['contract', 'constructs', 'runtime', 'simulator', 'operator', 'examples'], // the demo deploys the example's machines
};

/** Floors of the runtime: a room may import its own, and these. */
const FLOORS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  boot: ['core'],
  power: ['core'],
  deploy: ['core'],
  launch: ['core'],
  store: ['core'],
  coordination: ['core'],
  machine: ['core', 'boot', 'power', 'deploy', 'store', 'coordination'],
  outbox: ['core', 'machine', 'store'],
  api: ['core', 'boot', 'power', 'deploy', 'store', 'coordination', 'machine'],
  objects: ['core', 'power', 'store', 'machine', 'api'],
};

const PACKAGE_OF: Readonly<Record<string, string>> = {
  'cdk8s-baremetal-contract': 'contract',
  'cdk8s-baremetal': 'constructs',
  'cdk8s-baremetal-runtime': 'runtime',
  'cdk8s-baremetal-operator': 'operator',
  'cdk8s-baremetal-simulator': 'simulator',
  'cdk8s-baremetal-cli': 'cli',
};

interface Import {
  readonly file: string;
  readonly specifier: string;
}

function importsOf(room: string): Import[] {
  return globSync(`src/${room}/**/*.ts`).flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/^(?:import|export)\b[^;]*?from '([^']+)'|\bimport\('([^']+)'\)/gm)].map((match) => ({
      file,
      specifier: match[1] ?? match[2] ?? '',
    })),
  );
}

/** "cdk8s-baremetal-runtime/core/clock" → the package and the folder inside it. */
function target({ file, specifier }: Import): { room: string; folder: string | undefined; npm: string | undefined } {
  if (specifier.startsWith('.')) {
    const [top, room = '', folder] = relative('.', join(dirname(file), specifier)).split('/');
    return top === 'src' ? { room, folder, npm: undefined } : { room: top ?? '', folder: undefined, npm: undefined };
  }
  const [scope = '', name = '', folder] = specifier.startsWith('@') ? specifier.split('/') : ['', ...specifier.split('/')];
  const npm = scope ? `${scope}/${name}` : name;
  const room = PACKAGE_OF[npm];
  return { room: room ?? '', folder: room === undefined ? undefined : folder, npm };
}

describe('walls between packages', () => {
  it.each(Object.keys(ARROWS))('%s imports only what its arrows allow', (room) => {
    const allowed = [room, ...(ARROWS[room] ?? [])];
    const trespasses = importsOf(room).filter((found) => {
      const { room: other, npm } = target(found);
      return other !== '' && !allowed.includes(other) && (npm === undefined || npm in PACKAGE_OF);
    });
    expect(trespasses).toEqual([]);
  });

  it.each(Object.keys(FLOORS))('runtime/%s stands only on the floors below it', (folder) => {
    const allowed = [folder, ...(FLOORS[folder] ?? [])];
    const trespasses = importsOf(`runtime/${folder}`).filter((found) => {
      const { room, folder: other } = target(found);
      return room === 'runtime' && other !== undefined && !allowed.includes(other);
    });
    expect(trespasses).toEqual([]);
  });

  it.each(Object.keys(ARROWS))('%s declares every package that it imports', (room) => {
    const files = globSync(`src/${room}/package.json`);
    const declared = files.flatMap((file) => {
      const { name, dependencies = {}, peerDependencies = {} } = JSON.parse(readFileSync(file, 'utf8'));
      return [name, ...Object.keys(dependencies), ...Object.keys(peerDependencies)];
    });
    const undeclared = importsOf(room).filter((found) => {
      const { npm } = target(found);
      return npm !== undefined && !npm.startsWith('node:') && !builtinModules.includes(npm) && !declared.includes(npm);
    });
    expect(undeclared).toEqual([]);
  });

  it('the app is 40 lines at most', () => {
    expect(readFileSync('src/main.ts', 'utf8').trimEnd().split('\n').length).toBeLessThanOrEqual(40);
  });
});

describe('bundles of the runtime', () => {
  it.each(bundles.filter(({ usesConstructs }) => !usesConstructs).map(({ name }) => name))(
    '%s contains neither cdk8s nor constructs',
    async (name) => {
      const inputs = await bundleInputs(name);
      expect(inputs.length).toBeGreaterThan(0);
      expect(inputs.filter((file) => /(?:^|\/)node_modules\/(?:cdk8s|constructs)|^src\/constructs\/|^imports\//.test(file))).toEqual([]);
    },
  );
});
