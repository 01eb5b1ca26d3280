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
    cure: 'Check that the BMC has power, that its address is right and that UDP port 623 is open on the way; an old BMC may need a cold reset',
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
    cure: 'Correct pm_password; no further try is made until it changes or the cool-down ends, since BMCs lock accounts',
  }),
  IPMI_AUTH_HELD: entry<Bmc & { user: string; secondsLeft: number }>({
    message: ({ bmc, user, secondsLeft }) =>
      `the user "${user}" failed to log in to BMC ${bmc} before; the next try waits another ${secondsLeft} s so that the BMC does not lock the account`,
    cure: 'Correct the credentials: a change lifts the wait at once',
  }),
  IPMI_PRIVILEGE_REFUSED: entry<Bmc & { user: string; privilege: string; why: string }>({
    message: ({ bmc, user, privilege, why }) => `BMC ${bmc} refuses the user "${user}" the privilege ${privilege}: ${why}`,
    cure: "Raise the user's privilege limit on the BMC's LAN channel to at least operator",
  }),
  IPMI_CIPHER_SUITE_UNSUPPORTED: entry<Bmc & { suites: readonly number[] }>({
    message: ({ bmc, suites }) => `BMC ${bmc} accepts none of the cipher suites ${suites.join(', ')}`,
    cure: 'Enable cipher suite 17 or 3 on the BMC; suites without integrity or encryption are not supported',
  }),
  IPMI_SESSION_REFUSED: entry<Bmc & { status: string; step: string }>({
    message: ({ bmc, status, step }) => `BMC ${bmc} refuses a session at ${step}: ${status}`,
    cure: 'Wait for its other sessions to end or time out (about a minute), or reset the BMC',
  }),
  IPMI_IMPOSTOR: entry<Bmc & { user: string }>({
    message: ({ bmc, user }) => `BMC ${bmc} accepted "${user}" but could not prove that it knows the password itself`,
    cure: 'Check who answers at this address: the machine there is not the BMC, or something changes its packets',
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

const AUTHENTICATION_CODES: ReadonlySet<string> = new Set(['IPMI_WRONG_USER', 'IPMI_WRONG_PASSWORD', 'IPMI_IMPOSTOR', 'IPMI_AUTH_HELD']);

const PERMANENT_CODES: ReadonlySet<string> = new Set([
  ...AUTHENTICATION_CODES,
  'POWER_ACCESS_INVALID',
  'POWER_GATEWAY_CLOSED',
  'IPMI_NO_RMCP_PLUS',
  'IPMI_PRIVILEGE_REFUSED',
  'IPMI_CIPHER_SUITE_UNSUPPORTED',
]);

/** The BMC does not accept these credentials: trying them again can lock the account. */
export function isAuthenticationFailure(error: unknown): boolean {
  return AUTHENTICATION_CODES.has(codeOf(error));
}

/** Trying again without a change of configuration cannot help. */
export function isPermanent(error: unknown): boolean {
  return PERMANENT_CODES.has(codeOf(error));
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
