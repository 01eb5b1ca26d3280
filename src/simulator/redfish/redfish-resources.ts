/** The resources of a simulated Redfish service as documents, after the public DMTF schemas. Pure: what it shows comes in, JSON goes out. */

export const V1 = '/redfish/v1';
export const SYSTEM = `${V1}/Systems/1`;

export const BOOT_TARGETS = ['None', 'Pxe', 'Hdd', 'Cd', 'BiosSetup', 'UefiHttp'];
export const BOOT_ENABLED = ['Disabled', 'Once', 'Continuous'];
export const BOOT_MODES = ['Legacy', 'UEFI'];

/** What the documents show of the machine and the service. */
export interface RedfishView {
  readonly uuid: string;
  readonly powered: boolean;
  readonly boot: { readonly enabled: string; readonly target: string; readonly mode: string };
  readonly etag: string;
  readonly resetTypes: readonly string[];
  /** Absent: the service has none, and knows basic authentication only. */
  readonly sessions?: { readonly ids: readonly string[]; readonly timeoutMs: number };
  /** The list of ResetTypes stands in an ActionInfo. */
  readonly actionInfo: boolean;
  /** Thermal in place of Sensors. */
  readonly oldSensors: boolean;
}

/** The one resource that needs no log-in. */
export function serviceRoot({ uuid, sessions }: RedfishView): object {
  return {
    '@odata.id': `${V1}/`,
    '@odata.type': '#ServiceRoot.v1_11_0.ServiceRoot',
    Id: 'RootService',
    Name: 'Root Service',
    RedfishVersion: '1.13.0',
    UUID: uuid,
    Systems: link('/Systems'),
    Chassis: link('/Chassis'),
    Managers: link('/Managers'),
    Tasks: link('/TaskService'),
    ...(sessions && { SessionService: link('/SessionService') }),
    Links: sessions ? { Sessions: link('/SessionService/Sessions') } : {},
  };
}

/** Every other resource that can be read, by path; tasks come and go, and are not among them. */
export function resources(view: RedfishView): Readonly<Record<string, object>> {
  return {
    [`${V1}/Systems`]: collection('/Systems', 'ComputerSystemCollection', ['/Systems/1']),
    [SYSTEM]: computerSystem(view),
    [`${SYSTEM}/ResetActionInfo`]: {
      '@odata.id': `${SYSTEM}/ResetActionInfo`,
      '@odata.type': '#ActionInfo.v1_2_0.ActionInfo',
      Id: 'ResetActionInfo',
      Name: 'Reset Action Info',
      Parameters: [{ Name: 'ResetType', Required: true, DataType: 'String', AllowableValues: view.resetTypes }],
    },
    [`${V1}/Managers`]: collection('/Managers', 'ManagerCollection', []),
    ...chassis(view),
    [`${V1}/TaskService`]: {
      '@odata.id': `${V1}/TaskService`,
      '@odata.type': '#TaskService.v1_2_0.TaskService',
      Id: 'TaskService',
      Name: 'Task Service',
    },
    ...(view.sessions && sessionService(view.sessions)),
  };
}

export function sessionResource(id: string, userName: string): object {
  return {
    ...link(`/SessionService/Sessions/${id}`),
    '@odata.type': '#Session.v1_3_0.Session',
    Id: id,
    Name: 'Session',
    UserName: userName,
  };
}

export function taskResource(id: string, state: 'Running' | 'Completed' | 'Exception'): object {
  const Messages = state === 'Exception' ? [{ MessageId: 'Base.1.8.InternalError', Message: 'The power sequencer does not answer.' }] : [];
  return { ...link(`/TaskService/Tasks/${id}`), '@odata.type': '#Task.v1_5_0.Task', Id: id, Name: 'Task', TaskState: state, Messages };
}

function computerSystem({ uuid, powered, boot, etag, resetTypes, actionInfo }: RedfishView): object {
  const types = actionInfo ? { '@Redfish.ActionInfo': `${SYSTEM}/ResetActionInfo` } : { 'ResetType@Redfish.AllowableValues': resetTypes };
  return {
    '@odata.id': SYSTEM,
    '@odata.type': '#ComputerSystem.v1_14_0.ComputerSystem',
    '@odata.etag': etag,
    Id: '1',
    Name: 'Simulated server',
    SystemType: 'Physical',
    UUID: uuid,
    Status: { State: 'Enabled', Health: 'OK' },
    PowerState: powered ? 'On' : 'Off',
    Boot: {
      BootSourceOverrideEnabled: boot.enabled,
      'BootSourceOverrideEnabled@Redfish.AllowableValues': BOOT_ENABLED,
      BootSourceOverrideTarget: boot.target,
      'BootSourceOverrideTarget@Redfish.AllowableValues': BOOT_TARGETS,
      BootSourceOverrideMode: boot.mode,
      'BootSourceOverrideMode@Redfish.AllowableValues': BOOT_MODES,
    },
    Actions: { '#ComputerSystem.Reset': { target: `${SYSTEM}/Actions/ComputerSystem.Reset`, ...types } },
    Links: { Chassis: [link('/Chassis/1')] },
  };
}

/** The chassis with its sensors in both forms; it names one of them. */
function chassis({ powered, oldSensors }: RedfishView): Readonly<Record<string, object>> {
  const one = `${V1}/Chassis/1`;
  const inlet = { Name: 'Inlet Temp', Status: { State: 'Enabled', Health: 'OK' } };
  const fan = { Name: 'Fan 1', Status: { State: 'Enabled', Health: 'OK' } };
  const celsius = 21.5;
  const rpm = powered ? 5400 : 0;
  return {
    [`${V1}/Chassis`]: collection('/Chassis', 'ChassisCollection', ['/Chassis/1']),
    [one]: {
      '@odata.id': one,
      '@odata.type': '#Chassis.v1_16_0.Chassis',
      Id: '1',
      Name: 'Chassis',
      ChassisType: 'RackMount',
      ...(oldSensors ? { Thermal: link('/Chassis/1/Thermal') } : { Sensors: link('/Chassis/1/Sensors') }),
    },
    [`${one}/Sensors`]: collection('/Chassis/1/Sensors', 'SensorCollection', ['/Chassis/1/Sensors/inlet', '/Chassis/1/Sensors/fan1']),
    [`${one}/Sensors/inlet`]: {
      '@odata.id': `${one}/Sensors/inlet`,
      Id: 'inlet',
      ...inlet,
      ReadingType: 'Temperature',
      Reading: celsius,
      ReadingUnits: 'Cel',
    },
    [`${one}/Sensors/fan1`]: {
      '@odata.id': `${one}/Sensors/fan1`,
      Id: 'fan1',
      ...fan,
      ReadingType: 'Rotational',
      Reading: rpm,
      ReadingUnits: 'RPM',
    },
    [`${one}/Thermal`]: {
      '@odata.id': `${one}/Thermal`,
      '@odata.type': '#Thermal.v1_7_0.Thermal',
      Id: 'Thermal',
      Name: 'Thermal',
      Temperatures: [{ ...inlet, ReadingCelsius: celsius }],
      Fans: [{ ...fan, Reading: rpm, ReadingUnits: 'RPM' }],
    },
  };
}

function sessionService({ ids, timeoutMs }: NonNullable<RedfishView['sessions']>): Readonly<Record<string, object>> {
  const sessions = '/SessionService/Sessions';
  return {
    [`${V1}/SessionService`]: {
      '@odata.id': `${V1}/SessionService`,
      '@odata.type': '#SessionService.v1_1_8.SessionService',
      Id: 'SessionService',
      Name: 'Session Service',
      ServiceEnabled: true,
      SessionTimeout: timeoutMs / 1000,
      Sessions: link(sessions),
    },
    [`${V1}${sessions}`]: collection(
      sessions,
      'SessionCollection',
      ids.map((id) => `${sessions}/${id}`),
    ),
  };
}

function link(path: string): { '@odata.id': string } {
  return { '@odata.id': `${V1}${path}` };
}

function collection(path: string, type: string, members: readonly string[]): object {
  return {
    ...link(path),
    '@odata.type': `#${type}.${type}`,
    Name: type,
    'Members@odata.count': members.length,
    Members: members.map(link),
  };
}
