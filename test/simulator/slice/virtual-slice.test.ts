/** The first machine on a virtual clock: bms-core as it is, on real port numbers, against machines whose wires can be cut, delayed and doubled. */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { type NodeRecord, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { SqliteStore } from 'cdk8s-baremetal-runtime/store/index';
import { seededRandom } from 'cdk8s-baremetal-simulator';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { hasFailed, packetLine, type VirtualMachine, VirtualSite, type VirtualSiteOptions } from './virtual-site.ts';

/** A whole deployment costs as much as some 50 runs of a codec, for which FUZZ_RUNS is meant. */
const HISTORIES = Math.max(12, Math.ceil(Number(process.env.FUZZ_RUNS ?? 0) / 50));
const KIB = 1024;
const folder = temporaryFolder();
let sites: VirtualSite[] = [];

beforeEach(() => {
  folder.create();
  sites = [];
});
afterEach(async () => {
  for (const site of sites) await site.close();
  folder.remove();
});

let folders = 0;
async function newSite(options: Omit<VirtualSiteOptions, 'folder'> = {}): Promise<VirtualSite> {
  const site = await VirtualSite.create({ folder: folder.path(`site-${++folders}`), ...options });
  sites.push(site);
  return site;
}

function only(site: VirtualSite): VirtualMachine {
  const [machine] = site.machines;
  if (!machine) throw new Error('the site has no machine');
  return machine;
}

/** Deploys the first machine; gives its record when its life has come to rest. */
async function deploy(site: VirtualSite): Promise<NodeRecord> {
  await site.spawn(only(site));
  return site.settled(only(site));
}

const history = ({ history: steps }: NodeRecord) => steps.map(({ from, to, reason, at }) => `${at} ${from} > ${to}: ${reason}`);
const seen = ({ timeline }: NodeRecord) => timeline.map(({ at, type, detail, count }) => `${at} ${type} ${detail} ${count}`);

describe('the first machine on a virtual clock', () => {
  it('goes from power-off to ACTIVE with the image on its disk', async () => {
    const site = await newSite();
    const node = await deploy(site);
    expect(node.history.map(({ to }) => to).slice(-6)).toEqual([
      'available',
      'building',
      'prepared',
      'deploying',
      'deploy complete',
      'active',
    ]);
    expect(site.holdsImage(only(site))).toBe(true);
    expect(only(site).server.activity).toBe('running from disk');
    expect(node.installed?.sha256).toBe(site.image.sha256);
    expect(node.installed?.disk?.serial).toBe('SIM-1');
    // one restart from the ramdisk, and no other
    expect(only(site).events.filter(({ type }) => type === 'power on')).toHaveLength(2);
    expect(site.secrets.names().filter((name) => name.startsWith('deploy-key'))).toEqual([]);
  });

  it('spends its time on the self-tests and one look at the power, on nothing else', async () => {
    const site = await newSite({ selfTestMs: 60_000 });
    const began = site.clock.monotonic();
    await deploy(site);
    const elapsedMs = site.clock.monotonic() - began;
    // two self-tests of a minute; everything else that the protocols wait for is below a second at 0.1 ms per packet
    expect(elapsedMs).toBeGreaterThan(120_000);
    expect(elapsedMs).toBeLessThan(121_000);
  });

  it('has one history for one seed, packet by packet, and another for another', async () => {
    const histories = new Map<string, { packets: string[]; node: NodeRecord; events: readonly unknown[] }>();
    for (const [run, seed] of [
      ['first', 7],
      ['again', 7],
      ['other', 8],
    ] as const) {
      const packets: string[] = [];
      const site = await newSite({ seed, trace: (event) => packets.push(packetLine(event)) });
      site.degrade({ lossRatio: 0.01, jitterMs: 3, duplicateRatio: 0.01, reorderRatio: 0.02 });
      const node = await deploy(site);
      histories.set(run, { packets, node, events: only(site).events });
    }
    const [first, again, other] = ['first', 'again', 'other'].map((run) => histories.get(run));
    if (!first || !again || !other) throw new Error('a run is missing');
    expect(first.packets.length).toBeGreaterThan(1000);
    expect(again.packets).toEqual(first.packets);
    expect(history(again.node)).toEqual(history(first.node));
    expect(seen(again.node)).toEqual(seen(first.node));
    expect(again.events).toEqual(first.events);
    expect(other.packets).not.toEqual(first.packets);
  });

  it('deploys fifty machines at once, each with its own disk', async () => {
    const site = await newSite({ machines: 50, imageBytes: 512 * KIB });
    for (const machine of site.machines) await site.spawn(machine);
    for (const machine of site.machines) expect((await site.settled(machine)).state).toBe('active');
    expect(site.machines.filter((machine) => site.holdsImage(machine))).toHaveLength(50);
    const leases = await site.clock.run(Promise.all(site.machines.map((machine) => site.node(machine))));
    expect(new Set(leases.map(({ lease }) => lease?.address)).size).toBe(50);
  });

  it.each(Array.from({ length: HISTORIES }, (_, index) => index))(
    'ends ACTIVE with the right disk, or says why not: bad wire %i',
    async (seed) => {
      const faults = seededRandom(`wire ${seed}`);
      const wire = {
        lossRatio: faults.fraction() * 0.08,
        duplicateRatio: faults.fraction() * 0.1,
        reorderRatio: faults.fraction() * 0.1,
        reorderMs: faults.fraction() * 50,
        jitterMs: faults.fraction() * 10,
        latencyMs: 0.1 + faults.fraction() * 5,
      };
      const site = await newSite({ seed, imageBytes: 256 * KIB });
      site.degrade(wire);
      const node = await deploy(site);
      if (node.state === 'active') expect(site.holdsImage(only(site)), JSON.stringify(wire)).toBe(true);
      else {
        expect(node.lastFailure?.reason, JSON.stringify(wire)).toMatch(/\S/);
        expect(only(site).server.powered).toBe(false);
      }
      expect(node.installed === undefined || site.holdsImage(only(site))).toBe(true);
    },
  );

  it('survives a loss of one packet in twenty on the provisioning network', async () => {
    const site = await newSite({ seed: 3 });
    site.degrade({ lossRatio: 0.05 });
    expect((await deploy(site)).state).toBe('active');
    expect(site.holdsImage(only(site))).toBe(true);
  });
});

describe('a management node that restarts', () => {
  /** Milliseconds of the undisturbed deployment at 2 MiB: DHCP at 20,000, TFTP to 20,010, POST at 20,011, writing to 20,020, second boot at 40,022. */
  const MOMENTS = [
    0, 500, 1_500, 19_990, 20_000.3, 20_002, 20_004.5, 20_009, 20_010.9, 20_011.4, 20_014, 20_019, 20_021.8, 30_000, 40_022.5, 40_024.2,
  ];

  it.each(MOMENTS)('at %d ms: the deployment goes on and ends ACTIVE, without a second try of the firmware', async (atMs) => {
    const site = await newSite({ bootRetryMs: 'never' });
    await site.spawn(only(site));
    await site.clock.runFor(atMs);
    await site.stopCore();
    await site.startCore();
    const node = await site.settled(only(site));
    expect(node.lastFailure).toBeUndefined();
    expect(node.state).toBe('active');
    expect(site.holdsImage(only(site))).toBe(true);
  });

  it.each([1_500, 20_004.5, 20_014, 30_000])('at %d ms, and is away for two minutes', async (atMs) => {
    const site = await newSite();
    await site.spawn(only(site));
    await site.clock.runFor(atMs);
    await site.stopCore();
    await site.clock.runFor(120_000);
    await site.startCore();
    const node = await site.settled(only(site));
    expect(node.lastFailure).toBeUndefined();
    expect(node.state).toBe('active');
    expect(site.holdsImage(only(site))).toBe(true);
  });

  it('goes on from the database file', async () => {
    const site = await newSite({ openStore: (clock) => new SqliteStore({ path: folder.path('bms.db'), clock }) });
    await site.spawn(only(site));
    await site.clock.runFor(20_014);
    await site.stopCore();
    await site.startCore();
    expect((await site.settled(only(site))).state).toBe('active');
    expect(site.holdsImage(only(site))).toBe(true);
    await site.stopCore();
    await site.store.close();
  });
});

describe('a machine that is not what it seems', () => {
  it('loses its power during the write: the deployment fails with a reason, and the next one succeeds', async () => {
    const site = await newSite({ settings: { writeTimeoutMs: 120_000 } });
    const machine = only(site);
    await site.spawn(machine);
    await site.until(machine, ({ state, deployment }) => state === 'deploying' && deployment?.disk !== undefined);
    machine.server.powerOff();
    const node = await site.settled(machine);
    expect(hasFailed(node)).toBe(true);
    expect(node.lastFailure?.state).toBe('deploying');
    expect(node.lastFailure?.reason).toMatch(/\S/);
    expect(machine.server.powered).toBe(false);
    await site.until(machine, ({ state }) => state === 'available');
    await site.spawn(machine);
    expect((await site.until(machine, ({ state }) => state === 'active' || state === 'error')).state).toBe('active');
    expect(site.holdsImage(machine)).toBe(true);
  });

  it('refuses a POST that comes late, from a rival that read the key on the wire', async () => {
    const site = await newSite();
    const machine = only(site);
    const rival = site.network.host({ name: 'rival', segment: 'vlan1800', addresses: ['192.168.50.60/24'] });
    let form: string | undefined;
    site.network.filter = ({ protocol, target, data }) => {
      const text = Buffer.from(data).toString('latin1');
      if (protocol === 'tcp' && target.port === 10_000 && text.includes('&k=')) form ??= text.slice(text.indexOf('\r\n\r\n') + 4);
      return true;
    };
    const post = async (body: string) => {
      const answer = await site.clock.run(rival.request({ method: 'POST', url: 'http://192.168.50.20:10000/', body }));
      return { status: answer.status, text: Buffer.from(answer.body).toString() };
    };
    await site.spawn(machine);
    await site.until(machine, ({ deployment }) => deployment?.claim !== undefined);
    if (form === undefined) throw new Error('no POST was seen');
    expect(await post(form)).toMatchObject({ status: 409 });
    const node = await site.settled(machine);
    expect(node.state).toBe('active');
    const claimed = await post(form.replace(/a=[^&]*/, 'a=192.168.50.60'));
    expect(claimed.status).toBe(409);
    expect(claimed.text).not.toContain(new URLSearchParams(form).get('k'));
    expect((await site.clock.run(site.node(machine))).state).toBe('active');
    expect(site.holdsImage(machine)).toBe(true);
  });

  it('never boots: the reason names what was awaited', async () => {
    const site = await newSite({ settings: { pxeDeployTimeoutMs: 600_000 } });
    site.network.filter = ({ target }) => target.port !== 67;
    const node = await deploy(site);
    expect(node.lastFailure?.reason).toContain('POST from the deploy ramdisk');
    expect(only(site).server.powered).toBe(false);
  });

  it('gets no image whose file has changed since it was registered', async () => {
    const site = await newSite();
    overwrite(site.image.path, 4096, 'not what was registered');
    const node = await deploy(site);
    expect(node.lastFailure?.reason).toContain('SHA-256');
    expect(only(site).events).toEqual([]); // not even powered on
  });

  it('never becomes ACTIVE with an image that changes while it is written', async () => {
    const site = await newSite();
    const machine = only(site);
    await site.spawn(machine);
    await site.until(machine, ({ state }) => state === 'deploying');
    overwrite(site.image.path, site.image.bytes - 4096, 'changed in the middle of it');
    const node = await site.settled(machine);
    expect(node.state).not.toBe('active');
    expect(node.lastFailure?.reason).toContain('SHA-256');
  });

  it('has its record read by nobody with a secret in it', async () => {
    const site = await newSite();
    const records: string[] = [];
    site.store.watch(nodeKind, (event) => event.type === 'put' && records.push(JSON.stringify(event.record.value)));
    const keys = new Set<string>();
    site.network.filter = ({ data }) => {
      const [, key] = /deployment_key=([A-Z2-7]+)/.exec(Buffer.from(data).toString('latin1')) ?? [];
      if (key) keys.add(key);
      return true;
    };
    await deploy(site);
    expect(keys.size).toBe(1);
    for (const key of keys) expect(records.filter((record) => record.includes(key))).toEqual([]);
  });
});

function overwrite(path: string, offset: number, text: string): void {
  const file = openSync(path, 'r+');
  expect(fstatSync(file).size).toBeGreaterThan(offset);
  writeSync(file, text, offset);
  closeSync(file);
}
