/** An instance's word that it is up, where ACTIVE waits for it: on the virtual clock, over the real service, records and life of a machine. */
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { phoneHomeService } from 'cdk8s-baremetal-runtime/deploy/phone-home/index';
import { ask } from 'cdk8s-baremetal-runtime/machine/index';
import { acceptPhoneHome, newPhoneHomeToken, phoneHomeName } from 'cdk8s-baremetal-runtime/machine/phone-home';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Daemon, type Knobs, type Machine, World } from './world.ts';

const URL_BASE = 'http://10.0.0.1:10000';

async function waiting(knobs: Partial<Knobs> = {}) {
  const world = new World({ knobs: { phonesHome: true, ...knobs }, settings: { phoneHomeUrl: URL_BASE, phoneHomeTimeoutMs: 600_000 } });
  onTestFinished(() => world.close());
  const daemon = world.daemon();
  await world.clock.run(daemon.started);
  const machine = await world.enrol();
  await world.until(machine, 'available');
  await world.spawn(machine);
  const service = phoneHomeService({ acceptPhoneHome: acceptPhoneHome({ store: world.store, clock: world.clock }), logger: silentLogger });
  const report = async (token: string, { from = machine.address, form = `token=${token}&instance=inst-1`, query = '', number = 1 } = {}) =>
    service({
      method: 'POST',
      path: `/v1/phone-home/${number}`,
      query: new URLSearchParams(query),
      headers: {},
      body: Buffer.from(form),
      remote: { address: from, port: 40_000 },
      local: { address: '10.0.0.1', port: 10_000 },
      signal: new AbortController().signal,
    });
  return { world, machine, daemon, report };
}

/** The token, from where alone it can be had: what was written to the disk. */
function tokenOn({ drives }: World): string {
  const content = drives.at(-1)?.files.find(({ path }) => path === 'openstack/latest/vendor_data.json')?.content ?? '{}';
  return (JSON.parse(content) as { phone_home?: { token?: string } }).phone_home?.token ?? 'none';
}

/** A successor begins when its lease has run out. */
function kill(world: World, { gate, reconciler }: Daemon): void {
  const { memberId } = reconciler;
  gate.kill();
  if (memberId !== undefined) world.coordination.crash(memberId);
}

async function untilStep(world: World, machine: Machine, step: string) {
  await world.until(machine, 'deploy complete');
  for (let seconds = 0; (await world.node(machine)).step !== step; seconds++) {
    if (seconds > 600) throw new Error(`it never came to "${step}"`);
    await world.clock.run(new Promise<void>((resolve) => void world.clock.after(1_000, resolve)));
  }
}

describe('where ACTIVE waits for the word of the instance', () => {
  it('is active when it comes, and not before; the token is on the disk, in no record and in no secret store afterwards', async () => {
    const { world, machine, report } = await waiting();
    await untilStep(world, machine, 'wait for its word');
    const token = tokenOn(world);
    world.knownSecrets.add(token); // from now on every record is searched for it
    expect(token).toMatch(/^[0-9a-f]{64}$/);
    expect(JSON.stringify(await world.node(machine))).not.toContain(token);
    expect(await report(token)).toMatchObject({ status: 200 });
    const { reason, deployment, timeline } = await world.until(machine, 'active');
    expect(reason).toBe(`host-inst-1 has reported that it is up, from ${machine.address}`);
    expect(deployment?.phoneHome).toMatchObject({ url: `${URL_BASE}/v1/phone-home/1`, address: machine.address });
    expect(deployment?.phoneHome?.tokenHash).toBeUndefined();
    expect(timeline.some(({ type }) => type === 'the instance phoned home')).toBe(true);
    await expect(world.secrets.read(phoneHomeName(deployment?.id ?? ''))).rejects.toMatchObject({ code: 'SECRET_UNKNOWN' });
    expect(world.logs.join()).not.toContain(token);
    expect(world.violations).toEqual([]);
  });

  it('a cleanup that could not remove every secret at its first try leaves none', async () => {
    const { world, machine } = await waiting();
    await untilStep(world, machine, 'wait for its word');
    const remove = world.secrets.remove.bind(world.secrets);
    let failures = 1;
    world.secrets.remove = async (name) => {
      if (failures-- > 0) throw new Error('the secret store does not answer');
      return remove(name);
    };
    await ask(world, machine.uuid, 'destroy', { approval: { yes: true } });
    await world.until(machine, 'available');
    expect(world.secrets.names()).toEqual([`bmc.${machine.uuid}`]);
  });

  it('gives cloud-init its own module, and a network that it can report by', async () => {
    const { world, machine } = await waiting();
    await world.until(machine, 'deploy complete');
    const files = new Map(world.drives.at(-1)?.files.map(({ path, content }) => [path, content]));
    const vendor = JSON.parse(files.get('openstack/latest/vendor_data.json') ?? '') as { 'cloud-init': string };
    const [first, module = ''] = vendor['cloud-init'].split('\n');
    expect(first).toBe('#cloud-config');
    expect(JSON.parse(module)).toEqual({
      phone_home: {
        url: `${URL_BASE}/v1/phone-home/1?token=${tokenOn(world)}`,
        post: ['instance_id', 'hostname', 'fqdn'],
        tries: 30,
      },
    });
    expect(JSON.parse(files.get('openstack/latest/network_data.json') ?? '').networks).toMatchObject([{ type: 'ipv4_dhcp' }]);
  });

  it('hears it by the query too, as cloud-init sends it', async () => {
    const { world, machine, report } = await waiting();
    await untilStep(world, machine, 'wait for its word');
    expect(await report('', { query: `token=${tokenOn(world)}`, form: 'instance_id=inst-1&hostname=host' })).toMatchObject({ status: 200 });
    await world.until(machine, 'active');
  });

  it('is content with the word alone when nothing was seen of the boot', async () => {
    const { world, machine, report } = await waiting({ bootSeen: false });
    await untilStep(world, machine, 'watch the first boot');
    const before = world.clock.now();
    expect(await report(tokenOn(world))).toMatchObject({ status: 200 });
    await world.until(machine, 'active');
    expect(world.clock.now() - before).toBeLessThan(10_000);
  });

  it('fails at its deadline with what was seen, and cleans up', async () => {
    const { world, machine } = await waiting();
    await untilStep(world, machine, 'wait for its word');
    const { phoneHome, id } = (await world.node(machine)).deployment ?? {};
    const { lastFailure, instance } = await world.until(machine, 'available');
    expect(lastFailure?.reason).toMatch(
      /^the instance has not reported that it is up for 600 s; last observed: TFTP served config at [\d:]+.*; its BMC says on; it was to report to http:\/\/10\.0\.0\.1:10000\/v1\/phone-home\/1$/,
    );
    expect(lastFailure?.at).toBeGreaterThanOrEqual(phoneHome?.untilAt ?? Number.POSITIVE_INFINITY);
    expect(instance).toBeUndefined();
    await expect(world.secrets.read(phoneHomeName(id ?? ''))).rejects.toMatchObject({ code: 'SECRET_UNKNOWN' });
    expect(world.violations).toEqual([]);
  });

  it.each<[string, string]>([
    ['while it waits', 'wait for its word'],
    ['while it looks out for the first boot', 'watch the first boot'],
  ])('survives a restart of bms-core %s', async (_, step) => {
    const { world, machine, daemon, report } = await waiting({ bootSeen: step === 'wait for its word' });
    await untilStep(world, machine, step);
    kill(world, daemon);
    const token = tokenOn(world);
    expect(await report(token)).toMatchObject({ status: 200 }); // to another replica
    const second = world.daemon('mgmt-2');
    await world.clock.run(second.started);
    await world.until(machine, 'active');
    expect(world.violations).toEqual([]);
  });

  it('writes the same token when the writing is resumed by a successor', async () => {
    const { world, machine, daemon } = await waiting({ chunks: 20 });
    await world.until(machine, 'deploying');
    await world.clock.run(new Promise<void>((resolve) => void world.clock.after(5_000, resolve)));
    const first = tokenOn(world);
    kill(world, daemon);
    await world.clock.run(world.daemon('mgmt-2').started);
    await world.until(machine, 'deploy complete');
    expect(world.drives.length).toBeGreaterThan(1);
    expect(tokenOn(world)).toBe(first);
  });
});

describe('what is refused', () => {
  it('a second use, and the machine stays as it is', async () => {
    const { world, machine, report } = await waiting();
    await untilStep(world, machine, 'wait for its word');
    const token = tokenOn(world);
    expect((await Promise.all([report(token), report(token)])).map(({ status }) => status).sort()).toEqual([200, 410]);
    await world.until(machine, 'active');
    expect(await report(token)).toMatchObject({ status: 410 });
    expect((await world.node(machine)).state).toBe('active');
  });

  it('a wrong token, with the same words as for a machine that does not exist, and without a trace on the record', async () => {
    const { world, machine, report } = await waiting();
    await untilStep(world, machine, 'wait for its word');
    const before = (await world.node(machine)).timeline;
    const wrong = newPhoneHomeToken(world.random).reveal();
    expect(await report(wrong)).toMatchObject({ status: 403, body: 'the token is not valid' });
    expect(await report(wrong, { number: 99 })).toMatchObject({ status: 403, body: 'the token is not valid' });
    expect((await world.node(machine)).timeline).toEqual(before);
  });

  it('another address: the token stays good for the right one', async () => {
    const { world, machine, report } = await waiting();
    await untilStep(world, machine, 'wait for its word');
    const token = tokenOn(world);
    expect(await report(token, { from: '10.0.0.99' })).toMatchObject({
      status: 403,
      body: `the request comes from 10.0.0.99; the instance is at ${machine.address}`,
    });
    expect((await world.node(machine)).state).toBe('deploy complete');
    expect(await report(token, { from: `::ffff:${machine.address}` })).toMatchObject({ status: 200 });
    await world.until(machine, 'active');
  });

  it('before its image is complete', async () => {
    const { world, machine, report } = await waiting({ chunks: 50 });
    await world.until(machine, 'deploying');
    await world.clock.run(new Promise<void>((resolve) => void world.clock.after(5_000, resolve)));
    expect(await report(tokenOn(world))).toMatchObject({ status: 409, body: 'nobody waits for it: the machine is deploying' });
  });

  it('whatever else is sent', async () => {
    const { world, machine, report } = await waiting();
    await untilStep(world, machine, 'wait for its word');
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.string(), async (form, query) => {
        expect((await report('', { form, query })).status).toBe(403);
      }),
    );
    expect(await report('', { form: 'x'.repeat(20_000) })).toMatchObject({ status: 413 });
    expect((await world.node(machine)).state).toBe('deploy complete');
  });
});

it('without the option nobody is asked to report, and nobody is waited for', async () => {
  const { world, machine } = await waiting({ phonesHome: false });
  const { deployment } = await world.until(machine, 'active');
  expect(deployment?.phoneHome).toBeUndefined();
  expect(world.drives).toEqual([undefined]);
});
