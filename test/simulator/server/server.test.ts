/** The simulated server: firmware, loader and ramdisk as the boot server sees them, and what is left when the power goes. */

import { createHash } from 'node:crypto';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { seededRandom } from 'cdk8s-baremetal-simulator';
import { runDeployRamdisk } from 'cdk8s-baremetal-simulator/server/deploy-ramdisk';
import { beforeEach, describe, expect, it } from 'vitest';
import { ADDRESS, BOOT_SERVER, CONFIG, ServerLab } from './lab.ts';

const NETWORK_FIRST = { device: 'none', efi: false } as const;
const DISK_FIRST = { device: 'disk', efi: false } as const;

let lab: ServerLab;
beforeEach(async () => {
  lab = new ServerLab();
  await lab.start();
});

async function settle(target = lab): Promise<void> {
  await target.clock.runUntil(() => !['self-test', 'network boot'].includes(target.server.activity), { limitMs: 600_000 });
}

/** A line to the port where the ramdisk waits; whether the other side closed. */
async function say(line: string, from = lab.boot): Promise<void> {
  const connection = await lab.clock.run(from.connect({ address: ADDRESS, port: 10_000 }));
  await lab.clock.run(connection.write(Buffer.from(line)));
  connection.end();
  await lab.clock.run(
    (async () => {
      for await (const _ of connection);
    })().catch(() => undefined),
  );
}

const TOKEN = createHash('sha256').update('done KEY').digest('hex');

describe('DHCP', () => {
  it('asks four times, 4, 8, 16 and 32 s apart, and then boots the disk', async () => {
    await lab.makeBootable();
    lab.dhcp = () => 'nothing';
    lab.server.powerOn(NETWORK_FIRST);
    await settle();
    expect(lab.heard.map(({ type }) => type)).toEqual(['discover', 'discover', 'discover', 'discover']);
    const times = lab.heard.map(({ atMs }) => Math.round(atMs));
    expect(times).toEqual([1_000, 5_000, 13_000, 29_000]);
    expect(lab.heard.map(({ secs }) => secs)).toEqual([0, 4, 12, 28]);
    expect(Math.round(lab.clock.monotonic())).toBe(61_000);
    expect(lab.types()).toEqual(['power on', 'network boot', 'no DHCP offer', 'running']);
    expect(lab.server.activity).toBe('running from disk');
  });

  it('begins anew after a NAK', async () => {
    lab.files.set(CONFIG, 'default a\nlabel a\nlocalboot 0\n');
    lab.dhcp = (type, count) => (type === 'discover' ? 'offer' : count === 1 ? 'nak' : 'ack');
    lab.server.powerOn(NETWORK_FIRST);
    await lab.until('the loader leaves for the disk');
    expect(lab.heard.map(({ type }) => type)).toEqual(['discover', 'request', 'discover', 'request']);
  });

  it('asks again when the acknowledgement is lost', async () => {
    lab.dhcp = (type, count) => (type === 'discover' ? 'offer' : count === 1 ? 'nothing' : 'ack');
    lab.server.powerOn(NETWORK_FIRST);
    await lab.until('DHCP lease');
    expect(lab.heard.map(({ atMs, type }) => `${type} ${Math.floor(atMs / 1_000)}`)).toEqual([
      'discover 1',
      'request 1',
      'discover 5',
      'request 5',
    ]);
  });

  it('boots the disk when an address comes without a boot file', async () => {
    await lab.makeBootable();
    lab.dhcp = () => 'no boot file';
    lab.server.powerOn(NETWORK_FIRST);
    await settle();
    expect(lab.server.activity).toBe('running from disk');
    expect(lab.types()).not.toContain('loaded');
  });
});

describe('the boot order', () => {
  it.each([
    { what: 'none: the network first', boot: NETWORK_FIRST, asksDhcp: true },
    { what: 'pxe', boot: { device: 'pxe', efi: false } as const, asksDhcp: true },
    { what: 'disk: not a word to the network', boot: DISK_FIRST, asksDhcp: false },
  ])('$what', async ({ boot, asksDhcp }) => {
    await lab.makeBootable();
    lab.files.set(CONFIG, 'default a\nlabel a\nlocalboot 0\n');
    lab.server.powerOn(boot);
    await settle();
    expect(lab.server.activity).toBe('running from disk');
    expect(lab.heard.length > 0).toBe(asksDhcp);
  });

  it('ends at a disk without a boot sector', async () => {
    lab.server.powerOn(DISK_FIRST);
    await settle();
    expect(lab.types()).toEqual(['power on', 'the disk has no boot sector', 'no bootable device']);
    expect(lab.server.activity).toBe('no bootable device');
    expect(lab.server.powered).toBe(true);
  });

  it('begins again after its pause, where the firmware does so', async () => {
    lab = new ServerLab({ bootRetryMs: 30_000 });
    await lab.start();
    lab.server.powerOn(DISK_FIRST);
    await lab.until('no bootable device');
    await lab.clock.run(lab.makeBootable());
    await lab.until('running');
    expect(Math.round(lab.clock.monotonic())).toBe(31_000);
  });
});

describe('the loader', () => {
  it('finds no configuration', async () => {
    lab.server.powerOn(NETWORK_FIRST);
    await settle();
    expect(lab.types().slice(-3)).toEqual(['the loader found no configuration', 'the disk has no boot sector', 'no bootable device']);
  });

  it.each([
    { what: 'by MAC before the default', files: { [CONFIG]: 'localboot 0', 'pxelinux.cfg/default': 'kernel kernel' } },
    { what: 'by a part of the address', files: { 'pxelinux.cfg/C0A832': 'localboot 0', 'pxelinux.cfg/default': 'kernel kernel' } },
    { what: 'the default', files: { 'pxelinux.cfg/default': 'localboot 0' } },
  ])('takes its configuration $what', async ({ files }) => {
    for (const [name, line] of Object.entries(files)) lab.files.set(name, `default a\nlabel a\n${line}\n`);
    lab.server.powerOn(NETWORK_FIRST);
    await lab.until('the loader leaves for the disk');
  });

  it.each(['kernel', 'ramdisk'])('stops when the %s is missing', async (file) => {
    lab.deploy();
    lab.files.delete(file);
    lab.server.powerOn(NETWORK_FIRST);
    await settle();
    expect(lab.events.at(-1)).toMatchObject({ type: 'boot failed', detail: `the loader could not load ${file}` });
    expect(lab.server.activity).toBe('no bootable device');
    expect(lab.posts).toEqual([]);
  });

  it('goes to the disk when the loader itself is missing', async () => {
    lab.files.delete('pxelinux.0');
    await lab.makeBootable();
    lab.server.powerOn(NETWORK_FIRST);
    await settle();
    expect(lab.types()).toContain('could not load');
    expect(lab.server.activity).toBe('running from disk');
  });

  it('runs a kernel that is no deploy ramdisk', async () => {
    lab.deploy('root=UUID=1234 ro');
    lab.server.powerOn(NETWORK_FIRST);
    await settle();
    expect(lab.server.activity).toBe('running from the network');
    expect(lab.events.at(-1)?.detail).toBe('kernel kernel, root=UUID=1234');
  });
});

describe('the deploy ramdisk', () => {
  it('002-13: exports its disk, posts i, k, a and n, and restarts at the right done', async () => {
    lab.deploy();
    lab.server.powerOn(NETWORK_FIRST);
    await lab.until('posted to the deploy-helper');
    expect(Object.fromEntries(lab.posts[0] ?? [])).toEqual({ i: '7', k: 'KEY', a: ADDRESS, n: 'iqn.2010-10.org.openstack.baremetal:d-1' });
    expect([...lab.open.values()].filter((what) => what.startsWith('tcp')).sort()).toEqual(['tcp 10000', 'tcp 3260']);
    lab.files.set(CONFIG, 'default a\nlabel a\nlocalboot 0\n');
    await say(`done ${TOKEN}\n`);
    await lab.until('reset');
    expect(lab.types().filter((type) => type === 'power on')).toHaveLength(2);
    await lab.until('no bootable device');
    await lab.clock.runFor(1_000);
    expect([...lab.open.values()]).toEqual([]);
  });

  it.each([
    { what: 'no token', line: 'done\n' },
    { what: 'a wrong token', line: `done ${'0'.repeat(64)}\n` },
    { what: 'the key itself', line: 'done KEY\n' },
    { what: 'the right token, cut short', line: `done ${TOKEN.slice(0, -1)}\n` },
    { what: 'nothing at all', line: '' },
    { what: 'a line without end', line: 'x'.repeat(100_000) },
  ])('does not believe $what', async ({ line }) => {
    lab.deploy();
    lab.server.powerOn(NETWORK_FIRST);
    await lab.until('posted to the deploy-helper');
    await say(line);
    await lab.clock.runFor(60_000);
    expect(lab.types().at(-1)).toBe('a stranger said done');
    expect(lab.server.activity).toBe('deploy ramdisk');
    await say(`done ${TOKEN}\r\n`);
    await lab.until('told that it is done');
  });

  it('without a disk reports an error and ends', async () => {
    lab.host.attach('lan', `${ADDRESS}/24`);
    const told: string[] = [];
    const options = {
      commandLine: ['iscsi_target_iqn=iqn.2000-01.example:d', 'deployment_id=7', 'deployment_key=KEY', `ip=${ADDRESS}:${BOOT_SERVER}:`],
      network: lab.host,
      clock: lab.clock,
      random: seededRandom(1),
      logger: silentLogger,
      signal: new AbortController().signal,
      disks: new Map(),
      diskSerial: '',
      deployHelperPort: 10_000,
      iscsiPort: 3260,
      onEvent: (type: string) => told.push(type),
    };
    await expect(lab.clock.run(runDeployRamdisk(options))).rejects.toThrow('there is no disk to use');
    expect(Math.round(lab.clock.monotonic())).toBe(10_000); // ten looks, a second apart
    expect(lab.posts[0]?.get('e')).toBe('Could not find disk to use.');
    expect(told).toEqual([]);
    expect([...lab.open.values()]).toEqual([]);
  });

  it.each(['iscsi_target_iqn', 'deployment_id', 'deployment_key', 'ip'])('needs %s on its command line', async (missing) => {
    const all = ['iscsi_target_iqn=iqn.2000-01.example:d', 'deployment_id=7', 'deployment_key=KEY', `ip=${ADDRESS}:${BOOT_SERVER}:`];
    const options = {
      commandLine: all.filter((word) => !word.startsWith(`${missing}=`)),
      network: lab.host,
      clock: lab.clock,
      random: seededRandom(1),
      logger: silentLogger,
      signal: new AbortController().signal,
      disks: new Map([['sda', lab.disk]]),
      diskSerial: '',
      deployHelperPort: 10_000,
      iscsiPort: 3260,
      onEvent: () => undefined,
    };
    await expect(lab.clock.run(runDeployRamdisk(options))).rejects.toThrow(`${missing} is not defined`);
  });

  it.each([
    { what: 'a refusal is final', answers: [400], tries: 1, ends: 'deploy ramdisk failed' },
    { what: '409 at the first try is a refusal', answers: [409], tries: 1, ends: 'deploy ramdisk failed' },
    { what: 'asks again at 503', answers: [503, 503, 200], tries: 3, ends: 'posted to the deploy-helper' },
    { what: '409 after a lost answer: it was accepted', answers: ['drop', 409], tries: 2, ends: 'posted to the deploy-helper' },
    { what: '501 is no trouble that passes', answers: [501], tries: 1, ends: 'deploy ramdisk failed' },
  ] as const)('$what', async ({ answers, tries, ends }) => {
    lab.deploy();
    lab.helper = (number) => {
      const answer = answers[number - 1] ?? 200;
      return answer === 'drop' ? 'drop' : { status: answer };
    };
    lab.server.powerOn(NETWORK_FIRST);
    await lab.until(ends);
    expect(lab.posts).toHaveLength(tries);
    if (ends === 'deploy ramdisk failed') {
      expect(lab.server.activity).toBe('halted');
      await lab.clock.runFor(1_000);
      expect([...lab.open.values()]).toEqual([]);
    }
  });
});

describe('power', () => {
  const STAGES = [
    'power on',
    'network boot',
    'DHCP lease',
    'loaded',
    'deploy ramdisk started',
    'disk exported',
    'posted to the deploy-helper',
  ];

  it.each(STAGES)('off at "%s" leaves no socket open', async (stage) => {
    lab.deploy();
    lab.server.powerOn(NETWORK_FIRST);
    await lab.until(stage);
    await lab.clock.run(lab.server.close());
    expect([...lab.open.values()]).toEqual([]);
    expect(lab.server.activity).toBe('off');
    const told = lab.types().length;
    await lab.clock.runFor(600_000);
    expect(lab.types()).toHaveLength(told); // nothing goes on without power
  });

  it.each(STAGES)('reset at "%s" begins from the start, once', async (stage) => {
    lab.deploy();
    lab.server.powerOn(NETWORK_FIRST);
    await lab.until(stage);
    const before = lab.types().length;
    lab.server.reset(NETWORK_FIRST);
    await lab.clock.runUntil(() => lab.types().slice(before).includes('posted to the deploy-helper'), { limitMs: 600_000 });
    expect(
      lab
        .types()
        .slice(before)
        .filter((type) => type === 'disk exported'),
    ).toHaveLength(1);
    await lab.clock.run(lab.server.close());
    expect([...lab.open.values()]).toEqual([]);
  });

  it('off and on again within an instant is one boot', async () => {
    lab.deploy();
    lab.server.powerOn(NETWORK_FIRST);
    await lab.until('disk exported');
    for (let i = 0; i < 5; i++) {
      lab.server.powerOff();
      lab.server.powerOn(NETWORK_FIRST);
    }
    lab.posts.length = 0;
    await lab.clock.runFor(60_000);
    expect(lab.posts).toHaveLength(1);
    await lab.clock.run(lab.server.close());
    expect([...lab.open.values()]).toEqual([]);
  });

  it('off when off, and on when on, are nothing', () => {
    lab.server.powerOff();
    lab.server.reset(NETWORK_FIRST);
    expect(lab.types()).toEqual([]);
    lab.server.powerOn(NETWORK_FIRST);
    lab.server.powerOn(DISK_FIRST);
    expect(lab.types()).toEqual(['power on']);
  });
});
