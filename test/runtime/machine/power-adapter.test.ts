import { Secret as NamedSecret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { MemorySecretStore, type NodeRecord, nodeKind, PowerAdapter } from 'cdk8s-baremetal-runtime/machine/index';
import { type BmcAccess, type PowerManager, type PowerState, powerErrors } from 'cdk8s-baremetal-runtime/power/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { describe, expect, it } from 'vitest';

const node: NodeRecord = nodeKind.parse({
  uuid: 'u',
  name: 'bm',
  number: 1,
  interfaces: [{ mac: '02:00:00:00:00:01' }],
  properties: { cpus: 1, memoryMb: 1, localGb: 1, cpuArch: 'x86_64' },
  bmc: { driver: 'ipmi', address: '10.0.1.1', username: 'admin', passwordRef: 'bmc.u' },
  state: 'available',
  stateSince: 0,
  reason: '',
});

async function setup(behaviour: Partial<PowerManager> = {}) {
  const clock = new VirtualClock();
  const secrets = new MemorySecretStore();
  await secrets.write('bmc.u', new NamedSecret('first'));
  const made: BmcAccess[] = [];
  const closed: string[] = [];
  const commands: string[] = [];
  let state: PowerState = 'off';
  const ipmi = (access: BmcAccess): PowerManager => {
    made.push(access);
    return {
      status: async () => state,
      on: async () => {
        commands.push('on');
        state = 'on';
      },
      off: async () => {
        commands.push('off');
        state = 'off';
      },
      softOff: async () => undefined,
      setBootDevice: async (device, { persistent }) => void commands.push(`${device} ${persistent}`),
      close: async () => void closed.push(access.password.reveal()),
      ...behaviour,
    };
  };
  const power = new PowerAdapter({ drivers: { ipmi }, secrets, clock, logger: silentLogger, ipmiPowerRetry: 2 });
  return { clock, secrets, power, made, closed, commands };
}

const { signal } = new AbortController();

describe('the power plane, as a machine’s life asks for it', () => {
  it('reaches a state, sends nothing when it is there already, and keeps one manager per machine', async () => {
    const { clock, power, made, commands } = await setup();
    await clock.run(power.ensureOn(node, signal));
    await clock.run(power.ensureOn(node, signal));
    await clock.run(power.ensureOff(node, signal));
    await power.setBootDevice(node, 'pxe', { persistent: false }, signal);
    expect(commands).toEqual(['on', 'off', 'pxe false']);
    expect(await power.status(node, signal)).toBe('off');
    expect(made).toHaveLength(1);
    expect([made[0]?.address, made[0]?.password.reveal()]).toEqual(['10.0.1.1', 'first']);
  });

  it('takes a changed password at once and lets the old session go', async () => {
    const { secrets, power, made, closed } = await setup();
    await power.status(node, signal);
    await secrets.write('bmc.u', new NamedSecret('second'));
    await power.status(node, signal);
    expect([made.map(({ password }) => password.reveal()), closed]).toEqual([['first', 'second'], ['first']]);
    await power.close();
    expect(closed).toEqual(['first', 'second']);
  });

  it('nobody but its own close waits for an old session whose BMC does not answer', async () => {
    const gone = Promise.withResolvers<void>();
    const { secrets, power, made } = await setup({ close: () => gone.promise });
    await power.status(node, signal);
    await secrets.write('bmc.u', new NamedSecret('second'));
    await power.status(node, signal);
    expect(made).toHaveLength(2);
    let closed = false;
    const closing = power.close().then(() => {
      closed = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(false);
    gone.resolve();
    await closing;
  });

  it('a machine that does not obey is an error that may pass', async () => {
    const { clock, power } = await setup({ on: async () => undefined });
    const error = await clock.run(power.ensureOn(node, signal).catch((failure: unknown) => failure));
    expect(error).toMatchObject({
      message: expect.stringContaining('the machine is not on after 3 looks: it accepted the command and did not change'),
    });
    expect(error).not.toHaveProperty('permanent');
  });

  it('a wrong password is permanent: trying again locks accounts', async () => {
    const wrong = powerErrors.IPMI_WRONG_PASSWORD({ bmc: '10.0.1.1:623', user: 'admin' });
    const { clock, power } = await setup({
      status: async () => {
        throw wrong;
      },
    });
    const error = await clock.run(power.ensureOff(node, signal).catch((failure: unknown) => failure));
    expect(error).toMatchObject({ code: 'IPMI_WRONG_PASSWORD', permanent: true });
  });

  it('a driver that is not there is permanent, and named', async () => {
    const { power } = await setup();
    const other = { ...node, bmc: { ...node.bmc, driver: 'iboot' as const } };
    await expect(power.status(other, signal)).rejects.toMatchObject({ permanent: true, message: 'there is no power driver "iboot" here' });
  });
});
