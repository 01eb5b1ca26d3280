/** Every operation of the API has a word of bmctl, or a reason for having none; what the words do against the API on loopback. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { type OperationId, operations } from 'cdk8s-baremetal-contract/api/index';
import type { HttpServer } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { seededRandom } from 'cdk8s-baremetal-simulator';
import type { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { candidates } from '../../src/cli/commands/completion.ts';
import { exitCode } from '../../src/cli/exit-codes.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { Harness } from '../runtime/api/harness.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { type Ran, runBmctl } from './run-bmctl.ts';

/** A command, or why there is none. */
const WORDS: Readonly<Record<OperationId, string | { readonly none: string }>> = {
  healthz: { none: 'for probes' },
  readyz: { none: 'for probes' },
  metrics: { none: 'for Prometheus' },
  openapi: { none: 'for programs' },
  listNodes: 'list',
  enrolNode: 'enrol',
  showNode: 'show',
  updateNode: 'update',
  removeNode: 'remove',
  addInterface: 'interface add',
  removeInterface: 'interface remove',
  nodeHistory: { none: 'bmctl show has the history' },
  nodeTimeline: 'timeline',
  diagnoseNode: 'diagnose',
  explainMac: 'explain',
  bootReport: 'boot',
  powerOnNode: 'power on',
  powerOffNode: 'power off',
  rebootNode: 'reboot',
  destroyNode: 'destroy',
  rebuildNode: 'rebuild',
  retryNode: 'retry',
  abortNode: 'abort',
  unstickNode: 'unstick',
  inspectNode: 'inspect',
  cleanNode: 'clean',
  rescueNode: 'rescue',
  unrescueNode: 'unrescue',
  manageNode: 'manage',
  provideNode: 'provide',
  adoptNode: 'adopt',
  attachVolume: 'volume attach',
  detachVolume: 'volume detach',
  plugVifs: 'vif plug',
  maintainNode: 'maintenance on',
  reportFault: 'fault',
  clearFault: 'fault',
  listImages: 'image list',
  registerImage: 'image add',
  showImage: 'image show',
  removeImage: 'image remove',
  listFlavors: 'flavor list',
  createFlavor: 'flavor add',
  showFlavor: 'flavor show',
  removeFlavor: 'flavor remove',
  listInstances: 'instance list',
  spawnInstance: 'deploy',
  showInstance: 'instance show',
  destroyInstance: 'instance destroy',
  plan: 'plan',
  events: 'watch',
  listBmcs: 'bmc status',
  retryBmc: 'bmc retry',
  listNotifications: 'notification list',
  retryNotification: 'notification retry',
  dropNotification: 'notification drop',
  novaList: { none: 'for clients of nova; bmctl list says the same' },
  novaShow: { none: 'for clients of nova; bmctl show' },
  novaCreate: { none: 'for clients of nova; bmctl enrol' },
  novaDelete: { none: 'for clients of nova; bmctl remove' },
  novaAction: { none: 'for clients of nova; bmctl interface' },
};

const folder = temporaryFolder();
let harness: Harness;
let server: HttpServer;
let api: string;
beforeEach(async () => {
  folder.create();
  mkdirSync(folder.path('images'));
  harness = new Harness({ clock: nodeClock, userImages: folder.path('images') });
  server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, harness.api.handle);
  api = `http://127.0.0.1:${server.local.port}`;
});
afterEach(async () => {
  harness.api.close();
  await server.close(0);
  folder.remove();
});

const bmctl = (args: readonly string[], env: Readonly<Record<string, string>> = {}, stdin = ''): Promise<Ran> =>
  runBmctl(args, { BMCTL_API: api, ...env }, stdin);

const asked = async (name: string) => (await harness.store.list(nodeKind)).find(({ value }) => value.name === name)?.value;

function program(): Command {
  return buildProgram({
    network: nodeNetwork,
    clock: nodeClock,
    random: seededRandom('words'),
    env: {},
    stdin: async () => '',
    print: () => undefined,
    note: () => undefined,
    signal: new AbortController().signal,
  });
}

describe('words', () => {
  it.each(Object.keys(operations) as OperationId[])('%s has one, or says why not', (id) => {
    const word = WORDS[id];
    if (typeof word !== 'string') return expect(word.none).not.toBe('');
    let command: Command | undefined = program();
    for (const part of word.split(' ')) command = command?.commands.find((one) => one.name() === part);
    expect(command?.name(), word).toBe(word.split(' ').at(-1));
  });

  it('explain themselves: every command, argument and option', () => {
    const silent: string[] = [];
    const visit = (command: Command, path: string): void => {
      for (const one of command.commands) {
        if (one.name().startsWith('__')) continue;
        const name = `${path} ${one.name()}`;
        if (one.description() === '') silent.push(name);
        for (const argument of one.registeredArguments) if (argument.description === '') silent.push(`${name} <${argument.name()}>`);
        for (const option of one.options) if (option.description === '') silent.push(`${name} ${option.long}`);
        visit(one, name);
      }
    };
    visit(program(), 'bmctl');
    expect(silent).toEqual([]);
  });

  it('print JSON where --json is given, also for what the API answers with nothing', async () => {
    await harness.machine(1);
    const notes = { code: 0, err: '' };
    for (const args of [
      ['list'],
      ['boot'],
      ['bmc', 'status'],
      ['image', 'list'],
      ['flavor', 'add', 'any', '--cpus', '1', '--memory', '1', '--disk', '1'],
      ['flavor', 'show', 'any'],
      ['flavor', 'remove', 'any'],
      ['instance', 'list'],
      ['interface', 'add', 'bm-1', '52:54:00:00:99:01'],
      ['interface', 'remove', 'bm-1', '52:54:00:00:99:01'],
      ['maintenance', 'on', 'bm-1', '--reason', 'a fan'],
      ['maintenance', 'off', 'bm-1'],
      ['fault', 'bm-1', '--clear'],
      ['update', 'bm-1', '--memory', '4096'],
      ['notification', 'list'],
    ]) {
      const ran = await bmctl(['--json', ...args]);
      expect(ran, args.join(' ')).toMatchObject(notes);
      expect(() => JSON.parse(ran.out), args.join(' ')).not.toThrow();
    }
  });

  it('are completed with the names of what there is, also behind an option that takes one', async () => {
    await harness.machine(1);
    await bmctl(['flavor', 'add', 'small', '--cpus', '1', '--memory', '1', '--disk', '1']);
    const completed = async (...words: string[]): Promise<string[]> => (await bmctl(['__complete', '--', ...words])).out.split('\n');
    expect(await completed('deploy', 'web-1', '--flavor', 's')).toEqual(['small']);
    expect(await completed('deploy', 'web-1', '--flavor', 'small', '--node', '')).toEqual(['bm-1']);
    expect(await completed('flavor', 'show', '')).toEqual(['small']);
    expect(await completed('--json', 'show', 'bm')).toEqual(['bm-1']);
    expect(await completed('enrol', 'x', '--driver', 'ip')).toEqual(['ipmi']);
    expect(await completed('fault', 'b')).toEqual(['bm-1']);
    expect(await completed('fault', 'bm-1', '--')).toEqual(['--reason', '--clear', '--help']);
  });

  it('all of them are completed, by every shell, from the program itself', async () => {
    const none = () => Promise.reject(new Error('the API is not asked'));
    const words = Object.values(WORDS).filter((word) => typeof word === 'string');
    for (const word of words) {
      const parts = word.split(' ');
      const typed = [...parts.slice(0, -1), parts.at(-1)?.slice(0, 2) ?? ''];
      expect(await candidates(program(), typed, none), word).toContain(parts.at(-1));
    }
    expect(await candidates(program(), ['volume', 'attach', '--d'], none)).toEqual(['--device']);
    expect(await candidates(program(), ['import', ''], none)).toEqual(['ironic', 'metal3']);
  });
});

describe('002-1: volumes and virtual interfaces', () => {
  beforeEach(async () => {
    await harness.image();
    await harness.inUse(1);
  });

  it('are asked for, each with a plan that changes nothing', async () => {
    const attach = await bmctl(['volume', 'attach', 'bm-1', 'v-1', '--plan-only']);
    expect(attach.out).toContain('export the volume v-1 to the addresses of bm-1 alone');
    expect((await asked('bm-1'))?.request).toBeUndefined();
    expect(await bmctl(['volume', 'attach', 'bm-1', 'v-1', '--device', '/dev/vdb'])).toMatchObject({ code: exitCode.done });
    expect((await asked('bm-1'))?.request).toMatchObject({ verb: 'attach volume', args: { volume: 'v-1', mountpoint: '/dev/vdb' } });
  });

  it('vif plug says what is unplugged', async () => {
    const node = await asked('bm-1');
    await harness.change(node?.uuid ?? '', (value) => ({
      ...value,
      ...(value.instance && { instance: { ...value.instance, vifs: ['n-1'] } }),
    }));
    const { out } = await bmctl(['plan', 'plug vifs', 'bm-1', '--vif', 'n-2']);
    expect(out).toMatch(/unplug n-1: its port loses the network\n {2}plug n-2 into a free interface/);
    expect((await bmctl(['vif', 'plug', 'bm-1', 'n-2'])).code).toBe(exitCode.done);
    expect((await asked('bm-1'))?.request).toMatchObject({ verb: 'plug vifs', args: { vifs: ['n-2'] } });
  });

  it.each([
    [['volume', 'attach', 'bm-1', 'v-1', '--device', 'sdb'], exitCode.usage, 'must be a device such as /dev/vdb'],
    [['volume', 'detach', 'nowhere', 'v-1'], exitCode.notFound, 'API_NO_NODE'],
    [['volume', 'attach', 'bm-2', 'v-1'], exitCode.refused, 'MACHINE_WRONG_STATE'],
    [['plan', 'attach volume', 'bm-1'], exitCode.usage, 'API_INVALID'],
    [['vif', 'plug', 'bm-2', 'n-1'], exitCode.refused, 'it is available'],
  ])('%j ends with %i', async (args, code, said) => {
    await harness.machine(2);
    expect(await bmctl(args as string[])).toMatchObject({ code, err: expect.stringContaining(said as string) });
  });
});

describe('002-16: bmctl deploy --network', () => {
  const network =
    'interfaces:\n  - on: 0\n    ipv4: { address: 10.0.0.5/24, gateway: 10.0.0.1 }\n    dns: [10.0.0.2]\nonKernelCommandLine: true\n';

  it('shows the addresses in the plan, whose hash stands for them, and hands them over', async () => {
    await harness.image();
    await harness.machine(1);
    writeFileSync(folder.path('network.yaml'), network);
    const args = ['deploy', 'web-1', '-i', 'image-1', '-n', 'bm-1', '--network', folder.path('network.yaml')];
    const shown = await bmctl(args);
    expect(shown.out).toContain('hand over eth0 (52:54:00:00:00:01): 10.0.0.5/24 by 10.0.0.1, name servers 10.0.0.2');
    const hash = /Plan ([0-9a-f]{64})/.exec(shown.out)?.[1] ?? '';
    const other = await bmctl([...args.slice(0, -1), '-', '--plan', hash], {}, network.replace('10.0.0.5', '10.0.0.6'));
    expect(other).toMatchObject({ code: exitCode.refused, err: expect.stringContaining('API_PLAN_CHANGED') });
    expect((await bmctl([...args, '--plan', hash])).code).toBe(exitCode.done);
    expect((await asked('bm-1'))?.instance?.network?.interfaces[0]).toMatchObject({ on: 0, ipv4: { address: '10.0.0.5/24' } });
    expect((await bmctl(['instance', 'show', 'web-1'])).out).toContain('10.0.0.5/24');
  });

  it.each([
    ['a wrong address', network.replace('/24', '/40'), 'interfaces.0.ipv4'],
    ['no YAML', '{', 'neither JSON nor YAML'],
    ['nothing', '', 'it is empty'],
  ])('%s ends with the usage code and the field', async (_name, text, said) => {
    const ran = await bmctl(['deploy', 'web-1', '-i', 'image-1', '-n', 'bm-1', '--network', '-'], {}, text);
    expect(ran).toMatchObject({ code: exitCode.usage, err: expect.stringContaining(said) });
  });

  it('a machine without that interface is refused', async () => {
    await harness.image();
    await harness.machine(1);
    const ran = await bmctl(
      ['deploy', 'w', '-i', 'image-1', '-n', 'bm-1', '--network', '-', '--yes'],
      {},
      network.replace('on: 0', 'on: 1'),
    );
    expect(ran).toMatchObject({
      code: exitCode.refused,
      err: expect.stringContaining('bm-1 cannot have this network: it has 1 interface, and interface 1 is asked for'),
    });
  });
});

describe('more words', () => {
  it('002-9: update corrects an enrolment, the password from standard input only', async () => {
    const { uuid } = await harness.machine(1);
    const ran = await bmctl(
      ['update', 'bm-1', '--bmc', '192.0.2.77', '--memory', '2048', '--any-disk', '--password-file', '-'],
      {},
      'new horse\n',
    );
    expect([ran.code, ran.out]).toEqual([
      exitCode.done,
      'bm-1 is corrected: ipmi://192.0.2.77, 32 CPUs x86_64, 2048 MiB, 480 GiB, any disk.',
    ]);
    const node = await asked('bm-1');
    expect([node?.bmc.address, node?.bmc.username, node?.properties.memoryMb, node?.rootDiskSerial]).toEqual([
      '192.0.2.77',
      'admin',
      2048,
      undefined,
    ]);
    expect((await harness.secrets.read(`bmc.${uuid}`)).reveal()).toBe('new horse');
    expect((await bmctl(['update', 'bm-1'])).code).toBe(exitCode.usage);
    await harness.machine(2);
    expect(await bmctl(['update', 'bm-2', '--bmc', '192.0.2.77'])).toMatchObject({
      code: exitCode.refused,
      err: expect.stringContaining('belongs to the machine bm-1'),
    });
  });

  it('002-8: flavors with everything that they have', async () => {
    const all = [
      '--arch',
      'x86_64',
      '--deploy-kernel',
      'dk',
      '--deploy-ramdisk',
      'dr',
      '--swap',
      '512',
      '--ephemeral',
      '20',
      '--spec',
      'rack=r1',
      'cpus=>= 8',
    ];
    expect((await bmctl(['flavor', 'add', 'big', '--cpus', '8', '--memory', '1024', '--disk', '100', ...all])).code).toBe(exitCode.done);
    expect(JSON.parse((await bmctl(['--json', 'flavor', 'show', 'big'])).out)).toEqual({
      id: 'big',
      name: 'big',
      cpus: 8,
      memoryMb: 1024,
      localGb: 100,
      cpuArch: 'x86_64',
      deployKernelId: 'dk',
      deployRamdiskId: 'dr',
      swapMb: 512,
      ephemeralGb: 20,
      extraSpecs: { rack: 'r1', cpus: '>= 8' },
    });
    expect((await bmctl(['flavor', 'add', 'bad', '--cpus', '1', '--memory', '1', '--disk', '1', '--deploy-kernel', 'dk'])).err).toContain(
      'come together',
    );
    expect((await bmctl(['flavor', 'add', 'bad', '--cpus', '1', '--memory', '1', '--disk', '1', '--spec', 'rack'])).code).toBe(
      exitCode.usage,
    );
    expect((await bmctl(['flavor', 'show', 'none'])).code).toBe(exitCode.notFound);
  });

  it('images and instances are shown, and an instance is ended by its name after a plan', async () => {
    await harness.image();
    await harness.inUse(1);
    expect((await bmctl(['image', 'show', 'image-1'])).out).toMatch(/^id +image-1$/m);
    expect((await bmctl(['instance', 'show', 'host-1'])).out).toMatch(/^machine +bm-1$/m);
    const shown = await bmctl(['instance', 'destroy', 'host-1']);
    expect([shown.code, shown.out]).toEqual([exitCode.refused, expect.stringContaining('end host-1: power off')]);
    const hash = /Plan ([0-9a-f]{64})/.exec(shown.out)?.[1] ?? '';
    expect((await bmctl(['instance', 'destroy', 'host-1', '--plan', hash])).out).toBe('host-1 ends; its machine is bm-1.');
  });

  it('watch prints what is there and what happens, until it is interrupted', async () => {
    const node = await harness.machine(1);
    const lines: string[] = [];
    const interrupted = new AbortController();
    const happened = new Promise<void>((resolve) => {
      const print = (line: string): void => {
        lines.push(line);
        if (lines.length === 1)
          void harness.change(node.uuid, (value) => ({
            ...value,
            state: 'manageable',
            history: [...value.history, { from: 'available', to: 'manageable', reason: 'asked for', at: 1, durationMs: 1 }],
          }));
        if (line.includes('→')) resolve();
      };
      void runBmctl(['watch', 'bm-1'], { BMCTL_API: api }, '', { print, signal: interrupted.signal });
    });
    await happened;
    interrupted.abort(new Error('interrupted'));
    expect(lines[0]).toContain('bm-1  is available: free');
    expect(lines.join('\n')).toContain('bm-1  available → manageable: asked for');
  });

  it('notifications that were given up', async () => {
    expect((await bmctl(['notification', 'list'])).out).toBe('Nobody is told: [center] scheduler_callback is not set.');
    expect((await bmctl(['notification', 'retry', 'x'])).code).toBe(exitCode.notFound);
    expect((await bmctl(['notification', 'drop', 'x'])).code).toBe(exitCode.notFound);
  });
});
