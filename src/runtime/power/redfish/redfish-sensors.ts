/** What a machine measures of itself: the Sensors of its chassis (schema Sensor), or the older resources Thermal and Power. */
import { at, type Json, linksAt, nextTextOf } from './json.ts';
import type { RedfishClient } from './redfish-client.ts';

export interface RedfishSensor {
  readonly name: string;
  /** temperature, rotational, voltage, power …, in lower case. */
  readonly type: string;
  readonly value?: number | undefined;
  readonly unit: string;
  /** OK, Warning or Critical, as the service says; absent: it does not. */
  readonly health?: string | undefined;
}

/** A machine has dozens, not thousands. */
const MOST_SENSORS = 512;

const OLD = [
  ['Thermal', 'Temperatures', 'temperature', 'Cel', 'ReadingCelsius'],
  ['Thermal', 'Fans', 'rotational', 'RPM', 'Reading'],
  ['Power', 'Voltages', 'voltage', 'V', 'ReadingVolts'],
  ['Power', 'PowerControl', 'power', 'W', 'PowerConsumedWatts'],
] as const;

export async function readRedfishSensors(client: RedfishClient, signal?: AbortSignal): Promise<readonly RedfishSensor[]> {
  const found: RedfishSensor[] = [];
  for (const chassis of linksAt((await client.get('/redfish/v1/Chassis', signal)).json, 'Members')) {
    const { json } = await client.get(chassis, signal);
    const sensors = nextTextOf(json, 'Sensors', '@odata.id');
    if (sensors !== undefined)
      for (const link of linksAt((await client.get(sensors, signal)).json, 'Members').slice(0, MOST_SENSORS))
        found.push(sensorOf((await client.get(link, signal)).json));
    else found.push(...(await oldSensors(client, json, signal)));
  }
  return found;
}

async function oldSensors(client: RedfishClient, chassis: Json, signal: AbortSignal | undefined): Promise<readonly RedfishSensor[]> {
  const resources = new Map<string, Json>();
  for (const name of ['Thermal', 'Power']) {
    const path = nextTextOf(chassis, name, '@odata.id');
    if (path !== undefined) resources.set(name, (await client.get(path, signal)).json);
  }
  return OLD.flatMap(([resource, list, type, unit, reading]) => {
    const entries = at(resources.get(resource), list);
    return (Array.isArray(entries) ? entries : []).slice(0, MOST_SENSORS).map((one: unknown) => ({
      name: nextTextOf(one, 'Name') ?? nextTextOf(one, 'FanName') ?? list,
      type,
      value: number(at(one, reading)),
      unit: nextTextOf(one, 'ReadingUnits') ?? unit,
      health: nextTextOf(one, 'Status', 'Health'),
    }));
  });
}

function sensorOf(json: Json): RedfishSensor {
  return {
    name: nextTextOf(json, 'Name') ?? nextTextOf(json, 'Id') ?? '?',
    type: (nextTextOf(json, 'ReadingType') ?? 'other').toLowerCase(),
    value: number(json.Reading),
    unit: nextTextOf(json, 'ReadingUnits') ?? '',
    health: nextTextOf(json, 'Status', 'Health'),
  };
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
