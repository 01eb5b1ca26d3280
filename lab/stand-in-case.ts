/** The lab's machine deployed by the stand-in (lab/stand-in): what the time that ours takes is compared with. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type DeployCase, Lab, type LabFiles, MAC, tail } from './deploy-case.ts';
import { LabMachine } from './support/machine.ts';

export interface StandInFiles extends LabFiles {
  /** Of the stand-in alone. */
  readonly standInRamdisk: string;
  /** The partition image with a table before it: the stand-in makes none. */
  readonly tableAndRoot: string;
  /** `root=UUID=…` */
  readonly rootParameter: string;
}

export interface StandInRun {
  readonly problem?: string;
  /** Power-on to marker. */
  readonly seconds: number;
  readonly phases: string;
}

const LIMIT_MS = 240_000;
const HERE = dirname(fileURLToPath(import.meta.url));

export async function runStandIn(
  { firmware, method, layout }: Pick<DeployCase, 'firmware' | 'method' | 'layout'>,
  files: StandInFiles,
  abort: AbortSignal,
): Promise<StandInRun> {
  const signal = AbortSignal.any([abort, AbortSignal.timeout(LIMIT_MS)]);
  const lab = await Lab.open();
  let machine: LabMachine | undefined;
  try {
    const root = join(lab.folder, 'tftp');
    mkdirSync(root);
    files.loaders(root);
    const { kernel, ramdisk, disk: wholeDisk } = files.image;
    const served = { deploy_kernel: files.deployKernel, deploy_ramdisk: files.standInRamdisk, kernel, ramdisk };
    for (const [name, file] of Object.entries(served)) copyFileSync(file, join(root, name));
    let poweredAt = 0;
    machine = new LabMachine({
      network: lab.network,
      name: 'm1',
      mac: MAC,
      firmware,
      disks: [{ file: lab.disk('m1.raw'), serial: 'LAB-1' }],
      folder: lab.machineFolder('m1'),
      onEvent: (what) => {
        if (what.startsWith('power on')) poweredAt ||= Date.now();
      },
    });
    const whole = layout === 'whole-disk';
    const parameters = whole ? '' : `${files.rootParameter} ro quiet console=ttyS0`;
    const image = whole ? wholeDisk : files.tableAndRoot;
    const script = lab.network.namespace.spawn([join(HERE, 'stand-in/run'), root, image, method, parameters]);
    let said = '';
    for (const stream of [script.stdout, script.stderr]) stream?.on('data', (chunk: Buffer) => (said = `${said}${chunk}`.slice(-2000)));
    machine.obeyed('boot pxe', 'on');
    const seen: number[] = [];
    for (const pattern of [/stand-in: deploy ramdisk/, /stand-in: restarting/, /BMS-MARKER booted from \S+ by (BIOS|UEFI)/]) {
      const match = await machine.until(pattern, signal);
      if (!match) {
        const problem = `never ${pattern.source}; the console ends with\n${tail(machine.console)}\nand the script with\n${tail(said)}`;
        return { problem, seconds: Number.NaN, phases: '' };
      }
      seen.push((Date.now() - poweredAt) / 1000);
    }
    const [ramdiskAt = 0, restartAt = 0, markerAt = 0] = seen;
    const phases = [ramdiskAt, restartAt - ramdiskAt, markerAt - restartAt].map((one) => one.toFixed(1));
    return { seconds: markerAt, phases: `firmware and loader ${phases[0]}, ramdisk and write ${phases[1]}, own system ${phases[2]}` };
  } finally {
    await machine?.close();
    await lab.close();
  }
}
