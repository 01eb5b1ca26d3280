/** The Redfish driver against the simulated service: what it does, what it refuses, and whom it trusts. */
import { X509Certificate } from 'node:crypto';
import { type HttpTls, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { IpmiGateway, PowerDrivers, powerOff, powerOn, type RedfishPower, Secret } from 'cdk8s-baremetal-runtime/power/index';
import { SimulatedRedfish } from 'cdk8s-baremetal-simulator/redfish/index';
import { describe, expect, it, vi } from 'vitest';
import { TestChassis } from '../support.ts';
import { REDFISH_USERS, redfishLab, selfSigned } from './support.ts';

describe('power', () => {
  it.each([
    ['as it is', {}],
    ['with basic authentication', { basicOnly: true }],
    ['with types in an ActionInfo', { actionInfo: true }],
    ['by tasks', { taskMs: 5_000 }],
  ])('002-2: on, off, soft off and reset %s', async (_name, faults) => {
    const { clock, chassis, service, open } = redfishLab({ faults });
    const power = open();
    const cycle = { clock, logger: silentLogger };
    expect(await clock.until(power.status())).toBe('off');
    expect(await clock.until(powerOn(power, cycle))).toMatchObject({ state: 'active' });
    await clock.until(power.on()); // on when on is success
    await clock.until((power as RedfishPower).reset('reset'));
    await clock.until(power.softOff());
    expect(await clock.until(powerOff(power, cycle))).toMatchObject({ state: 'deleted' });
    expect(chassis.events).toEqual(['on none', 'reset none', 'off']);
    expect(service.sessions).toBe('basicOnly' in faults ? 0 : 1);
    await clock.until(power.close());
    expect(service.sessions).toBe(0);
  });

  it('002-2: accepts and stays off: the effect counts', async () => {
    const { clock, open } = redfishLab({ faults: { stuck: true } });
    const outcome = await clock.until(powerOn(open(), { clock, logger: silentLogger, ipmiPowerRetry: 2 }));
    expect(outcome).toMatchObject({ state: 'error' });
  });

  it.each([
    ['PoweringOn', true, powerOff, { state: 'deleted' }, ['off']],
    ['PoweringOff', false, powerOn, { state: 'active' }, ['on none']],
  ] as const)(
    '002-2: a machine that is %s is neither on nor off: nobody takes where it comes from for its end',
    async (changing, powered, verb, outcome, events) => {
      const { clock, chassis, service, open } = redfishLab();
      chassis.powered = powered;
      const { handler } = service;
      let looks = 0;
      const slow: typeof handler = async (request) => {
        const answer = await handler(request);
        if (typeof answer.body !== 'string' || !answer.body.includes('"PowerState"') || ++looks > 1) return answer;
        return { ...answer, body: answer.body.replace(/"PowerState": *"\w+"/, `"PowerState":"${changing}"`) };
      };
      Object.assign(service, { handler: slow });
      const warn = vi.fn();
      expect(await clock.until(verb(open(), { clock, logger: { ...silentLogger, warn } }))).toMatchObject(outcome);
      expect(warn).not.toHaveBeenCalled(); // bmctl looks four times a second
      expect(chassis.events).toEqual(events);
    },
  );

  it('002-2: a task that fails says why; a type that is not offered is not sent', async () => {
    const failing = redfishLab({ faults: { taskMs: 1_000, taskFails: true } });
    await expect(failing.clock.until(failing.open().on())).rejects.toMatchObject({
      code: 'REDFISH_TASK',
      message: expect.stringContaining('power sequencer'),
    });
    const poor = redfishLab({ resetTypes: ['PushPowerButton', 'ForceOn'] });
    await poor.clock.until(poor.open().on());
    expect(poor.chassis.powered).toBe(true); // by ForceOn
    expect(await poor.codeOf(poor.open().off())).toBe('REDFISH_NOT_OFFERED');
    expect(poor.service.requests.filter((one) => one.startsWith('POST') && one.includes('Reset'))).toHaveLength(1);
  });
});

describe('boot device', () => {
  it('002-2: once and from now on, UEFI and legacy, against the version that was read, and read back', async () => {
    const { clock, service, open } = redfishLab();
    const power = open();
    await clock.until(power.setBootDevice('pxe', { persistent: true, efi: true }));
    expect(service.boot).toEqual({ enabled: 'Continuous', target: 'Pxe', mode: 'UEFI' });
    await clock.until(power.setBootDevice('disk', { persistent: false, efi: false }));
    expect(service.boot).toEqual({ enabled: 'Once', target: 'Hdd', mode: 'Legacy' });
    service.faults.changesMeanwhile = 1; // 412 once: read and written again
    await clock.until(power.setBootDevice('bios', { persistent: false }));
    expect(service.boot).toMatchObject({ target: 'BiosSetup', mode: 'Legacy' });
    await clock.until(power.setBootDevice('none', { persistent: false }));
    expect(service.boot).toMatchObject({ enabled: 'Disabled' });
  });

  it('002-2: kept otherwise, or always changing: said', async () => {
    const { service, open, codeOf } = redfishLab({ faults: { forgetsBoot: true } });
    expect(await codeOf(open().setBootDevice('pxe', { persistent: false }))).toBe('REDFISH_BOOT_NOT_KEPT');
    service.faults.changesMeanwhile = 9;
    expect(await codeOf(open().setBootDevice('pxe', { persistent: false }))).toBe('REDFISH_REFUSED');
  });
});

describe('manners', () => {
  it.each([[false], [true]])('002-2: one refused password stops all, here and on other replicas (basic only: %s)', async (basicOnly) => {
    const { service, open, codeOf, replica, clock, gateway } = redfishLab({ faults: { basicOnly } });
    const codes = await Promise.all([codeOf(open('stale').status()), codeOf(open('stale').status())]);
    expect(codes.sort()).toEqual(['IPMI_AUTH_HELD', 'REDFISH_WRONG_PASSWORD']);
    const other = replica();
    expect(await codeOf(open('stale', undefined, undefined, other.drivers).on())).toBe('IPMI_AUTH_HELD');
    expect(service.logIns.bad).toBe(1);
    expect(await clock.until(open().status())).toBe('off'); // other credentials lift it
    await clock.until(gateway.retry('10.0.0.40:443'));
    expect(await codeOf(open('stale').status())).toBe('REDFISH_WRONG_PASSWORD');
    expect(service.logIns.bad).toBe(2);
  });

  it('002-2: one machine whose task takes a minute does not keep the others of its service waiting, nor does a token that runs out meanwhile end it', async () => {
    const { clock, service, chassis, open } = redfishLab({ faults: { taskMs: 60_000 } });
    const switching = open().on();
    await clock.advance(2_000);
    const beganMs = clock.monotonic();
    expect(await clock.until(open().status())).toBe('off');
    expect(clock.monotonic() - beganMs).toBeLessThan(1_000);
    service.endSessions();
    await clock.until(switching);
    expect(chassis.powered).toBe(true);
  });

  it('002-2: a person ends the rest of a silent service', async () => {
    const { clock, state, open, codeOf, gateway } = redfishLab();
    const power = open();
    state.dead = true;
    for (let i = 0; i < 3; i++) expect(await codeOf(power.status())).toBe('REDFISH_NO_ANSWER');
    state.dead = false;
    expect(await codeOf(power.status())).toBe('IPMI_BMC_RESTING');
    for (let i = 0; i < 4; i++) {
      // each rest is longer than the one before
      state.dead = true;
      await clock.advance(60_000);
      await codeOf(power.status());
    }
    state.dead = false;
    expect(await codeOf(power.status())).toBe('IPMI_BMC_RESTING');
    await clock.until(gateway.retry('10.0.0.40:443'));
    await clock.advance(5_100);
    expect(await clock.until(power.status())).toBe('off');
  });

  it('002-2: a token that ran out is replaced; many managers share one session', async () => {
    const { clock, service, open } = redfishLab();
    const powers = Array.from({ length: 5 }, () => open());
    await clock.until(Promise.all(powers.map((power) => power.status())));
    expect([service.sessions, service.logIns.good]).toEqual([1, 1]);
    service.endSessions();
    expect(await clock.until(open().status())).toBe('off');
    expect(service.logIns.good).toBe(2);
  });

  it('002-2: a user who may look may not switch; a silent service rests; a redirect elsewhere is not followed', async () => {
    const { service, state, open, codeOf } = redfishLab();
    expect(await codeOf(open('look', undefined, 'viewer').on())).toBe('REDFISH_PRIVILEGE');
    service.faults.redirect = 'https://192.0.2.66/redfish/v1/Systems/1';
    expect(await codeOf(open().status())).toBe('REDFISH_BAD_ANSWER');
    service.faults.redirect = undefined;
    state.dead = true;
    const power = open();
    for (let i = 0; i < 3; i++) expect(await codeOf(power.status())).toBe('REDFISH_NO_ANSWER');
    expect(await codeOf(power.status())).toBe('IPMI_BMC_RESTING');
  });

  it.each([
    ['https://10.0.0.40/redfish/v1/Systems/1/Actions/ComputerSystem.Reset', '10.0.0.40'],
    ['@192.0.2.66/redfish/v1/Systems/1/Actions/ComputerSystem.Reset', '10.0.0.40'],
    ['//192.0.2.66/redfish/v1/Systems/1/Actions/ComputerSystem.Reset', '10.0.0.40'],
  ])('002-2: of an action at %s only the path counts: the token goes to the service', async (target) => {
    const { service, chassis, open, codeOf } = redfishLab();
    const hosts = new Set<string>();
    const { handler } = service;
    const leading: typeof handler = async (request) => {
      hosts.add(request.local.address);
      const answer = await handler(request);
      const own = '/redfish/v1/Systems/1/Actions/ComputerSystem.Reset';
      return { ...answer, body: typeof answer.body === 'string' ? answer.body.replace(`"${own}"`, `"${target}"`) : answer.body };
    };
    const power = open();
    Object.assign(service, { handler: leading });
    await codeOf(power.on());
    expect([...hosts]).toEqual(['10.0.0.40']);
    if (!target.startsWith('@')) expect(chassis.powered).toBe(true);
  });

  it('002-2: a service that says 401 where it means 403 is not filled with sessions', async () => {
    const { service, open, codeOf } = redfishLab();
    const { handler } = service;
    const power = open();
    await codeOf(power.status());
    const strict: typeof handler = async (request) =>
      request.method === 'POST' && request.path.includes('Reset') ? { status: 401 } : handler(request);
    Object.assign(service, { handler: strict });
    for (let i = 0; i < 4; i++) expect(await codeOf(power.on())).toBe('REDFISH_PRIVILEGE');
    expect(service.sessions).toBe(1);
  });

  it.each([[{ oldSensors: false }], [{ oldSensors: true }]])('002-2: sensors (%o)', async (faults) => {
    const { clock, drivers } = redfishLab({ faults });
    const target = { driver: 'redfish' as const, address: '10.0.0.40', port: 443 };
    const sensors = await clock.until(drivers.redfishSensors(target, { username: 'admin', password: new Secret('correct-horse') }));
    expect(sensors).toMatchObject([
      { name: 'Inlet Temp', type: 'temperature', value: 21.5, unit: 'Cel', health: 'OK' },
      { name: 'Fan 1', type: 'rotational', value: 0, unit: 'RPM' },
    ]);
  });
});

const tls = selfSigned();

describe.skipIf(tls === undefined)('certificates, over real TLS', () => {
  it('002-2: unknown: nothing is sent, and the fingerprint is told; pinned or signed by a named authority: trusted', async () => {
    if (!tls) throw new Error('skipped without it');
    const deps = { clock: nodeClock, random: nodeRandom, network: nodeNetwork, logger: silentLogger };
    const service = new SimulatedRedfish({ ...deps, users: REDFISH_USERS, chassis: new TestChassis() });
    const server = await service.serve(nodeNetwork, { address: '127.0.0.1', port: 0, tls });
    const gateway = new IpmiGateway(deps);
    const url = `redfish://127.0.0.1:${server.local.port}`;
    const credentials = { username: 'admin', password: new Secret('correct-horse') };
    const fingerprint = new X509Certificate(tls.cert).fingerprint256;
    const status = (suffix: string, redfishCa?: string) =>
      new PowerDrivers({ ...deps, gateway, redfishCa }).open(url + suffix, credentials).status();
    await expect(status('')).rejects.toMatchObject({
      code: 'REDFISH_CERTIFICATE',
      message: expect.stringContaining(fingerprint.replaceAll(':', '').toLowerCase()),
    });
    await expect(status(`?sha256=${'0'.repeat(64)}`, tls.cert)).rejects.toMatchObject({ code: 'REDFISH_CERTIFICATE' });
    expect(service.requests).toEqual([]);
    expect(await status(`?sha256=${fingerprint}`)).toBe('off');
    expect(await status('', tls.cert)).toBe('off');
    await gateway.close();
    await server.close(10);
  });

  it('002-2: looks share a connection, which is judged once; one that the service closed is opened anew, and then its certificate counts', async () => {
    const other = selfSigned();
    if (!tls || !other) throw new Error('skipped without it');
    const deps = { clock: nodeClock, random: nodeRandom, network: nodeNetwork, logger: silentLogger };
    const service = new SimulatedRedfish({ ...deps, users: REDFISH_USERS, chassis: new TestChassis() });
    let { server, ports } = await counted(service, tls, 0);
    const { port } = server.local;
    const gateway = new IpmiGateway(deps);
    const url = `redfish://127.0.0.1:${port}?sha256=${new X509Certificate(tls.cert).fingerprint256}`;
    const drivers = new PowerDrivers({ ...deps, gateway });
    const power = drivers.open(url, { username: 'admin', password: new Secret('correct-horse') });
    for (let looks = 0; looks < 10; looks++) expect(await power.status()).toBe('off');
    expect(ports.size).toBeLessThanOrEqual(2); // the log-in changes something: it has one of its own

    await server.close(0);
    ({ server, ports } = await counted(service, tls, port));
    expect(await power.status()).toBe('off');
    expect(ports.size).toBe(1);

    await server.close(0);
    ({ server, ports } = await counted(service, other, port));
    await expect(power.status()).rejects.toMatchObject({ code: 'REDFISH_CERTIFICATE' });
    expect(ports.size).toBe(0);
    await gateway.close();
    await server.close(0);
  });
});

/** The service, and the ports that its clients asked from: one for each connection. */
async function counted(service: SimulatedRedfish, certificate: HttpTls, port: number) {
  const ports = new Set<number>();
  const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port, tls: certificate }, (request) => {
    ports.add(request.remote.port);
    return service.handler(request);
  });
  return { server, ports };
}
