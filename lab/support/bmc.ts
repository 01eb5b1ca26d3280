/** The BMCs of the lab: OpenIPMI's ipmi_sim, which is not ours, and our own simulated one. Both switch a machine through its control file. */
import type { ChildProcess } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LabMachine } from './machine.ts';
import type { LabNetwork } from './namespace.ts';

export type BmcKind = 'ipmi_sim' | 'simulated';

export interface LabBmc {
  readonly kind: BmcKind;
  readonly address: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  /** ipmi_sim knows no other. */
  readonly cipherSuite: 3 | 17;
}

/** What ipmi_sim calls: `SCRIPT 0x20 get power boot`, `SCRIPT 0x20 set power 1` … It waits for everybody who holds its descriptors, so they are closed. */
const chassisScript = (machine: LabMachine): string => `#!/bin/sh
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
shift
verb=$1
shift
while [ $# -gt 0 ]; do
  case "$verb $1" in
    "get power") echo "power:$(cat ${machine.power})" ;;
    "get boot") echo "boot:none" ;;
    "set power") [ "$2" = 1 ] && echo on >> ${machine.control} || echo off >> ${machine.control}; shift ;;
    "set boot") case $2 in default) device=disk ;; *) device=$2 ;; esac; echo "boot $device" >> ${machine.control}; shift ;;
    "set reset") echo reset >> ${machine.control}; shift ;;
    "set shutdown") echo off >> ${machine.control}; shift ;;
  esac
  shift
done
`;

/** It listens a moment later; whoever asks tries again anyway. */
export function startBmc(kind: BmcKind, network: LabNetwork, machine: LabMachine, folder: string, port: number): LabBmc {
  const bmc = { kind, address: '127.0.0.1', port, username: 'admin', password: 'correct-horse' } as const;
  const child = kind === 'ipmi_sim' ? ipmiSim(network, machine, folder, bmc) : simulated(network, machine, folder, bmc);
  child.stdout?.resume();
  child.stderr?.resume();
  return { ...bmc, cipherSuite: kind === 'ipmi_sim' ? 3 : 17 };
}

type Access = Pick<LabBmc, 'address' | 'port' | 'username' | 'password'>;

function ipmiSim(network: LabNetwork, machine: LabMachine, folder: string, { address, port, username, password }: Access): ChildProcess {
  const script = join(folder, 'chassis');
  writeFileSync(script, chassisScript(machine));
  chmodSync(script, 0o700);
  const lan = [
    'name "lab"',
    'set_working_mc 0x20',
    'startlan 1',
    `  addr ${address} ${port}`,
    '  priv_limit admin',
    ...['callback', 'user', 'operator', 'admin'].map((level) => `  allowed_auths_${level} none md2 md5 straight`),
    '  guid a123456789abcdefa123456789abcdef',
    'endlan',
    `chassis_control "${script} 0x20"`,
    'user 1 true "" "test" user 10 none md2 md5 straight',
    `user 2 true "${username}" "${password}" admin 10 none md2 md5 straight`,
  ];
  writeFileSync(join(folder, 'lan.conf'), `${lan.join('\n')}\n`, { mode: 0o600 });
  const emulated = ['mc_setbmc 0x20', 'mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr', 'mc_enable 0x20', ''];
  writeFileSync(join(folder, 'bmc.emu'), emulated.join('\n'));
  const files = ['-c', join(folder, 'lan.conf'), '-f', join(folder, 'bmc.emu'), '-s', join(folder, 'ipmi-state')];
  return network.namespace.spawn(['ipmi_sim', '-n', ...files], { cwd: folder });
}

function simulated(network: LabNetwork, machine: LabMachine, folder: string, access: Access): ChildProcess {
  const settings = join(folder, 'bmc.json');
  writeFileSync(settings, JSON.stringify({ ...access, control: machine.control, power: machine.power }), { mode: 0o600 });
  const here = dirname(fileURLToPath(import.meta.url));
  return network.namespace.spawn([process.execPath, '--import', 'tsx', join(here, 'bmc-main.ts'), settings], { cwd: join(here, '../..') });
}
