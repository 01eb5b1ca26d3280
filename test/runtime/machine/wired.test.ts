/** What the configuration switches on is really there: through startBmsCore, over IPMI on a simulated network. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tokenLine } from 'cdk8s-baremetal-runtime/api/index';
import { ask, type CommandRunner, remedyBudgetKind, reportFault, setMaintenance } from 'cdk8s-baremetal-runtime/machine/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CoreSite } from './core-site.ts';

let site: CoreSite;
beforeEach(() => {
  site = new CoreSite();
});
afterEach(() => site.close());

describe('[power_sync]', () => {
  it('by default the record follows the BMC within a minute, and the BMC is never told anything', async () => {
    await site.start();
    const machine = await site.machine(1);
    await site.inUse(machine);
    machine.chassis.powered = false;
    const node = await site.until(machine.uuid, ({ power }) => power?.state === 'off', 61_000);
    expect(node.timeline.at(-1)).toMatchObject({ type: 'power changed', detail: 'on on record, off by the BMC' });
    expect(machine.chassis.powered).toBe(false);
  });

  it('policy = bmc-follows-record switches a machine in use on again, after [remedies] patience', async () => {
    await site.start({ power_sync: { policy: 'bmc-follows-record', interval: '10' }, remedies: { patience: '30' } });
    const machine = await site.machine(1);
    await site.inUse(machine);
    machine.chassis.powered = false;
    await site.until(machine.uuid, ({ fault }) => fault?.kind === 'power lost', 11_000);
    await site.clock.runUntil(() => machine.chassis.powered, { limitMs: 60_000 });
    await site.until(machine.uuid, ({ fault, request, step }) => fault === undefined && request === undefined && step === undefined);
  });

  it('unreachable_after = 2 looks without an answer is a fault on the record, and no power command', async () => {
    await site.start({ power_sync: { unreachable_after: '2', interval: '20' } });
    const machine = await site.machine(1);
    await site.inUse(machine);
    machine.unplug();
    const node = await site.until(machine.uuid, ({ fault }) => fault !== undefined, 90_000);
    expect([node.fault?.kind, machine.chassis.powered]).toEqual(['bmc unreachable', true]);
  });

  it('enabled = false: nothing is looked at', async () => {
    await site.start({ power_sync: { enabled: 'false' } });
    const machine = await site.machine(1);
    await site.inUse(machine);
    machine.chassis.powered = false;
    await site.clock.runFor(600_000);
    expect((await site.node(machine.uuid)).power?.state).toBe('on');
  });

  it('[remedies] budget = 0: whatever is reported, nothing is done', async () => {
    await site.start({ remedies: { budget: '0', patience: '10' } });
    const machine = await site.machine(1);
    await site.inUse(machine);
    await site.clock.run(reportFault(site, machine.uuid, 'its node is not ready'));
    await site.clock.runFor(3_600_000);
    const node = await site.node(machine.uuid);
    expect([node.fault?.remedies, node.maintenance, machine.chassis.powered]).toEqual([[], false, true]);
  });
});

describe('a fault that is reported by the API', () => {
  it('of a machine in use leads to soft reset, power cycle and quarantine, each after its time and within the budget; its end is the end of that', async () => {
    const token = 'bms_of-a-cron-job';
    const tokens = join(site.folder, 'tokens');
    writeFileSync(tokens, tokenLine('cron', 'operator', token), { mode: 0o600 });
    await site.start({ api: { tokens_file: tokens }, remedies: { budget: '1' } });
    const machine = await site.machine(1);
    await site.inUse(machine);
    const switched: string[] = [];
    const { powerOn, powerOff } = machine.chassis;
    machine.chassis.powerOn = (...given) => {
      switched.push('on');
      powerOn(...given);
    };
    machine.chassis.powerOff = (...given) => {
      switched.push('off');
      powerOff(...given);
    };
    const spent: string[][] = [];
    site.store.watch(remedyBudgetKind, (event) => {
      if (event.type === 'put') spent.push(event.record.value.spent.map(({ remedy }) => remedy));
    });
    const client = site.network.host({ name: 'cron', segment: 'lan', addresses: ['10.1.9.9/16'] });
    const tell = async (method: string, body?: object) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const url = 'http://10.1.0.1:7081/v1/nodes/bm-1/fault';
      const answer = await site.clock.run(client.request({ method, url, headers, ...(body && { body: JSON.stringify(body) }) }));
      return { status: answer.status, ...JSON.parse(Buffer.from(answer.body).toString()) };
    };
    const remedied = async (count: number) => {
      const before = site.clock.now();
      const node = await site.until(machine.uuid, ({ fault, request, step }) => {
        return fault?.remedies.length === count && request === undefined && step === undefined;
      });
      return { remedy: node.fault?.remedies.at(-1)?.remedy, minutes: (site.clock.now() - before) / 60_000 };
    };
    const report = { reason: 'its node is not ready' };

    expect(await tell('POST', report)).toMatchObject({ status: 202, node: { fault: { kind: 'unhealthy', ...report, remedies: [] } } });
    const soft = await remedied(1);
    // the machine of this test ignores a soft shutdown, so that its power is cut after that has had its time
    expect([soft.remedy, switched]).toEqual(['soft reset', ['off', 'on']]);
    expect(soft.minutes).toBeGreaterThanOrEqual(3);
    expect((await tell('POST', { reason: 'still not' })).node.fault).toMatchObject({ ...report, remedies: [{ remedy: 'soft reset' }] });
    const hard = await remedied(2);
    expect([hard.remedy, switched]).toEqual(['power cycle', ['off', 'on', 'off', 'on']]);
    expect(hard.minutes).toBeGreaterThan(10);
    const held = await site.until(machine.uuid, ({ maintenance }) => maintenance);
    expect(held.maintenanceReason).toBe('quarantined: unhealthy: its node is not ready');
    // each was counted on the pod's budget of one within ten minutes
    expect(spent).toEqual([[], ['soft reset'], ['power cycle'], ['quarantine']]);

    expect((await tell('DELETE')).node).not.toHaveProperty('fault');
    expect(await tell('POST', report)).toMatchObject({ status: 409, error: { code: 'MACHINE_IN_MAINTENANCE' } });
    await site.clock.run(setMaintenance(site, machine.uuid, false));
    expect((await tell('POST', report)).status).toBe(202);
    await site.clock.runFor(120_000);
    expect((await tell('DELETE')).status).toBe(200);
    await site.clock.runFor(3_600_000);
    const well = await site.node(machine.uuid);
    expect([well.fault, well.maintenance, switched.length]).toEqual([undefined, false, 4]);
  });
});

describe('[cleaning] after_destroy', () => {
  it.each([
    ['none', 'available'],
    ['metadata', 'cleaning'],
  ] as const)('%s: from deleted to %s', async (afterDestroy, next) => {
    await site.start({ cleaning: { after_destroy: afterDestroy } });
    const machine = await site.machine(1);
    await site.inUse(machine);
    await site.clock.run(ask(site, machine.uuid, 'destroy', { approval: { yes: true } }));
    const node = await site.until(machine.uuid, ({ history }) => history.some(({ from }) => from === 'deleted'));
    expect(node.history.find(({ from }) => from === 'deleted')?.to).toBe(next);
  });
});

describe('[volumes] and [vifs]', () => {
  /** As much of tgtadm as is asked for here. */
  function tgtadm(): CommandRunner & { readonly calls: string[] } {
    const targets = new Map<string, { name: string; path?: string; allowed: string[] }>();
    const calls: string[] = [];
    return {
      calls,
      run: async ({ program, args }) => {
        calls.push([program, ...args].join(' '));
        const option = (name: string): string => args[args.indexOf(name) + 1] ?? '';
        const target = targets.get(option('--tid'));
        const what = `${option('--op')} ${option('--mode')}`;
        if (what === 'new target') targets.set(option('--tid'), { name: option('-T'), allowed: [] });
        if (what === 'new logicalunit' && target) target.path = option('-b');
        if (what === 'bind target') target?.allowed.push(option('-I'));
        if (what === 'delete target') targets.delete(option('--tid'));
        const shown = [...targets].map(([tid, { name, path, allowed }]) =>
          [
            `Target ${tid}: ${name}`,
            '    LUN information:',
            ...(path === undefined ? [] : ['        LUN: 1', `            Backing store path: ${path}`]),
            '    ACL information:',
            ...allowed.map((address) => `        ${address}`),
          ].join('\n'),
        );
        return { exitCode: 0, stdout: what === 'show target' ? shown.join('\n') : '', stderr: '' };
      },
    };
  }

  it('driver = tgt exports a volume of [volumes] dir under [volumes] iqn_prefix, and withdraws it', async () => {
    const runner = tgtadm();
    const dir = join(site.folder, 'volumes');
    mkdirSync(dir);
    writeFileSync(join(dir, 'vol-1'), 'x');
    await site.start({ volumes: { driver: 'tgt', dir, iqn_prefix: 'iqn.2026-11.io.example', use_unsafe_iscsi: 'true' } }, { runner });
    const machine = await site.machine(1);
    await site.inUse(machine);
    await site.clock.run(ask(site, machine.uuid, 'attach volume', { args: { volume: 'vol-1' } }));
    await site.until(machine.uuid, ({ reason }) => reason === 'attach volume: done');
    expect(runner.calls).toContain('tgtadm --lld iscsi --op new --mode target --tid 1 -T iqn.2026-11.io.example:host-1-vol-1');
    expect(runner.calls).toContain(`tgtadm --lld iscsi --op new --mode logicalunit --tid 1 --lun 1 -b ${dir}/vol-1`);
    await site.clock.run(ask(site, machine.uuid, 'detach volume', { args: { volume: 'vol-1' } }));
    const node = await site.until(machine.uuid, ({ reason }) => reason === 'detach volume: done');
    expect(node.instance?.volumes).toEqual([]);
    expect(runner.calls).toContain('tgtadm --lld iscsi --op delete --force --mode target --tid 1');
  });

  it('driver = none refuses a volume in words, and the instance stays as it is', async () => {
    await site.start();
    const machine = await site.machine(1);
    await site.inUse(machine);
    await site.clock.run(ask(site, machine.uuid, 'attach volume', { args: { volume: 'vol-1' } }));
    const node = await site.until(machine.uuid, ({ reason }) => reason.includes('no volume driver'));
    expect([node.state, node.instance?.volumes]).toEqual(['active', []]);
  });

  it('000-16: driver = recorder switches the ports that the machine is cabled to, through at most max_connections sessions per switch', async () => {
    const acquired: unknown[] = [];
    const coordination = new Proxy(site.coordination, {
      get: (object, name) => {
        const member = Reflect.get(object, name, object);
        if (name === 'acquire') acquired.push(name);
        return typeof member === 'function' ? member.bind(object) : member;
      },
    });
    await site.start(
      { vifs: { driver: 'recorder' }, sw_coordination: { backend_url: 'memory://', max_connections: '2' } },
      { coordination },
    );
    const machine = await site.machine(1, { switchPorts: { '02:00:00:00:00:01': { datapathId: 'sw-7', portNo: 12 } } });
    await site.inUse(machine);
    await site.clock.run(ask(site, machine.uuid, 'plug vifs', { args: { vifs: ['net-a'] } }));
    const node = await site.until(machine.uuid, ({ reason }) => reason === 'plug vifs: done');
    expect(node.interfaces[0]?.vif).toBe('net-a');
    expect(site.logs).toContainEqual(expect.objectContaining({ port: 'sw-7/12', vif: 'net-a', message: 'a switch port was connected' }));
    expect(acquired.length).toBeGreaterThan(0);
  });

  it('000-16: while every session to a switch is in use, a machine waits for acquire_lock_timeout and says so', async () => {
    const settings = { backend_url: 'memory://', max_connections: '1', acquire_lock_timeout: '20' };
    await site.start({ vifs: { driver: 'recorder' }, sw_coordination: settings });
    const machine = await site.machine(1, { switchPorts: { '02:00:00:00:00:01': { datapathId: 'sw-7', portNo: 12 } } });
    await site.inUse(machine);
    const other = await site.clock.run(site.coordination.acquire('switch.sw-7', { limit: 1, timeoutMs: 1_000 }));
    await site.clock.run(ask(site, machine.uuid, 'plug vifs', { args: { vifs: ['net-a'] } }));
    const waited = await site.until(machine.uuid, ({ attempts }) => attempts > 0);
    expect(waited.reason).toMatch(/switch\.sw-7/);
    await site.clock.run(other.release());
    expect((await site.until(machine.uuid, ({ reason }) => reason === 'plug vifs: done')).interfaces[0]?.vif).toBe('net-a');
  });
});
