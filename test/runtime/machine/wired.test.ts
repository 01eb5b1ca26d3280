/** What the configuration switches on is really there: through startBmsCore, over IPMI on a simulated network. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask, type CommandRunner, reportFault } from 'cdk8s-baremetal-runtime/machine/index';
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
