/** bmctl sensors: what a machine measures of itself, by the URL of its BMC. */
import { readSensors, type Sensor, type SensorHealth } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import type { Command } from 'commander';
import { asking, IPMI_TARGET, isRedfish, REDFISH_TARGET, type TargetFlags, withIpmi, withRedfish } from '../bmc-target.ts';
import type { Surroundings } from '../surroundings.ts';
import { table } from '../table.ts';

const BAD: ReadonlySet<SensorHealth> = new Set(['warning', 'critical', 'non-recoverable']);

export function registerSensors(program: Command, world: Surroundings): void {
  asking(program.command('sensors').description('readings, states and thresholds of a machine, by the URL of its BMC'))
    .argument('<url>', `${IPMI_TARGET} or ${REDFISH_TARGET}`)
    .option('--problems', 'only those beyond a threshold')
    .option('--type <word>', 'only types that contain this, e.g. temperature')
    .action(async (url: string, flags: TargetFlags & { problems?: boolean; type?: string }) => {
      if (isRedfish(url)) {
        const read = await withRedfish(world, { url, flags, what: 'sensors' }, (_power, sensors) => sensors());
        const some = read.filter(
          ({ health, type }) =>
            (!flags.problems || health === 'Warning' || health === 'Critical') &&
            (flags.type === undefined || type.includes(flags.type.toLowerCase())),
        );
        if (program.opts<{ json?: boolean }>().json) return world.print(JSON.stringify({ sensors: some }, undefined, 2));
        const rows = some.map(({ name, type, value, unit, health }) => [
          name,
          type,
          value === undefined ? '-' : `${value} ${unit}`,
          health ?? '-',
        ]);
        return world.print(rows.length === 0 ? 'No sensor is like that.' : table(['SENSOR', 'TYPE', 'READING', 'HEALTH'], rows));
      }
      const all = await withIpmi(world, { url, flags, privilege: 'user', what: 'sensors' }, ({ run }) => readSensors(run, world.signal));
      const shown = all.filter(
        (sensor) =>
          (!flags.problems || BAD.has(sensor.health)) && (flags.type === undefined || sensor.type.includes(flags.type.toLowerCase())),
      );
      if (program.opts<{ json?: boolean }>().json) return world.print(JSON.stringify({ sensors: shown }, undefined, 2));
      if (shown.length === 0) return world.print(all.length === 0 ? 'The BMC lists no sensors.' : 'No sensor is like that.');
      world.print(
        table(
          ['SENSOR', 'TYPE', 'READING', 'HEALTH', 'STATES AND LIMITS'],
          shown.map((sensor) => [sensor.name, sensor.type, reading(sensor), sensor.health, notes(sensor)]),
        ),
      );
    });
}

function reading({ value, unit, missing }: Sensor): string {
  if (missing !== undefined || value === undefined) return '-';
  return `${Number(value.toPrecision(6))} ${unit ?? ''}`.trimEnd();
}

const LIMITS = {
  lowerNonRecoverable: '≤!!',
  lowerCritical: '≤!',
  lowerNonCritical: '≤',
  upperNonCritical: '≥',
  upperCritical: '≥!',
  upperNonRecoverable: '≥!!',
} as const;

function notes({ states, thresholds, missing }: Sensor): string {
  if (missing !== undefined) return missing;
  const limits = (Object.keys(LIMITS) as (keyof typeof LIMITS)[]).flatMap((name) => {
    const limit = thresholds[name];
    return limit === undefined ? [] : [`${LIMITS[name]}${Number(limit.toPrecision(6))}`];
  });
  return [...states, ...limits].join(', ');
}
