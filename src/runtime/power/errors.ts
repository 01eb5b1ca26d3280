import { defineErrors, entry } from 'cdk8s-baremetal-contract';

type Bmc = { readonly bmc: string };

/** What power management tells a person. `bmc` is `address:port`; a user name is shown, a password never. */
export const powerErrors = defineErrors('POWER', {
  POWER_ACCESS_INVALID: entry<{ field: string; problem: string }>({
    message: ({ field, problem }) => `the BMC's ${field} ${problem}`,
    cure: ({ field }) => `Correct the ${field} in the machine's record`,
  }),
  POWER_GATEWAY_CLOSED: entry<Bmc>({
    message: ({ bmc }) => `a command for BMC ${bmc} came after the power gateway was closed`,
    cure: 'Create another gateway, or stop callers before it is closed',
  }),
  IPMI_NO_ANSWER: entry<Bmc & { what: string; tries: number; waitedMs: number }>({
    message: ({ bmc, what, tries, waitedMs }) =>
      `BMC ${bmc} did not answer ${what} in ${(waitedMs / 1000).toFixed(1)} s and ${tries} ${tries === 1 ? 'try' : 'tries'}`,
    cure: 'Check that the BMC has power, that its address is right and that its UDP port is open on the way; an old BMC may need a cold reset',
  }),
  IPMI_NO_RMCP_PLUS: entry<Bmc>({
    message: ({ bmc }) => `BMC ${bmc} does not speak IPMI 2.0 (RMCP+)`,
    cure: 'Enable IPMI over LAN 2.0 on the BMC, or update its firmware; version 1.5 sends passwords with weak protection and is not supported',
  }),
  IPMI_WRONG_USER: entry<Bmc & { user: string }>({
    message: ({ bmc, user }) => `BMC ${bmc} does not know the user "${user}"`,
    cure: "Correct pm_user, or enable the user on the BMC's LAN channel",
  }),
  IPMI_WRONG_PASSWORD: entry<Bmc & { user: string }>({
    message: ({ bmc, user }) => `BMC ${bmc} has another password for the user "${user}"`,
    cure: 'Correct pm_password; no further try is made until it changes or bmctl bmc retry says so, since BMCs lock accounts',
  }),
  IPMI_AUTH_HELD: entry<Bmc & { user: string; minutesLeft: number }>({
    message: ({ bmc, user, minutesLeft }) =>
      `BMC ${bmc} refused the user "${user}" before; nothing is sent to it for another ${minutesLeft} min so that it does not lock the account`,
    cure: 'Correct the credentials (a change lifts the stop at once), or correct the BMC and run bmctl bmc retry',
  }),
  IPMI_BMC_RESTING: entry<Bmc & { silences: number; secondsLeft: number }>({
    message: ({ bmc, silences, secondsLeft }) =>
      `BMC ${bmc} left ${silences} commands in a row unanswered; it is asked again in ${secondsLeft} s`,
    cure: 'Check its power, address and network; bmctl bmc retry asks it at once',
  }),
  IPMI_SOL_REFUSED: entry<Bmc & { why: string }>({
    message: ({ bmc, why }) => `BMC ${bmc} refuses the serial console: ${why}`,
    cure: "Enable Serial over LAN on the BMC and for the user, or end another person's console with --force",
  }),
  IPMI_CONSOLE_LOST: entry<Bmc & { why: string }>({
    message: ({ bmc, why }) => `the serial console of BMC ${bmc} ended: ${why}`,
    cure: 'Open it again; bmctl power status tells whether the BMC answers',
  }),
  IPMI_BOOT_NOT_KEPT: entry<Bmc & { device: string; found: string }>({
    message: ({ bmc, device, found }) => `BMC ${bmc} accepted the boot device ${device} and reads back ${found}`,
    cure: "Update the BMC's firmware, or set the boot order in the machine's own setup",
  }),
  IPMI_SEL_NOT_ERASED: entry<{ seconds: number }>({
    message: ({ seconds }) => `the BMC was told to erase its event log, and does not say after ${seconds} s that it is done`,
    cure: 'bmctl sel info tells whether it is empty; else clear it again',
  }),
  POWER_URL: entry<{ url: string; problem: string }>({
    message: ({ url, problem }) => `${url} is no address of a power driver: ${problem}`,
    cure: 'Write ipmi://ADDRESS[:PORT], redfish://HOST[:PORT], iboot://ADDRESS[:PORT]/RELAY, virtual+ssh://USER@HOST/MACHINE or virtual+exec:///MACHINE; never with a password',
  }),
  POWER_NOT_SUPPORTED: entry<{ driver: string; what: string }>({
    message: ({ driver, what }) => `the power driver ${driver} cannot ${what}`,
    cure: 'Do it by hand, or leave it: machines behind such a driver boot in the order of their own setup',
  }),
  IBOOT_REFUSED: entry<{ device: string; what: string }>({
    message: ({ device, what }) => `the iBoot ${device} refused ${what}`,
    cure: 'Check user, password and the number of the relay',
  }),
  IBOOT_NO_ANSWER: entry<{ device: string; what: string; why: string }>({
    message: ({ device, what, why }) => `the iBoot ${device} did not answer ${what}: ${why}`,
    cure: 'Check its power and address, and that TCP port 9100 is open on the way; it serves one connection at a time',
  }),
  VIRTUAL_FAILED: entry<{ machine: string; what: string; why: string }>({
    message: ({ machine, what, why }) => `${what} of the virtual machine ${machine} failed: ${why}`,
    cure: 'Run the same command by hand as the same user on the host of the machine',
  }),
  VIRTUAL_UNKNOWN: entry<{ machine: string; why: string }>({
    message: ({ machine, why }) => `the host knows no virtual machine ${machine}: ${why}`,
    cure: 'Correct the name in the address',
  }),
  REDFISH_NO_ANSWER: entry<Bmc & { why: string }>({
    message: ({ bmc, why }) => `the Redfish service ${bmc} did not answer: ${why}`,
    cure: 'Check that the BMC has power, that its address is right and that its HTTPS port is open on the way',
  }),
  REDFISH_NOT_REDFISH: entry<Bmc>({
    message: ({ bmc }) => `${bmc} speaks HTTPS and has no Redfish service`,
    cure: 'Check the address; enable Redfish on the BMC, or use ipmi://',
  }),
  REDFISH_CERTIFICATE: entry<Bmc & { why: string; sha256: string }>({
    message: ({ bmc, why, sha256 }) => `the certificate of ${bmc} is not trusted (${why}); its SHA-256 fingerprint is ${sha256}`,
    cure: 'Compare the fingerprint with the one on the BMC itself, then pin it with ?sha256=FINGERPRINT, or name the authority that signed it',
  }),
  REDFISH_WRONG_PASSWORD: entry<Bmc & { user: string }>({
    message: ({ bmc, user }) => `the Redfish service ${bmc} refuses the user "${user}" with this password`,
    cure: 'Correct user and password; no further try is made until they change or bmctl bmc retry says so, since BMCs lock accounts',
  }),
  REDFISH_PRIVILEGE: entry<Bmc & { user: string; what: string; why: string }>({
    message: ({ bmc, user, what, why }) => `the Redfish service ${bmc} does not let the user "${user}" do ${what}: ${why}`,
    cure: 'Give the user the role Operator on the BMC',
  }),
  REDFISH_REFUSED: entry<Bmc & { what: string; why: string }>({
    message: ({ bmc, what, why }) => `the Redfish service ${bmc} refused ${what}: ${why}`,
    cure: "The message is the BMC's own; a full list of sessions or a running update passes by itself",
  }),
  REDFISH_TASK: entry<Bmc & { why: string }>({
    message: ({ bmc, why }) => `a task of the Redfish service ${bmc} failed: ${why}`,
    cure: "Look at the BMC's task list and log",
  }),
  REDFISH_NOT_OFFERED: entry<Bmc & { what: string; offered: readonly string[] }>({
    message: ({ bmc, what, offered }) => `the Redfish service ${bmc} does not offer ${what}, only ${offered.join(', ') || 'nothing'}`,
    cure: 'Update its firmware, or reach the machine by ipmi://',
  }),
  REDFISH_BOOT_NOT_KEPT: entry<Bmc & { asked: string; found: string }>({
    message: ({ bmc, asked, found }) => `the Redfish service ${bmc} accepted the boot device ${asked} and reads back ${found}`,
    cure: "Update the BMC's firmware, or set the boot order in the machine's own setup",
  }),
  REDFISH_POWER_CHANGING: entry<Bmc & { state: string }>({
    message: ({ bmc, state }) => `the machine of the Redfish service ${bmc} is neither on nor off: ${state}`,
    cure: 'Look again in some seconds; a machine that stays so has a fault, or a BMC that needs a reset',
  }),
  REDFISH_SYSTEM: entry<Bmc & { systems: readonly string[] }>({
    message: ({ bmc, systems }) => `the Redfish service ${bmc} has ${systems.length} systems: ${systems.join(', ') || 'none'}`,
    cure: 'Name one in the address: redfish://HOST/redfish/v1/Systems/ID',
  }),
  REDFISH_BAD_ANSWER: entry<Bmc & { problem: string }>({
    message: ({ bmc, problem }) => `the Redfish service ${bmc} answered what cannot be used: ${problem}`,
    cure: "Update the BMC's firmware; check that no proxy answers in its place",
  }),
  IPMI_PRIVILEGE_REFUSED: entry<Bmc & { user: string; privilege: string; why: string }>({
    message: ({ bmc, user, privilege, why }) => `BMC ${bmc} refuses the user "${user}" the privilege ${privilege}: ${why}`,
    cure: "Raise the user's privilege limit on the BMC's LAN channel to at least operator",
  }),
  IPMI_CIPHER_SUITE_UNSUPPORTED: entry<Bmc & { suites: readonly number[] }>({
    message: ({ bmc, suites }) => `BMC ${bmc} accepts none of the cipher suites ${suites.join(', ')}`,
    cure: 'Enable cipher suite 17 or 3 on the BMC; suites without integrity or encryption are spoken only when one is named',
  }),
  IPMI_SESSION_REFUSED: entry<Bmc & { status: string; step: string }>({
    message: ({ bmc, status, step }) => `BMC ${bmc} refuses a session at ${step}: ${status}`,
    cure: 'Wait for its other sessions to end or time out (about a minute), or reset the BMC',
  }),
  IPMI_IMPOSTOR: entry<Bmc & { user: string }>({
    message: ({ bmc, user }) => `BMC ${bmc} accepted "${user}" but could not prove that it knows the password itself`,
    cure: 'Clear the K_G key of the BMC (two-key log-in), which is not supported and looks like this; else check who answers at this address, or what changes its packets',
  }),
  IPMI_COMPLETION: entry<Bmc & { command: string; completion: string }>({
    message: ({ bmc, command, completion }) => `BMC ${bmc} answered ${command} with ${completion}`,
    cure: 'Look the completion code up in the BMC vendor documentation; "busy" codes were already retried',
  }),
  IPMI_BAD_ANSWER: entry<Bmc & { command: string; problem: string }>({
    message: ({ bmc, command, problem }) => `BMC ${bmc} answered ${command} with a malformed packet: ${problem}`,
    cure: "Update the BMC's firmware",
  }),
});

const AUTHENTICATION_CODES: ReadonlySet<string> = new Set([
  'IPMI_WRONG_USER',
  'IPMI_WRONG_PASSWORD',
  'IPMI_IMPOSTOR',
  'IPMI_AUTH_HELD',
  'REDFISH_WRONG_PASSWORD',
]);

const PERMANENT_CODES: ReadonlySet<string> = new Set([
  ...AUTHENTICATION_CODES,
  'POWER_ACCESS_INVALID',
  'POWER_GATEWAY_CLOSED',
  'IPMI_NO_RMCP_PLUS',
  'IPMI_PRIVILEGE_REFUSED',
  'IPMI_CIPHER_SUITE_UNSUPPORTED',
  'REDFISH_NOT_REDFISH',
  'REDFISH_CERTIFICATE',
  'REDFISH_PRIVILEGE',
  'REDFISH_NOT_OFFERED',
  'REDFISH_SYSTEM',
  'POWER_URL',
  'POWER_NOT_SUPPORTED',
  'IBOOT_REFUSED',
  'VIRTUAL_UNKNOWN',
]);

/** The BMC does not accept these credentials: trying them again can lock the account. */
export function isAuthenticationFailure(error: unknown): boolean {
  return AUTHENTICATION_CODES.has(codeOf(error));
}

/** Trying again without a change of configuration cannot help. */
export function isPermanent(error: unknown): boolean {
  return PERMANENT_CODES.has(codeOf(error));
}

/** On its way from on to off or back, as it was asked: no failure, and the next look tells. */
export function isChanging(error: unknown): boolean {
  return codeOf(error) === 'REDFISH_POWER_CHANGING';
}

/** How long trying again is useless, in ms; 0 when nothing is known. */
export function retryAfterMsOf(error: unknown): number {
  return error instanceof Error && 'retryAfterMs' in error && typeof error.retryAfterMs === 'number' ? error.retryAfterMs : 0;
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
