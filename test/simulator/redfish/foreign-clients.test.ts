/** OpenStack's Redfish library as a client of the simulated service: proof by somebody who did not write it. */
import { spawn, spawnSync } from 'node:child_process';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { SimulatedRedfish } from 'cdk8s-baremetal-simulator/redfish/index';
import { describe, expect, it } from 'vitest';
import { REDFISH_USERS, selfSigned } from '../../runtime/power/redfish/support.ts';
import { TestChassis } from '../../runtime/power/support.ts';

const PYTHON = '/usr/bin/python3';
const hasSushy = spawnSync(PYTHON, ['-c', 'import sushy']).status === 0;
if (!hasSushy)
  console.warn('SKIPPED: sushy is missing (Debian package python3-sushy); it is not tried as a client of the simulated Redfish service');
const tls = selfSigned();

const SCRIPT = `
import os, sys, sushy
from sushy import auth
user, password, kind = sys.argv[2], os.environ['PASSWORD'], sys.argv[3]
a = auth.SessionAuth(user, password) if kind == 'session' else auth.BasicAuth(user, password)
root = sushy.Sushy(sys.argv[1], verify=False, auth=a)
s = root.get_system('/redfish/v1/Systems/1')
print(s.power_state.value)
print(sorted(v.value for v in s.get_allowed_reset_system_values()))
s.set_system_boot_options(sushy.BootSource.PXE, enabled=sushy.BootSourceOverrideEnabled.ONCE, mode=sushy.BootSourceOverrideMode.UEFI)
s.reset_system(sushy.ResetType.ON)
s.refresh(force=True)
print(s.power_state.value, s.boot.enabled.value)
s.reset_system(sushy.ResetType.FORCE_OFF)
s.refresh(force=True)
print(s.power_state.value)
if kind == 'session': root._auth.close()
`;

describe.skipIf(!hasSushy || tls === undefined)('sushy', () => {
  it.each([['session'], ['basic']])('002-2: power and boot device, %s authentication', async (kind) => {
    if (!tls) throw new Error('skipped without it');
    const chassis = new TestChassis();
    const deps = { clock: nodeClock, random: nodeRandom, logger: silentLogger };
    const service = new SimulatedRedfish({ ...deps, users: REDFISH_USERS, chassis });
    const server = await service.serve(nodeNetwork, { address: '127.0.0.1', port: 0, tls });
    const args = ['-W', 'ignore', '-c', SCRIPT, `https://127.0.0.1:${server.local.port}`, 'admin', kind];
    const child = spawn(PYTHON, args, { env: { PATH: '/usr/bin:/bin', PASSWORD: 'correct-horse' }, timeout: 30_000 });
    const output = { out: '', err: '' };
    child.stdout.on('data', (data) => {
      output.out += String(data);
    });
    child.stderr.on('data', (data) => {
      output.err += String(data);
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    await server.close(10);
    expect({ code, err: code === 0 ? '' : output.err }).toEqual({ code: 0, err: '' });
    expect(output.out.trim().split('\n')).toEqual([
      'Off',
      "['ForceOff', 'ForceRestart', 'GracefulShutdown', 'Nmi', 'On', 'PowerCycle']",
      'On Disabled',
      'Off',
    ]);
    expect(chassis.events).toEqual(['on pxe efi', 'off']);
    if (kind === 'session') expect(service.sessions).toBe(0);
  });
});
