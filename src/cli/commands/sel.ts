/** bmctl sel: the system event log of a machine, by the URL of its BMC. */
import { isoTime } from 'cdk8s-baremetal-runtime/core/iso-time';
import {
  eraseSel,
  getSelInfo,
  readSdrs,
  readSel,
  type SelEntry,
  type SelEvent,
  type SensorRecord,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { type Command, InvalidArgumentError } from 'commander';
import { asking, IPMI_TARGET, type TargetFlags, withIpmi } from '../bmc-target.ts';
import type { Surroundings } from '../surroundings.ts';
import { table } from '../table.ts';
import { unconfirmed } from './power.ts';

export function registerSel(program: Command, world: Surroundings): void {
  const asJson = (): boolean => program.opts<{ json?: boolean }>().json === true;
  const sel = program.command('sel').description('the system event log of a machine, by the URL of its BMC');
  asking(sel.command('list').description('its entries, oldest first'))
    .argument('<url>', IPMI_TARGET)
    .option('--last <count>', 'only so many, the newest', countOf)
    .action(async (url: string, flags: TargetFlags & { last?: number }) => {
      const { entries, nameOf } = await withIpmi(world, { url, flags, privilege: 'user', what: 'sel list' }, async ({ run }) => {
        const found: SelEntry[] = [];
        for await (const entry of readSel(run, world.signal)) found.push(entry);
        const shown = flags.last === undefined ? found : found.slice(-flags.last);
        // names of sensors cost a walk through all records: only when there is something to name
        const records = shown.some(({ event }) => event) ? await readSdrs(run, world.signal) : [];
        const known = new Map(records.flatMap((record) => (record.kind === 'sensor' ? [[sensorKey(record), record.name] as const] : [])));
        return { entries: shown, nameOf: (event: SelEvent) => known.get(keyOfEvent(event)) };
      });
      if (asJson()) {
        const told = entries.map((entry) => ({ ...entry, ...(entry.event && { sensorName: nameOf(entry.event) ?? null }) }));
        return world.print(JSON.stringify({ entries: told }, undefined, 2));
      }
      if (entries.length === 0) return world.print('The log is empty.');
      world.print(
        table(
          ['ID', 'AT', 'SENSOR', 'WHAT', ''],
          entries.map((entry) => [
            String(entry.id),
            when(entry),
            entry.event ? (nameOf(entry.event) ?? `sensor ${entry.event.sensor}`) : 'OEM',
            entry.event?.text ?? entry.oem ?? '',
            entry.event?.asserted === false ? 'over' : '',
          ]),
        ),
      );
    });
  asking(sel.command('info').description('how many entries, how much room, when it was erased'))
    .argument('<url>', IPMI_TARGET)
    .action(async (url: string, flags: TargetFlags) => {
      const info = await withIpmi(world, { url, flags, privilege: 'user', what: 'sel info' }, ({ run }) => run(getSelInfo));
      if (asJson()) return world.print(JSON.stringify(info, undefined, 2));
      const at = (time: number | undefined): string => (time === undefined ? 'never, or not told' : isoTime(time * 1000));
      world.print(`entries: ${info.entries}\nfree: ${info.freeBytes} bytes\nlast entry: ${at(info.addedAt)}\nerased: ${at(info.erasedAt)}`);
      if (info.overflow) world.print('Events were lost since it was full: save it, then bmctl sel clear.');
    });
  asking(sel.command('clear').description('erases it'))
    .argument('<url>', IPMI_TARGET)
    .option('-y, --yes', 'the entries are gone then')
    .action(async (url: string, flags: TargetFlags & { yes?: boolean }) => {
      if (!flags.yes) throw unconfirmed('erasing the event log');
      await withIpmi(world, { url, flags, privilege: 'operator', what: 'sel clear' }, ({ run }) =>
        eraseSel(run, world.clock, world.signal),
      );
      world.print(asJson() ? JSON.stringify({ cleared: true }) : 'The log is empty.');
    });
}

/** Each controller numbers its own sensors, and firmware and operating systems log under numbers of theirs. */
function sensorKey({ owner, lun, number }: Pick<SensorRecord, 'owner' | 'lun' | 'number'>): string {
  return [owner, lun, number].join();
}

/** Table 32-1: the generator's low byte is the owner, bits 9:8 the LUN. */
function keyOfEvent({ generator, sensor }: SelEvent): string {
  return sensorKey({ owner: generator & 0xff, lun: (generator >> 8) & 3, number: sensor });
}

function when({ at, sinceStart }: SelEntry): string {
  if (at !== undefined) return isoTime(at * 1000);
  return sinceStart === undefined ? '-' : `${sinceStart} s after the BMC's start`;
}

function countOf(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('It must be a whole number above 0.');
  return Number(text);
}
