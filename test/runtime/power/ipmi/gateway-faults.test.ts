/** Ways by which a gateway could do harm or stop for ever. */
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { IpmiPower, PowerDrivers, Secret } from 'cdk8s-baremetal-runtime/power/index';
import { chassisControl, checkAccess, getBootOption, MemoryStopKeeper } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { describe, expect, it, vi } from 'vitest';
import { failure, makeLab, seededRandom, TestChassis } from '../support.ts';

describe('what must not happen', () => {
  it('002-2: who gives up in the middle of setting the boot device does not leave the boot options claimed', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    const caller = new AbortController();
    const set = failure(lab, power.setBootDevice('pxe', { persistent: false }, caller.signal));
    while (lab.bmc.count(0, 8) === 0) await lab.clock.advance(0.1); // the claim
    caller.abort(new Error('the daemon is closing'));
    expect(await set).toContain('the daemon is closing');
    await lab.clock.advance(100);
    const claim = await lab.clock.until(lab.gateway.run(lab.access(), getBootOption(0)));
    expect(claim[0]).toBe(0);
    await lab.close();
  });

  it.each(['reset', 'diagnosticInterrupt'] as const)(
    '002-2: %s, which does more the second time, is not sent twice to a slow BMC',
    async (action) => {
      const diagnosticInterrupt = vi.fn();
      const chassis = Object.assign(new TestChassis(), { diagnosticInterrupt });
      const lab = await makeLab({ bmc: { chassis } });
      await lab.clock.until(new IpmiPower(lab.gateway, lab.access()).on());
      lab.bmc.faults.replyDelayMs = 3_000;
      await lab.clock.until(lab.gateway.run(lab.access(), chassisControl(action)));
      expect(chassis.events.filter((event) => event.startsWith('reset')).length + diagnosticInterrupt.mock.calls.length).toBe(1);
      await lab.close();
    },
  );

  it('002-2: one whose answer to a reset is lost is not reset again in another session', async () => {
    const lab = await makeLab();
    await lab.clock.until(new IpmiPower(lab.gateway, lab.access()).on());
    lab.bmc.faults.dropReplies = 1;
    expect(await failure(lab, lab.gateway.run(lab.access(), chassisControl('reset')))).toBe('IPMI_NO_ANSWER');
    expect(lab.chassis.events.filter((event) => event.startsWith('reset'))).toHaveLength(1);
    await lab.close();
  });

  it('002-2: a keep-alive that is due while a command hangs does not keep the processor busy', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    await lab.clock.advance(29_000);
    lab.bmc.faults.dead = true;
    const hanging = failure(lab, power.status());
    const set = vi.spyOn(lab.clock, 'after');
    await lab.clock.advance(6_000);
    expect(set.mock.calls.length).toBeLessThan(20);
    lab.bmc.faults.dead = false;
    await hanging;
    await lab.close();
  });

  it('a BMC that nobody asks any more, since its machine or its address is gone, is not shown and counted for ever', async () => {
    const lab = await makeLab({ gateway: { schedule: () => [1] } });
    for (let i = 0; i < 3; i++) await failure(lab, new IpmiPower(lab.gateway, lab.access({ address: '10.1.0.9' })).status());
    await lab.clock.advance(23 * 3_600_000);
    expect(await lab.clock.until(new IpmiPower(lab.gateway, lab.access()).status())).toBe('off');
    expect(lab.gateway.statuses().map(({ state }) => state)).toEqual(['resting', 'answering']);
    await lab.clock.advance(2 * 3_600_000);
    expect(lab.gateway.statuses().map(({ bmc }) => bmc)).toEqual(['10.0.0.20:623']);
    await lab.close();
  });

  it('002-2: "try again" for one BMC does not lift the stop of another behind the same address, as with forwarded ports', async () => {
    const lab = await makeLab();
    const stale = new IpmiPower(lab.gateway, lab.access({ password: 'stale' }));
    expect(await failure(lab, stale.status())).toBe('IPMI_WRONG_PASSWORD');
    await lab.clock.until(lab.gateway.retry('10.0.0.20:6230')); // no line to it here: another replica has its machine
    expect(await failure(lab, stale.status())).toBe('IPMI_AUTH_HELD');
    await lab.clock.until(lab.gateway.retry('10.0.0.20:623'));
    expect(await failure(lab, stale.status())).toBe('IPMI_WRONG_PASSWORD');
    await lab.close();
  });

  it('002-2: a probe that a stop holds back leaves the breaker free for the next', async () => {
    const stops = new MemoryStopKeeper();
    const lab = await makeLab({ gateway: { schedule: () => [100], stops } });
    const stale = new IpmiPower(lab.gateway, lab.access({ password: 'stale' }));
    expect(await failure(lab, stale.status())).toBe('IPMI_WRONG_PASSWORD');
    lab.bmc.faults.dead = true;
    const right = new IpmiPower(lab.gateway, lab.access());
    for (let i = 0; i < 3; i++) expect(await failure(lab, right.status())).toBe('IPMI_NO_ANSWER');
    lab.bmc.faults.dead = false;
    await lab.clock.advance(6_100);
    expect(await failure(lab, stale.status())).toBe('IPMI_AUTH_HELD'); // was the probe, and sent nothing
    expect(await lab.clock.until(right.status())).toBe('off');
    await lab.close();
  });

  it('002-2: a socket that cannot be opened says nothing of the BMC', async () => {
    const lab = await makeLab();
    const open = lab.network.udp.bind(lab.network);
    lab.network.udp = () => Promise.reject(Object.assign(new Error('too many open files'), { code: 'EMFILE' }));
    const power = new IpmiPower(lab.gateway, lab.access());
    expect(await failure(lab, power.status())).toBe('EMFILE');
    expect(lab.gateway.statuses()).toMatchObject([{ answeredAtMs: undefined }]);
    lab.network.udp = open;
    expect(await lab.clock.until(power.status())).toBe('off');
    await lab.close();
  });

  it('002-2: a console beside the kept session does not send a wrong password a second time', async () => {
    const lab = await makeLab();
    const access = lab.access({ password: 'stale' });
    const codes = await Promise.all([
      failure(lab, new IpmiPower(lab.gateway, access).status()),
      failure(lab, lab.gateway.session(access)),
      failure(lab, lab.gateway.session(access)),
    ]);
    expect(codes.sort()).toEqual(['IPMI_AUTH_HELD', 'IPMI_AUTH_HELD', 'IPMI_WRONG_PASSWORD']);
    await lab.close();
  });

  it("a console's session counts no longer when it has ended", async () => {
    const lab = await makeLab();
    const session = await lab.clock.until(lab.gateway.session(lab.access()));
    expect(lab.gateway.stats().sessions).toBe(1);
    await lab.clock.until(session.close());
    expect(lab.gateway.stats().sessions).toBe(0);
    await lab.close();
  });

  it('002-2: an address has one spelling, so that a stop holds for all of them', () => {
    const of = (address: string) => checkAccess({ ...{ username: 'u', password: USELESS }, address }).bmc;
    expect(of('FD00:0:0::20')).toBe(of('fd00::20'));
    expect(of('fe80::0:1%eth0')).toBe('[fe80::1%eth0]:623');
    expect(() => of('010.0.0.1')).toThrow(expect.objectContaining({ code: 'POWER_ACCESS_INVALID' }));
    expect(() => of('01.0.0.1')).toThrow(expect.objectContaining({ code: 'POWER_ACCESS_INVALID' }));
  });

  it('BMCs that nobody asked for a day are forgotten', async () => {
    const lab = await makeLab({ gateway: { schedule: () => [1] } });
    const ask = (n: number) => failure(lab, new IpmiPower(lab.gateway, lab.access({ address: `10.1.${n >> 8}.${n & 255}` })).status());
    for (let n = 0; n < 1024; n++) await ask(n);
    expect(lab.gateway.stats().lines).toBe(1024);
    await lab.clock.advance(25 * 3_600_000);
    await ask(2000);
    expect(lab.gateway.stats().lines).toBe(1);
    await lab.close();
  });
});

it.each([
  ['Supermicro', 10876, 9],
  ['anybody else', 0xbeef, 2],
])('002-2: booting the disk by UEFI on a board of %s', async (_name, manufacturer, selector) => {
  const lab = await makeLab({ bmc: { maker: { manufacturer, product: 2404 } } });
  const power = new IpmiPower(lab.gateway, lab.access());
  await lab.clock.until(power.setBootDevice('disk', { persistent: true, efi: true }));
  expect(lab.bmc.bootFlags).toEqual({ valid: true, persistent: true, efi: true, selector });
  await lab.clock.until(power.setBootDevice('disk', { persistent: true })); // legacy: as everywhere
  expect(lab.bmc.bootFlags.selector).toBe(2);
  await lab.close();
});

it('002-2: records without a port get that of the configuration; without a suite named, the better one that the BMC lists', async () => {
  const lab = await makeLab({ bmc: { port: 6230, cipherSuites: [3] } });
  const { clock, network, gateway } = lab;
  const deps = { gateway, clock, network, random: seededRandom(5), logger: silentLogger, ipmiPort: 6230 };
  const open = (cipherSuite?: 17) =>
    new PowerDrivers({ ...deps, ...(cipherSuite && { cipherSuite }) }).factories().ipmi?.(lab.access()) as IpmiPower;
  expect(await failure(lab, open(17).status())).toBe('IPMI_CIPHER_SUITE_UNSUPPORTED');
  expect(await clock.until(open().status())).toBe('off');
  expect(gateway.statuses()).toMatchObject([{ bmc: '10.0.0.20:6230', cipherSuite: 3 }]);
  await lab.close();
});

const USELESS = new Secret('p');
