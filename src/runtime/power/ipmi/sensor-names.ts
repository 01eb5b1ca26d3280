/** Names of sensor types, units and states (IPMI v2.0 rev 1.1 Tables 42-2, 42-3 and 43-15). */

/** Table 42-3, in order from 00h. */
const SENSOR_TYPES = [
  'reserved',
  'temperature',
  'voltage',
  'current',
  'fan',
  'chassis intrusion',
  'platform security',
  'processor',
  'power supply',
  'power unit',
  'cooling device',
  'other units',
  'memory',
  'drive bay',
  'POST memory resize',
  'system firmware progress',
  'event logging',
  'watchdog 1',
  'system event',
  'critical interrupt',
  'button or switch',
  'module or board',
  'microcontroller',
  'add-in card',
  'chassis',
  'chip set',
  'other FRU',
  'cable or interconnect',
  'terminator',
  'system boot initiated',
  'boot error',
  'OS boot',
  'OS stop or shutdown',
  'slot or connector',
  'ACPI power state',
  'watchdog 2',
  'platform alert',
  'entity presence',
  'monitor ASIC',
  'LAN',
  'management subsystem health',
  'battery',
  'session audit',
  'version change',
  'FRU state',
] as const;

export function sensorTypeName(type: number): string {
  return SENSOR_TYPES[type] ?? (type >= 0xc0 ? `OEM ${hex(type)}` : `type ${hex(type)}`);
}

/** Table 43-15, in order from 0. */
const UNITS =
  ' ,°C,°F,K,V,A,W,J,C,VA,nits,lm,lx,cd,kPa,psi,N,cfm,rpm,Hz,µs,ms,s,min,h,d,weeks,mil,in,ft,in³,ft³,mm,cm,m,cm³,m³,l,fl oz,rad,sr,rev,cycles,gravities,oz,lb,ft·lb,oz·in,gauss,Gb,H,mH,F,µF,Ω,S,mol,Bq,ppm,,dB,dBA,dBC,Gy,Sv,K colour,bit,kbit,Mbit,Gbit,byte,KiB,MiB,GiB,word,dword,qword,line,hit,miss,retry,reset,overflow,underrun,collision,packets,messages,characters,error,correctable error,uncorrectable error,fatal error,g'.split(
    ',',
  );

const RATES = ['', '/µs', '/ms', '/s', '/min', '/h', '/d', ''] as const;

export function unitName(unit: {
  readonly baseUnit: number;
  readonly modifierUnit: number;
  readonly combined: 'none' | 'per' | 'times';
  readonly rate: number;
  readonly percent: boolean;
}): string {
  const base = UNITS[unit.baseUnit]?.trim() ?? `unit ${unit.baseUnit}`;
  const modifier = UNITS[unit.modifierUnit]?.trim() ?? '';
  const joined = unit.combined === 'per' ? `${base}/${modifier}` : unit.combined === 'times' ? `${base}·${modifier}` : base;
  return `${unit.percent ? '%' : ''}${joined}${RATES[unit.rate] ?? ''}`;
}

/** Table 42-2: states of the generic event types, by offset. */
const GENERIC: Readonly<Record<number, readonly string[]>> = {
  1: [
    'lower non-critical going low',
    'lower non-critical going high',
    'lower critical going low',
    'lower critical going high',
    'lower non-recoverable going low',
    'lower non-recoverable going high',
    'upper non-critical going low',
    'upper non-critical going high',
    'upper critical going low',
    'upper critical going high',
    'upper non-recoverable going low',
    'upper non-recoverable going high',
  ],
  2: ['idle', 'active', 'busy'],
  3: ['deasserted', 'asserted'],
  4: ['no predictive failure', 'predictive failure'],
  5: ['limit not exceeded', 'limit exceeded'],
  6: ['performance met', 'performance lags'],
  7: [
    'ok',
    'non-critical from ok',
    'critical from less severe',
    'non-recoverable from less severe',
    'non-critical from more severe',
    'critical from non-recoverable',
    'non-recoverable',
    'monitor',
    'informational',
  ],
  8: ['absent', 'present'],
  9: ['disabled', 'enabled'],
  10: ['running', 'in test', 'power off', 'on line', 'off line', 'off duty', 'degraded', 'power save', 'install error'],
  11: [
    'fully redundant',
    'redundancy lost',
    'redundancy degraded',
    'non-redundant: sufficient from redundant',
    'non-redundant: sufficient from insufficient',
    'non-redundant: insufficient',
    'redundancy degraded from full',
    'redundancy degraded from none',
  ],
  12: ['D0', 'D1', 'D2', 'D3'],
};

/** Table 42-3: states of sensors with event type 6Fh. */
const SPECIFIC: Readonly<Record<number, readonly string[]>> = {
  5: [
    'general intrusion',
    'drive bay intrusion',
    'I/O card intrusion',
    'processor intrusion',
    'LAN unplugged',
    'unauthorised dock',
    'fan area intrusion',
  ],
  6: [
    'secure mode violation',
    'user password violation',
    'setup password violation',
    'network boot password violation',
    'other pre-boot password violation',
    'out-of-band password violation',
  ],
  7: [
    'IERR',
    'thermal trip',
    'FRB1 failure',
    'FRB2 failure',
    'FRB3 failure',
    'configuration error',
    'SM BIOS CPU error',
    'present',
    'disabled',
    'terminator present',
    'throttled',
    'machine check',
    'correctable machine check',
  ],
  8: [
    'present',
    'failure',
    'predictive failure',
    'input lost',
    'input lost or out of range',
    'input out of range',
    'configuration error',
    'standby',
  ],
  9: [
    'off',
    'cycle',
    '240 VA power down',
    'interlock power down',
    'mains lost',
    'soft-power control failure',
    'failure',
    'predictive failure',
  ],
  12: [
    'correctable ECC',
    'uncorrectable ECC',
    'parity',
    'scrub failed',
    'disabled',
    'correctable ECC limit reached',
    'present',
    'configuration error',
    'spare',
    'throttled',
    'critical overtemperature',
  ],
  13: [
    'present',
    'fault',
    'predictive failure',
    'hot spare',
    'consistency check',
    'in critical array',
    'in failed array',
    'rebuilding',
    'rebuild aborted',
  ],
  15: ['firmware error', 'firmware hang', 'firmware progress'],
  16: [
    'correctable memory logging disabled',
    'event type logging disabled',
    'log cleared',
    'all logging disabled',
    'log full',
    'log almost full',
    'correctable machine check logging disabled',
  ],
  18: ['reconfigured', 'OEM system boot', 'undetermined hardware failure', 'auxiliary log entry', 'PEF action', 'time synchronised'],
  19: [
    'front panel NMI',
    'bus time-out',
    'I/O channel check',
    'software NMI',
    'PCI PERR',
    'PCI SERR',
    'EISA fail-safe time-out',
    'bus correctable error',
    'bus uncorrectable error',
    'fatal NMI',
    'bus fatal error',
    'bus degraded',
  ],
  20: ['power button', 'sleep button', 'reset button', 'FRU latch open', 'FRU service request'],
  29: [
    'power-up',
    'hard reset',
    'warm reset',
    'PXE boot asked for',
    'boot to diagnostic',
    'run-time OS reset',
    'run-time OS restart',
    'system restart',
  ],
  30: ['no bootable media', 'no disk in drive', 'PXE server not found', 'invalid boot sector', 'boot selection timed out'],
  31: [
    'A: boot done',
    'C: boot done',
    'PXE boot done',
    'diagnostic boot done',
    'CD-ROM boot done',
    'ROM boot done',
    'boot done',
    'installation started',
    'installation done',
    'installation aborted',
    'installation failed',
  ],
  32: ['critical stop while loading', 'critical stop', 'graceful stop', 'graceful shutdown', 'PEF soft shutdown', 'agent not responding'],
  33: [
    'fault',
    'identify',
    'device installed',
    'ready to install',
    'ready to remove',
    'power off',
    'removal requested',
    'interlock',
    'disabled',
    'spare',
  ],
  34: [
    'S0/G0 working',
    'S1',
    'S2',
    'S3',
    'S4',
    'S5/G2 soft off',
    'S4/S5 soft off',
    'G3 mechanical off',
    'sleeping',
    'G1 sleeping',
    'S5 by override',
    'legacy on',
    'legacy off',
    'unknown',
  ],
  35: ['expired', 'hard reset', 'power down', 'power cycle', 'reserved', 'reserved', 'reserved', 'reserved', 'interrupt'],
  37: ['present', 'absent', 'disabled'],
  39: ['heartbeat lost', 'heartbeat'],
  40: [
    'sensor access degraded',
    'controller access degraded',
    'controller off line',
    'controller unavailable',
    'sensor failure',
    'FRU failure',
  ],
  41: ['low', 'failed', 'present'],
  42: ['session activated', 'session deactivated', 'bad user name or password', 'bad password limit reached'],
  43: [
    'hardware change',
    'firmware change',
    'hardware incompatible',
    'firmware incompatible',
    'invalid hardware version',
    'invalid firmware version',
    'hardware change done',
    'firmware change done',
  ],
};

/** What state `offset` of a sensor means. */
export function stateName(eventType: number, sensorType: number, offset: number): string {
  const names = eventType === 0x6f ? SPECIFIC[sensorType] : GENERIC[eventType];
  return names?.[offset] ?? `state ${offset}`;
}

function hex(value: number): string {
  return `${value.toString(16).toUpperCase().padStart(2, '0')}h`;
}
