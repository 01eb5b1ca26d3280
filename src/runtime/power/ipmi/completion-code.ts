/** Completion codes, the first byte of every answer (IPMI v2.0 rev 1.1 Table 5-2), with the meaning some commands give to 80h–BEh. */

export const CompletionCode = {
  ok: 0x00,
  nodeBusy: 0xc0,
  invalidCommand: 0xc1,
  invalidForLun: 0xc2,
  timeout: 0xc3,
  outOfSpace: 0xc4,
  dataTruncated: 0xc6,
  dataLengthInvalid: 0xc7,
  parameterOutOfRange: 0xc9,
  invalidDataField: 0xcc,
  insufficientPrivilege: 0xd4,
  reservationCancelled: 0xc5,
  cannotReturnBytes: 0xca,
  notPresent: 0xcb,
  lengthLimitExceeded: 0xc8,
  notInPresentState: 0xd5,
  disabled: 0xd6,
} as const;

const GENERIC: Readonly<Record<number, string>> = {
  0: 'command completed normally',
  192: 'node busy',
  193: 'invalid command',
  194: 'command invalid for given LUN',
  195: 'timeout while processing command',
  196: 'out of space',
  197: 'reservation canceled or invalid reservation ID',
  198: 'request data truncated',
  199: 'request data length invalid',
  200: 'request data field length limit exceeded',
  201: 'parameter out of range',
  202: 'cannot return number of requested data bytes',
  203: 'requested sensor, data, or record not present',
  204: 'invalid data field in request',
  205: 'command illegal for specified sensor or record type',
  206: 'command response could not be provided',
  207: 'cannot execute duplicated request',
  208: 'SDR repository in update mode',
  209: 'device in firmware update mode',
  210: 'BMC initialization in progress',
  211: 'destination unavailable',
  212: 'insufficient privilege level',
  213: 'not supported in present state',
  214: 'sub-function disabled or unavailable',
  255: 'unspecified error',
};

/** Codes 80h–BEh mean something else for each command; keyed by netFn << 8 | command. */
const SPECIFIC: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  // Table 22-23, Set Session Privilege Level
  1595: {
    128: 'requested level not available for this user',
    129: "requested level exceeds the channel's or the user's limit",
    130: 'cannot disable user level authentication',
  },
  // Table 22-24, Close Session
  1596: { 135: 'invalid session ID in request', 136: 'invalid session handle in request' },
  // Table 22-30, Set User Password
  1607: { 128: 'the password does not match', 129: 'the password has another length' },
  // Table 24-2, Activate Payload, and 24-4, Deactivate Payload
  1608: {
    128: 'payload already active on another session',
    129: 'payload type is disabled',
    130: 'payload activation limit reached',
    131: 'cannot activate the payload with encryption',
    132: 'cannot activate the payload without encryption',
  },
  1609: { 128: 'payload already deactivated', 129: 'payload type is disabled' },
  // Table 23-4, Get LAN Configuration Parameters
  3074: { 128: 'parameter not supported' },
  // Table 31-5 and 31-9, Get SEL Entry and Clear SEL
  2627: { 129: 'cannot execute: the SEL is being erased' },
  2631: { 129: 'cannot execute: the SEL is being erased' },
  // Tables 28-12 and 28-13, Set and Get System Boot Options
  8: { 128: 'parameter not supported', 129: 'another party is setting parameters', 130: 'parameter is read-only' },
  9: { 128: 'parameter not supported' },
};

/** `C0h (node busy)`, for people. */
export function completionName(code: number, netFn: number, command: number): string {
  const name = SPECIFIC[(netFn << 8) | command]?.[code] ?? GENERIC[code] ?? family(code);
  return `${code.toString(16).toUpperCase().padStart(2, '0')}h (${name})`;
}

/** The code behind an IPMI_COMPLETION error; undefined for all others. */
export function completionCodeOf(error: unknown): number | undefined {
  return error instanceof Error && 'completionCode' in error && typeof error.completionCode === 'number' ? error.completionCode : undefined;
}

/** The BMC asks for patience: the same command may succeed a moment later. */
export function isBusy(code: number): boolean {
  return code === CompletionCode.nodeBusy || code === CompletionCode.timeout || code === 0xd2; // D2h: BMC still initialising
}

function family(code: number): string {
  if (code >= 0x01 && code <= 0x7e) return 'device-specific (OEM) code';
  if (code >= 0x80 && code <= 0xbe) return 'command-specific code';
  return 'reserved code';
}
