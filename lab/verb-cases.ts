/** `npm run lab -- --verbs`: what is done with machines besides deploying them, each with a real one. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { MAC, untilState } from './deploy-case.ts';
import type { FaultCase, World } from './fault-cases.ts';

const MIB = 1024 * 1024;
const LOOSE = '52:54:00:77:00:ff';
const WWN = '5000c50012345678';
const DISK_BYTES = 256 * MIB;

interface Facts {
  readonly cpus: number;
  readonly memoryMb: number;
  readonly cpuArch: string;
  readonly firmware: string;
  readonly disks: readonly { readonly name: string; readonly sizeBytes: number; readonly serial?: string; readonly wwn?: string }[];
  readonly interfaces: readonly { readonly name: string; readonly mac: string; readonly linkUp?: boolean }[];
}

export const verbCases: readonly FaultCase[] = [
  {
    name: 'inspect',
    disks: (lab) => [
      { file: lab.disk('m1.raw'), serial: 'LAB-1' },
      { file: lab.disk('scsi.raw'), serial: 'LAB-SCSI', wwn: WWN },
    ],
    looseCard: LOOSE,
    run: async (world) => {
      await world.core.api('POST', '/v1/nodes/m1/inspect', { apply: true });
      await world.console(/bms: deploy ramdisk/);
      world.machine.monitor('set_link loose off');
      await ended(world, 'inspecting');
      const facts = factsOf(world);
      const disk = (wanted: string) => facts.disks.find(({ serial }) => serial === wanted);
      expectEqual('what the machine has', [facts.cpus, facts.cpuArch, facts.firmware], [1, 'x86_64', 'bios']);
      // firmware and the kernel keep a part of the 512 MiB
      if (facts.memoryMb < 440 || facts.memoryMb > 512) throw new Error(`it has ${facts.memoryMb} MiB of memory`);
      expectEqual('the first disk', [disk('LAB-1')?.name, disk('LAB-1')?.sizeBytes], ['vda', DISK_BYTES]);
      if (!disk('LAB-SCSI')) throw new Error(`no disk has the second one's serial number: ${JSON.stringify(facts.disks)}`);
      expectEqual('the second disk', [disk('LAB-SCSI')?.name, disk('LAB-SCSI')?.sizeBytes], ['sda', DISK_BYTES]);
      if (!disk('LAB-SCSI')?.wwn?.endsWith(WWN)) throw new Error(`the WWN of the second disk is ${disk('LAB-SCSI')?.wwn}`);
      expectEqual(
        'its cards',
        facts.interfaces.map(({ mac, linkUp }) => [mac, linkUp]),
        [
          [MAC, true],
          [LOOSE, false],
        ],
      );
      const { properties } = await world.core.api<{ properties: { cpus: number; memoryMb: number } }>('GET', '/v1/nodes/m1');
      expectEqual('what was taken over', [properties.cpus, properties.memoryMb], [facts.cpus, facts.memoryMb]);
      world.tell(`found ${JSON.stringify(facts)}`);
    },
  },
  {
    name: 'clean',
    disks: (lab) => [{ file: join(lab.folder, 'm1.raw'), serial: 'LAB-1' }],
    before: ({ folder }, { image }) => {
      const file = join(folder, 'm1.raw');
      copyFileSync(image.disk, file);
      truncateSync(file, DISK_BYTES);
    },
    run: async (world) => {
      const file = join(world.lab.folder, 'm1.raw');
      const before = signatures(file);
      if (!before.includes('gpt') || !before.includes('ext4')) throw new Error(`before it was cleaned the disk held ${before}`);
      await world.core.api('POST', '/v1/nodes/m1/clean', { yes: true });
      await world.console(/bms: exporting/);
      await ended(world, 'cleaning');
      await world.machine.cut();
      const after = signatures(file);
      if (after !== '') throw new Error(`after it was cleaned the disk holds ${after}`);
      world.tell(`on it were ${before}; wipefs and blkid find nothing now`);
    },
  },
  {
    name: 'rescue',
    run: async (world) => {
      const file = join(world.lab.folder, 'm1.raw');
      await world.spawn();
      await world.console(/BMS-MARKER instance \S+ is \S+/);
      await untilState(world.core, (state) => state === 'active', world.signal);
      const from = world.machine.console.length;
      await world.core.api('POST', '/v1/nodes/m1/rescue', {});
      if (!(await world.machine.until(/bms: deploy ramdisk/, world.signal, from))) throw new Error('the ramdisk did not start');
      const before = digest(file);
      const shell = await world.machine.until(/rescue: the disks are not mounted; this is a shell on the console/, world.signal, from);
      if (!shell) throw new Error('there is no shell');
      const { state, reason } = await untilState(world.core, (now) => now === 'rescue', world.signal);
      world.tell(`the machine is ${state}: ${reason}`);
      if (digest(file) !== before) throw new Error('the disk was written');
      const end = world.machine.console.length;
      await world.core.api('POST', '/v1/nodes/m1/unrescue', {});
      if (!(await world.machine.until(/BMS-MARKER booted from \/dev\/vda3 by BIOS/, world.signal, end)))
        throw new Error('its own system did not start again');
      const node = await untilState(world.core, (now) => now === 'active', world.signal);
      world.tell(`its own system again; the machine is ${node.state}: ${node.reason}`);
    },
  },
];

/** Waits until the machine has been in the state and is free again. */
async function ended({ core, signal, tell }: World, state: string): Promise<void> {
  await untilState(core, (now) => now !== state, signal);
  const node = await untilState(core, (now) => ['available', 'manageable', 'error'].includes(now), signal);
  const { history } = await core.api<{ history: { from: string; to: string; reason: string }[] }>('GET', '/v1/nodes/m1/history');
  const out = history.find(({ from }) => from === state);
  tell(`from ${state} to ${out?.to ?? 'nowhere'}: ${out?.reason ?? 'never was there'}; now ${node.state}`);
  if (out?.to !== 'manageable' || node.lastFailure !== undefined) throw new Error(node.lastFailure?.reason ?? `it went to ${out?.to}`);
}

/** The API says of them what differs; everything that was posted is on the machine's record. */
function factsOf({ lab }: World): Facts {
  const store = new DatabaseSync(join(lab.folder, 'state/bms.db'), { readOnly: true });
  const rows = store.prepare("SELECT value FROM record WHERE kind = 'node'").all() as { value: string }[];
  store.close();
  const { inspection } = JSON.parse(rows[0]?.value ?? '{}') as { inspection?: { facts: Facts } };
  if (inspection === undefined) throw new Error('there is no inspection on record');
  return inspection.facts;
}

/** Of the whole disk by wipefs, and of the places where its image had file systems by blkid. */
function signatures(file: string): string {
  const run = (program: string, ...argv: string[]): string => {
    try {
      const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C' };
      return execFileSync(program, argv, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    } catch {
      return ''; // blkid ends with 2 where it finds nothing
    }
  };
  const table = run('wipefs', '--noheadings', '--output', 'TYPE', file);
  const places = [1, 2, 4, 8, 9, 10, 12, 16].map((mib) =>
    run('blkid', '--probe', '--offset', String(mib * MIB), '--match-tag', 'TYPE', '--output', 'value', file),
  );
  return [table, ...places]
    .join('\n')
    .split('\n')
    .filter((word) => word !== '')
    .join(', ');
}

function expectEqual(what: string, found: unknown, wanted: unknown): void {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

function digest(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
