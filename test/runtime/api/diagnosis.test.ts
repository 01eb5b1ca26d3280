/** What `bmctl diagnose` says of a machine, from its record alone. */
import { diagnosis } from 'cdk8s-baremetal-runtime/api/diagnosis';
import { imageCacheErrors } from 'cdk8s-baremetal-runtime/deploy/image/cache/errors';
import { type NodeRecord, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { describe, expect, it } from 'vitest';

const T0 = Date.parse('2026-11-21T12:00:00Z');

function said(part: Partial<NodeRecord>, now = T0 + 60_000): string[] {
  const node = nodeKind.parse({
    uuid: 'u',
    name: 'bm',
    number: 1,
    interfaces: [{ mac: '02:00:00:00:00:01' }],
    properties: { cpus: 1, memoryMb: 1, localGb: 1, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address: '10.0.0.1', username: 'u', passwordRef: 'p' },
    state: 'active',
    stateSince: T0,
    reason: 'web-1 boots',
    owner: 'mgmt-1',
    ...part,
  });
  const { verdict, findings } = diagnosis(node, now);
  return [verdict, ...findings.map(({ what, cure }) => (cure === undefined ? what : `${what} → ${cure}`))];
}

describe('a diagnosis', () => {
  it('of a machine in use says what was done last, its power and what was seen', () => {
    expect(said({ power: { state: 'on', at: T0 }, timeline: [{ at: T0, type: 'DHCP lease', detail: '192.168.50.9', count: 1 }] })).toEqual([
      'well',
      'It is in use; what was done last: web-1 boots',
      'Its power was on at 2026-11-21T12:00:00.000Z, as its BMC told',
      'Last seen: DHCP lease 192.168.50.9 at 2026-11-21T12:00:00.000Z',
    ]);
  });

  it('of a fault says since when, what was tried, and what helps', () => {
    const remedies = [{ remedy: 'power on' as const, at: T0 + 1_000 }];
    const [verdict, fault] = said({ fault: { kind: 'power lost', reason: 'on on record, off by the BMC', since: T0, remedies } });
    expect(verdict).toBe('failed');
    expect(fault).toBe(
      'It has a fault since 2026-11-21T12:00:00.000Z: power lost, on on record, off by the BMC; tried: power on at 2026-11-21T12:00:01.000Z' +
        ' → Look at the machine; bmctl power on bm, or bmctl power off bm if it is meant to be off',
    );
  });

  it('of one that was reported as unhealthy says how to report it well, and how to end its quarantine', () => {
    const fault = { kind: 'unhealthy' as const, reason: 'its node is not ready', since: T0, remedies: [] };
    expect(said({ fault })[1]).toBe(
      'It has a fault since 2026-11-21T12:00:00.000Z: unhealthy, its node is not ready' +
        ' → Look at what runs on it; once it is well, bmctl fault bm --clear ends the remedies',
    );
    expect(said({ fault, maintenance: true }).join()).toContain('--clear ends the remedies and bmctl maintenance off bm its quarantine');
  });

  it('of one that is late names its owner and unstick, which works in that state', () => {
    const [verdict, late] = said({ state: 'prepared', stateDeadline: T0 + 30_000 });
    expect(verdict).toBe('late');
    expect(late).toContain('no POST from the deploy ramdisk for 60 s; nothing was observed of the machine');
    expect(late).toContain('its owner mgmt-1 runs; bmctl unstick bm');
  });

  it('says what helps against the code that a reason carries, once, and of a machine without an instance speaks of no deployment', () => {
    const reason = 'cache images: http://192.0.2.1/x cannot be fetched: status 404 [IMAGE_FETCH] (5 attempts)';
    const lastFailure = { state: 'building' as const, reason, at: T0, cleanupErrors: [] };
    const cure = imageCacheErrors.IMAGE_FETCH({ source: '', reason: '' }).cure;
    expect(said({ state: 'error', reason, lastFailure })).toEqual([
      'failed',
      `It failed: ${reason} → ${cure}; then bmctl retry bm`,
      'Nothing was ever seen of it on the network',
    ]);
    expect(said({ state: 'available', lastFailure })[1]).toBe(
      `It last failed at 2026-11-21T12:00:00.000Z in building: ${reason} → ${cure}`,
    );
    expect(said({ state: 'available', lastFailure: { ...lastFailure, instanceUuid: 'i' } })[1]).toContain('Its last deployment failed at');
    expect(said({ state: 'building', attempts: 2, reason, stateDeadline: T0 + 90_000 })[2]).toBe(
      `2 tries failed, the last one: ${reason} → ${cure}`,
    );
    expect(said({ state: 'error', reason: 'x [NO_SUCH_CODE]' })[1]).toContain('docs/errors.md says what helps against NO_SUCH_CODE');
    expect(said({ state: 'error', reason: 'x' })[1]).toBe('It failed: x → Remove the cause; then bmctl retry bm');
  });

  it('of one that rests in error has no deadline, however long ago it failed', () => {
    expect(said({ state: 'error', reason: 'x', stateDeadline: T0 + 1_000 })).toEqual([
      'failed',
      'It failed: x → Remove the cause; then bmctl retry bm',
      'Nothing was ever seen of it on the network',
    ]);
  });

  it('counts no decision as seen, and says why a machine is in maintenance', () => {
    const timeline = [{ at: T0, type: 'deadline missed', detail: 'prepared', count: 1 }];
    const lines = said({ timeline, maintenance: true, maintenanceReason: 'a new fan' });
    expect(lines).toContain('It is in maintenance (a new fan): nothing changes its power or disks → bmctl maintenance off bm');
    expect(lines).toContain('Nothing was ever seen of it on the network');
  });
});
