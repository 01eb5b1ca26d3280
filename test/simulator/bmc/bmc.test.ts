import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { IpmiGateway, IpmiPower, Secret } from 'cdk8s-baremetal-runtime/power/index';
import {
  CIPHER_SUITES,
  type CipherSuite,
  decodeAsf,
  decodeOpenSessionResponse,
  decodePacket,
  decodeRakp2,
  decodeRakp4,
  decodeResponse,
  decodeRmcp,
  encodeAsf,
  encodeOpenSessionRequest,
  encodeRakp1,
  encodeRakp3,
  encodeRequest,
  encodeSessionless,
  encodeUnsealed,
  getChannelCipherSuites,
  PayloadType,
  rakp3AuthCode,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { SimulatedBmc, type SimulatedBmcOptions } from 'cdk8s-baremetal-simulator/bmc/index';
import { describe, expect, it } from 'vitest';
import { FakeNetwork, seededRandom, TestChassis, USERS, VirtualClock } from '../../runtime/power/support.ts';

const BMC = { address: '10.0.0.20', port: 623 };

async function start(options: Partial<SimulatedBmcOptions> = {}) {
  const clock = new VirtualClock();
  const network = new FakeNetwork(clock);
  const chassis = new TestChassis();
  const shared = { clock, network, logger: silentLogger };
  const bmc = await SimulatedBmc.start({ ...shared, random: seededRandom(3), address: BMC.address, users: USERS, chassis, ...options });
  const answers: Uint8Array[] = [];
  const console_ = await network.udp({ address: '10.0.0.1' }, { onMessage: (data) => answers.push(data) });
  /** Sends one raw datagram and gives the answer, if any. */
  const ask = async (datagram: Uint8Array): Promise<Uint8Array | undefined> => {
    answers.length = 0;
    console_.send(datagram, BMC);
    await clock.advance(5);
    return answers[0];
  };
  return { clock, network, chassis, bmc, ask, shared };
}

type Started = Awaited<ReturnType<typeof start>>;

async function setUp(lab: Started, type: number, payload: Uint8Array): Promise<Buffer> {
  const answer = await lab.ask(encodeUnsealed(type, payload));
  if (!answer) throw new Error('no answer');
  const packet = decodePacket(answer);
  if (packet.kind !== 'plus') throw new Error('not RMCP+');
  return packet.payload;
}

const suite = CIPHER_SUITES[0] as CipherSuite;

async function openSession(lab: Started, consoleSessionId: number): Promise<number | undefined> {
  const { authentication, integrity, confidentiality } = suite;
  const request = encodeOpenSessionRequest({ tag: 1, maxPrivilege: 0, consoleSessionId, authentication, integrity, confidentiality });
  return decodeOpenSessionResponse(await setUp(lab, PayloadType.openSessionRequest, request)).bmcSessionId;
}

/** RAKP 1 to 3 with any password; the status of RAKP 2 or 4. */
async function tryPassword(lab: Started, consoleSessionId: number, password: string): Promise<number> {
  const bmcSessionId = await openSession(lab, consoleSessionId);
  if (bmcSessionId === undefined) return -1;
  const consoleRandom = Buffer.alloc(16, consoleSessionId);
  const username = Buffer.from('admin');
  const role = 0x14;
  const rakp2 = decodeRakp2(await setUp(lab, PayloadType.rakp1, encodeRakp1({ tag: 2, bmcSessionId, consoleRandom, role, username })));
  if (rakp2.bmcRandom === undefined) return rakp2.status;
  const { bmcRandom, bmcGuid } = rakp2;
  const authCode = rakp3AuthCode({
    suite,
    consoleSessionId,
    bmcSessionId,
    consoleRandom,
    bmcRandom,
    bmcGuid,
    role,
    username,
    password: Buffer.from(password),
  });
  return decodeRakp4(await setUp(lab, PayloadType.rakp3, encodeRakp3({ tag: 3, status: 0, bmcSessionId, authCode }))).status;
}

function client(lab: Started, overrides: { password?: string } = {}): IpmiPower {
  const gateway = new IpmiGateway({ ...lab.shared, random: seededRandom(4) });
  const password = new Secret(overrides.password ?? 'correct-horse');
  return new IpmiPower(gateway, { address: BMC.address, username: 'admin', password });
}

describe('the simulated BMC, sessionless', () => {
  it('answers the ASF presence ping', async () => {
    const { ask } = await start();
    const pong = await ask(encodeAsf({ type: 'ping', tag: 0x42 }));
    expect(pong && decodeAsf(decodeRmcp(pong).message)).toEqual({ type: 'pong', tag: 0x42, ipmiSupported: true });
  });

  it('lists its cipher suites in records of Table 22-18', async () => {
    const { ask } = await start();
    const command = getChannelCipherSuites(0);
    const answer = await ask(encodeSessionless(encodeRequest({ netFn: 6, command: 0x54, sequence: 5, data: command.data })));
    const packet = answer && decodePacket(answer);
    if (packet?.kind !== 'v15') throw new Error('no 1.5 answer');
    const list = command.parse(Buffer.from(decodeResponse(packet.payload).data));
    expect([...list]).toEqual([0xc0, 17, 0x03, 0x44, 0x81, 0xc0, 3, 0x01, 0x41, 0x81]);
  });

  it.each([
    { name: 'Get Chassis Status', netFn: 0, command: 1, data: [] },
    { name: 'Chassis Control: on', netFn: 0, command: 2, data: [1] },
    { name: 'Get Device ID', netFn: 6, command: 1, data: [] },
  ])('refuses $name without a session', async ({ netFn, command, data }) => {
    const { ask, chassis } = await start();
    const answer = await ask(encodeSessionless(encodeRequest({ netFn, command, sequence: 1, data: Uint8Array.from(data) })));
    const packet = answer && decodePacket(answer);
    if (packet?.kind !== 'v15') throw new Error('no 1.5 answer');
    expect(decodeResponse(packet.payload).completionCode).toBe(0xd4);
    expect(chassis.events).toEqual([]);
  });
});

describe('sessions', () => {
  it('are limited, and half-open ones make way', async () => {
    const lab = await start({ maxSessions: 2 });
    expect(await tryPassword(lab, 1, 'correct-horse')).toBe(0);
    expect(await openSession(lab, 2)).toBeTypeOf('number');
    expect(await openSession(lab, 3)).toBeTypeOf('number'); // session 2 never got further
    expect(await tryPassword(lab, 4, 'correct-horse')).toBe(0);
    expect(await openSession(lab, 5)).toBeUndefined();
    expect(lab.bmc.sessions.active).toBe(2);
    await lab.clock.advance(61_000);
    expect(lab.bmc.sessions.active).toBe(0);
    expect(await openSession(lab, 6)).toBeTypeOf('number');
  });

  it('lock a user after bad passwords, until the lock ends', async () => {
    const lab = await start({ faults: { lockoutAfter: 3, lockoutMs: 10_000 } });
    for (let i = 1; i <= 3; i++) expect(await tryPassword(lab, i, 'guess')).toBe(0x0f);
    expect(await tryPassword(lab, 4, 'correct-horse')).toBe(0x0d);
    await lab.clock.advance(10_001);
    expect(await tryPassword(lab, 5, 'correct-horse')).toBe(0);
  });

  it('answer a repeated RAKP 1 with the same random, so that a resent packet does not spoil the log-in', async () => {
    const lab = await start();
    const bmcSessionId = (await openSession(lab, 7)) ?? 0;
    const rakp1 = encodeRakp1({ tag: 2, bmcSessionId, consoleRandom: Buffer.alloc(16, 1), role: 0x14, username: Buffer.from('admin') });
    const first = await setUp(lab, PayloadType.rakp1, rakp1);
    expect(await setUp(lab, PayloadType.rakp1, rakp1)).toEqual(first);
  });
});

describe('power', () => {
  it('takes its time, and the last command counts', async () => {
    const lab = await start({ delays: { onMs: 5000, offMs: 2000, softOffMs: 8000 } });
    const power = client(lab);
    await lab.clock.until(power.on());
    await lab.clock.advance(4000);
    expect(lab.chassis.events).toEqual([]);
    await lab.clock.until(power.off());
    await lab.clock.advance(10_000);
    expect(lab.chassis.events).toEqual([]);
    await lab.clock.until(power.on());
    await lab.clock.advance(5000);
    await lab.clock.until(power.softOff());
    await lab.clock.advance(7900);
    expect(lab.chassis.events).toEqual(['on none']);
    await lab.clock.advance(200);
    expect(lab.chassis.events).toEqual(['on none', 'off']);
  });

  it('asks a machine that has its own soft-off', async () => {
    class Deaf extends TestChassis {
      softOff(): void {
        this.events.push('soft-off ignored');
      }
    }
    const chassis = new Deaf();
    chassis.powered = true;
    const lab = await start({ chassis });
    const power = client(lab);
    await lab.clock.until(power.softOff());
    expect(chassis.events).toEqual(['soft-off ignored']);
    expect(await lab.clock.until(power.status())).toBe('on');
  });
});
