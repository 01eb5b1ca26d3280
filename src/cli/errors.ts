/** What bmctl's commands say when they cannot do what they were asked; each with what helps. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const commandErrors = defineErrors('bmctl commands', {
  BMCTL_UNCONFIRMED: entry<{ what: string; plan?: string }>({
    message: ({ what }) => `nothing was done: ${what} wants a confirmation`,
    cure: ({ plan }) => (plan === undefined ? 'Add --yes' : `Add --plan ${plan}, or --yes without looking`),
  }),
  BMCTL_FAILED: entry<{ name: string; why: string }>({
    message: ({ why }) => why,
    cure: ({ name }) => `bmctl diagnose ${name} says what helps, bmctl timeline ${name} what was seen`,
  }),
  BMCTL_TIMEOUT: entry<{ name: string; seconds: number }>({
    message: ({ name, seconds }) => `${name} is not yet where it shall be after ${seconds} s`,
    cure: ({ name }) => `bmctl diagnose ${name} says how it is; it goes on without us`,
  }),
  BMCTL_NO_CONFIG: entry<{ file: string }>({
    message: ({ file }) => `there is no configuration ${file}`,
    cure: 'Name another with --config; of bmctl db, the store with --store',
  }),
  BMCTL_FILE_NOT_WRITTEN: entry<{ path: string; why: string }>({
    message: ({ path, why }) => `${path} cannot be written: ${why}`,
    cure: 'Name a file in a folder that is there and that you may write to',
  }),
  BMCTL_NETWORK: entry<{ path: string; why: string }>({
    message: ({ path, why }) => `${path} is no network of an instance: ${why}`,
    cure: 'docs/operate.md has an example',
  }),
  BMCTL_NOTHING: entry<Record<never, never>>({ message: () => 'nothing is to be corrected', cure: 'Give an option; --help lists them' }),
  BMCTL_NO_REASON: entry<Record<never, never>>({
    message: () => 'a fault is reported with a reason',
    cure: 'Add --reason TEXT, or --clear to end it',
  }),
  BMCTL_PREFLIGHT: entry<{ faults: number; checks: number }>({
    message: ({ faults, checks }) => `${faults} of ${checks} checks failed`,
    cure: 'Do what the arrows say, and run it again',
  }),
  BMCTL_POWER: entry<{ looks: number; why: string }>({
    message: ({ looks, why }) => `the machine did not get there in ${looks} looks: ${why}`,
    cure: 'Look at the machine itself; bmctl sel list may say why',
  }),
  BMCTL_ONLY_IPMI: entry<{ what: string; driver: string }>({
    message: ({ what, driver }) => `${what} needs an ipmi:// address, this is ${driver}`,
    cure: 'Ask the BMC itself',
  }),
  BMCTL_CIPHER: entry<{ suite: string }>({
    message: ({ suite }) => `there is no cipher suite ${suite} here`,
    cure: 'Name 17, 3, 2, 1 or 0',
  }),
  BMCTL_BMC_PASSWORD: entry<{ user: number }>({
    message: ({ user }) => `user ${user} has another password`,
    cure: 'Set it with bmctl bmc password set',
  }),
  BMCTL_NO_TERMINAL: entry<Record<never, never>>({
    message: () => 'a console needs a terminal, and this is none',
    cure: 'Run it in a terminal',
  }),
});
