import { IpmiPower, isAuthenticationFailure } from 'cdk8s-baremetal-runtime/power/index';
import { decodePacket, decodeRakp3, getChassisStatus, PayloadType } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { badWire, FUZZ_RUNS, failure, type Lab, makeLab, perfectWire, seededRandom } from '../support.ts';

/** Packets of one set-up payload type that went over the wire. */
function setUps(lab: Lab, type: number): Uint8Array[] {
  return lab.network.log.flatMap(({ data }) => {
    try {
      const packet = decodePacket(data);
      return packet.kind === 'plus' && packet.payloadType === type && packet.sessionId === 0 ? [packet.payload] : [];
    } catch {
      return []; // mutated on purpose
    }
  });
}

describe('a session with a BMC', () => {
  it.each([
    { name: 'suite 17 by preference', bmc: {}, access: {} },
    { name: 'suite 3 when the BMC has nothing else', bmc: { cipherSuites: [3] }, access: {} },
    { name: 'suite 3 when asked for', bmc: {}, access: { cipherSuite: 3 as const } },
    { name: 'an operator', bmc: {}, access: { username: 'op', password: 'operate' } },
    { name: 'an administrator', bmc: {}, access: { privilege: 'administrator' as const } },
    { name: 'empty password', bmc: {}, access: { username: 'nopass', password: '' } },
    { name: 'user level is enough to look', bmc: {}, access: { username: 'viewer', password: 'look', privilege: 'user' as const } },
  ])('002-2: $name', async ({ bmc, access }) => {
    const lab = await makeLab({ bmc });
    const power = new IpmiPower(lab.gateway, lab.access(access));
    expect(await lab.clock.until(power.status())).toBe('off');
    expect(lab.bmc.sessions.active).toBe(1);
    await lab.close();
    expect(lab.bmc.sessions.active).toBe(0); // closed, not left to time out
    expect(lab.network.open).toBe(0);
  });

  it('002-2: power and boot device, all absolute', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    const steps = async (): Promise<void> => {
      await power.setBootDevice('pxe', { persistent: false, efi: true });
      await power.on();
      await power.on();
      expect(await power.status()).toBe('on');
      await power.off();
      await power.on();
      await power.setBootDevice('disk', { persistent: true });
      await power.softOff();
      await power.on();
      await power.setBootDevice('none', { persistent: true });
      await power.off();
      await power.on();
    };
    await lab.clock.until(steps());
    // one-time PXE counts once; persistent disk until it is removed
    expect(lab.chassis.events).toEqual(['on pxe efi', 'off', 'on none', 'off', 'on disk', 'off', 'on none']);
    expect(await lab.clock.until(power.bootFlags())).toEqual({ valid: true, persistent: true, efi: false, selector: 0 });
    await lab.close();
  });

  it('002-2: boot flags outlive the 60 s after which a BMC forgets them', async () => {
    const lab = await makeLab({ gateway: { idleCloseMs: 10_000 } });
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.setBootDevice('pxe', { persistent: false }));
    await lab.clock.advance(120_000);
    await lab.clock.until(power.on());
    expect(lab.chassis.events).toEqual(['on pxe']);
    await lab.close();
  });

  it('002-2: D5h to "on" is success when it is on, and an error when it is not', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    lab.bmc.faults.chassisControlCode = 0xd5;
    expect(await failure(lab, power.on())).toBe('IPMI_COMPLETION');
    lab.chassis.powered = true;
    expect(await failure(lab, power.on())).toBe('no error');
    await lab.close();
  });
});

describe('refusals, each with its own code', () => {
  it.each([
    { name: 'wrong user', access: { username: 'nobody' }, bmc: {}, code: 'IPMI_WRONG_USER' },
    { name: 'wrong password, suite 17', access: { password: 'wrong' }, bmc: {}, code: 'IPMI_WRONG_PASSWORD' },
    { name: 'wrong password, suite 3', access: { password: 'wrong', cipherSuite: 3 as const }, bmc: {}, code: 'IPMI_WRONG_PASSWORD' },
    { name: 'password of another length', access: { password: '' }, bmc: {}, code: 'IPMI_WRONG_PASSWORD' },
    { name: 'privilege', access: { username: 'viewer', password: 'look' }, bmc: {}, code: 'IPMI_PRIVILEGE_REFUSED' },
    { name: 'cipher suite', access: { cipherSuite: 17 as const }, bmc: { cipherSuites: [3] }, code: 'IPMI_CIPHER_SUITE_UNSUPPORTED' },
    { name: 'no suite at all', access: {}, bmc: { cipherSuites: [] }, code: 'IPMI_CIPHER_SUITE_UNSUPPORTED' },
    { name: 'session table full', access: {}, bmc: { faults: { sessionTableFull: true } }, code: 'IPMI_SESSION_REFUSED' },
    { name: 'nobody there', access: { address: '10.0.0.99' }, bmc: {}, code: 'IPMI_NO_ANSWER' },
    { name: 'busy for ever', access: {}, bmc: { faults: { busy: 1000 } }, code: 'IPMI_COMPLETION' },
  ])('002-2: $name', async ({ access, bmc, code }) => {
    const lab = await makeLab({ bmc });
    expect(await failure(lab, new IpmiPower(lab.gateway, lab.access(access)).status())).toBe(code);
    await lab.close();
  });

  it.each([
    { name: 'no address', access: { address: '' }, field: 'address' },
    { name: 'a host name', access: { address: 'bmc.example' }, field: 'address' },
    { name: 'a port out of range', access: { port: 70_000 }, field: 'port' },
    { name: 'a long user', access: { username: 'x'.repeat(17) }, field: 'user' },
    { name: 'a long password', access: { password: 'secretsecretsecretsec' }, field: 'password' },
  ])('002-2: $name is named before anything is sent', async ({ access, field }) => {
    const lab = await makeLab();
    const make = (): IpmiPower => new IpmiPower(lab.gateway, lab.access(access));
    expect(make).toThrow(field);
    expect(make).not.toThrow('secretsecret');
    expect(lab.network.log).toEqual([]);
    await lab.close();
  });

  it('says how long and how often a silent BMC was asked', async () => {
    const lab = await makeLab({ gateway: { schedule: () => [1000, 2000] } });
    const status = new IpmiPower(lab.gateway, lab.access({ address: '10.0.0.99' })).status();
    await expect(lab.clock.until(status)).rejects.toThrow(/10\.0\.0\.99:623 did not answer .* in 3\.0 s and 2 tries/);
    expect(lab.network.log).toHaveLength(2);
    await lab.close();
  });
});

describe('manners towards account lock-out', () => {
  it('002-2: a wrong password is noticed before the BMC could count it, tried once, and held', async () => {
    const lab = await makeLab({ bmc: { faults: { lockoutAfter: 1 } }, gateway: { probeEveryMs: 60_000 } });
    const wrong = new IpmiPower(lab.gateway, lab.access({ password: 'stale' }));
    expect(await failure(lab, wrong.status())).toBe('IPMI_WRONG_PASSWORD');
    const packets = lab.network.log.length;
    for (let i = 0; i < 50; i++) expect(await failure(lab, wrong.status())).toBe('IPMI_AUTH_HELD');
    expect(lab.network.log).toHaveLength(packets); // not a packet more
    expect(lab.bmc.sessions.badPasswords('admin')).toBe(0);
    // RAKP 3 gave the half-open session back
    expect(setUps(lab, PayloadType.rakp3).map((payload) => decodeRakp3(payload).status)).toEqual([0x0f]);

    // changed credentials pass at once; the old ones stay held; after the cool-down they get one more try
    const right = new IpmiPower(lab.gateway, lab.access());
    expect(await lab.clock.until(right.status())).toBe('off');
    expect(await failure(lab, wrong.status())).toBe('IPMI_AUTH_HELD');
    await lab.clock.advance(60_001);
    expect(await failure(lab, wrong.status())).toBe('IPMI_WRONG_PASSWORD');
    expect(lab.bmc.sessions.badPasswords('admin')).toBe(0);
    await lab.close();
  });

  it('002-2: a network that repeats packets does not make a right password look wrong', async () => {
    let answered = 0;
    for (let seed = 0; seed < 30; seed++) {
      const lab = await makeLab({ seed, bmc: { faults: { lockoutAfter: 2 } } });
      lab.network.wire = badWire(seed, { loss: 20, duplicate: 30, reorder: 40 });
      const outcome = await failure(lab, new IpmiPower(lab.gateway, lab.access()).status());
      expect(['no error', 'IPMI_NO_ANSWER'], `seed ${seed}`).toContain(outcome);
      expect(lab.bmc.sessions.badPasswords('admin'), `seed ${seed}`).toBeLessThan(2);
      if (outcome === 'no error') answered += 1;
      lab.network.wire = perfectWire;
      await lab.close();
    }
    expect(answered).toBeGreaterThan(25); // 4 tries, each lost with a chance of 36 %
  });

  it('knows an authentication failure from a silent BMC', async () => {
    const lab = await makeLab();
    const error = await lab.clock.until(new IpmiPower(lab.gateway, lab.access({ password: 'x' })).status().catch((e: unknown) => e));
    expect(isAuthenticationFailure(error)).toBe(true);
    expect(String(error)).not.toContain('correct-horse');
    await lab.close();
  });
});

describe('a bad network and a bad BMC', () => {
  it('002-2: 200 polls through loss, repetition and reordering, each answered right', async () => {
    const lab = await makeLab({ gateway: { schedule: () => [50, 100, 200, 200, 400, 400, 800] } });
    lab.network.wire = badWire(7, { loss: 15, duplicate: 15, reorder: 30 });
    const power = new IpmiPower(lab.gateway, lab.access());
    for (let i = 0; i < 200; i++) {
      lab.chassis.powered = i % 3 === 0;
      expect(await lab.clock.until(power.status())).toBe(i % 3 === 0 ? 'on' : 'off');
    }
    lab.network.wire = perfectWire;
    await lab.close();
  });

  it.each([
    { name: 'lost requests', faults: { dropRequests: 2 } },
    { name: 'lost answers', faults: { dropReplies: 2 } },
    { name: 'busy twice', faults: { busy: 2 } },
    { name: 'answers with a wrong code', faults: { corruptReplies: 2 } },
    { name: 'answers to another request', faults: { misdirectReplies: 2 } },
    { name: 'a slow BMC', faults: { replyDelayMs: 700 } },
  ])('002-2: $name', async ({ faults }) => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    Object.assign(lab.bmc.faults, faults);
    lab.chassis.powered = true;
    expect(await lab.clock.until(power.status())).toBe('on');
    Object.assign(lab.bmc.faults, { replyDelayMs: 0 });
    await lab.close();
  });

  it('002-2: a recorded session played to the BMC again does nothing', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.on());
    await lab.clock.until(power.off());
    const recorded = lab.network.log.filter(({ to }) => to.port === 623);
    const attacker = await lab.network.udp({ address: '10.0.0.66' }, { onMessage: () => undefined });
    for (const { data, to } of recorded) attacker.send(data, to);
    await lab.clock.advance(1000);
    expect(lab.chassis.events).toEqual(['on none', 'off']);
    await attacker.close();
    await lab.close();
  });

  it('002-2: answers from another address than the BMC are not heard', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    const attacker = await lab.network.udp({ address: '10.0.0.66', port: 623 }, { onMessage: () => undefined });
    const answers = lab.network.log.filter(({ from }) => from.port === 623);
    const before = lab.gateway.stats().unclaimed;
    for (const { data, to } of answers) attacker.send(data, to);
    await lab.clock.advance(10);
    expect(lab.gateway.stats().unclaimed - before).toBe(answers.length);
    await attacker.close();
    await lab.close();
  });

  it('fuzz: garbage and mutated packets in both directions never break client or BMC', async () => {
    const lab = await makeLab({ gateway: { schedule: () => [50, 100, 100, 200, 200, 400] } });
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    const noise = await lab.network.udp({ address: '10.0.0.66' }, { onMessage: () => undefined });
    const client = lab.network.log[0]?.from ?? { address: '', port: 0 };
    const bmcEnd = lab.bmc.local;
    const samples = lab.network.log.map(({ data }) => data);
    const edits = fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { minLength: 1, maxLength: 8 });
    const mutated = fc.tuple(fc.constantFrom(...samples), edits, fc.nat(100)).map(([sample, changes, keep]) => {
      const bad = Uint8Array.from(sample.subarray(0, Math.max(keep, 5)));
      for (const [at, value] of changes) bad[at % bad.length] = value;
      return bad;
    });
    const packets = fc.sample(fc.oneof(fc.uint8Array({ maxLength: 100 }), mutated), { numRuns: FUZZ_RUNS, seed: 5 });
    for (const [i, data] of packets.entries()) {
      noise.send(data, client);
      noise.send(data, bmcEnd);
      if (i % 200 === 0) await lab.clock.advance(1);
    }
    await lab.clock.advance(10);
    lab.chassis.powered = true;
    expect(await lab.clock.until(power.status())).toBe('on');
    await noise.close();
    await lab.close();
  });

  it('fuzz: answers mutated on their way, also during the log-in', async () => {
    const random = seededRandom(11);
    const byte = (): number => random.bytes(1)[0] ?? 0;
    for (let seed = 0; seed < 60; seed++) {
      const lab = await makeLab({ seed, gateway: { schedule: () => [20, 20, 20, 20, 20, 20, 20, 20], probeEveryMs: 0 } });
      lab.network.wire = {
        fate(data) {
          if (byte() < 60) data[byte() % data.length] = byte();
          return [0.1];
        },
      };
      lab.chassis.powered = true;
      for (let i = 0; i < 5; i++) {
        const outcome = await lab.clock.until(new IpmiPower(lab.gateway, lab.access()).status().catch((e: { code?: string }) => e.code));
        expect(outcome === 'on' || /^IPMI_/.test(String(outcome)), `seed ${seed}: ${outcome}`).toBe(true);
      }
      lab.network.wire = perfectWire;
      await lab.close();
    }
  });

  it('a caller that gives up is let go at once, and the session stays', async () => {
    const lab = await makeLab();
    const access = lab.access();
    await lab.clock.until(lab.gateway.run(access, getChassisStatus));
    lab.bmc.faults.dropRequests = 1;
    const controller = new AbortController();
    lab.clock.after(10, () => controller.abort(new Error('not interested')));
    await expect(lab.clock.until(lab.gateway.run(access, getChassisStatus, controller.signal))).rejects.toThrow('not interested');
    expect(lab.clock.monotonic()).toBeLessThan(100);
    expect(await lab.clock.until(lab.gateway.run(access, getChassisStatus))).toMatchObject({ powerOn: false });
    expect(setUps(lab, PayloadType.rakp1)).toHaveLength(1);
    await lab.close();
  });
});
