import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const machineErrors = defineErrors('MACHINE', {
  MACHINE_UNKNOWN: entry<{ node: string }>({
    message: ({ node }) => `there is no machine "${node}"`,
    cure: 'List the machines, or enrol this one',
  }),
  MACHINE_TAKEN: entry<{ what: string; value: string; by: string }>({
    message: ({ what, value, by }) => `the ${what} ${value} belongs to the machine ${by} already`,
    cure: 'Correct the typo, or delete the other machine first',
  }),
  MACHINE_IN_USE: entry<{ node: string; instance: string }>({
    message: ({ node, instance }) => `the machine ${node} carries the instance ${instance}`,
    cure: 'Destroy the instance first',
  }),
  MACHINE_INVALID: entry<{ reason: string }>({
    message: ({ reason }) => `the machine's description is not valid: ${reason}`,
    cure: 'Correct the named field',
  }),
  MACHINE_NO_LIMIT: entry<{ name: string; value: number }>({
    message: ({ name, value }) => `${name} is ${value}, which would be no limit at all`,
    cure: 'Give a number above zero; pxe_deploy_timeout = 0 meant "for ever" in the original and is not supported',
  }),
  MACHINE_WRONG_DISK: entry<{ found: string; wanted: string }>({
    message: ({ found, wanted }) => `the exported disk is ${found}, not ${wanted}; nothing was written`,
    cure: 'Check the order of the disks that the ramdisk may take, or correct the root disk of the machine',
  }),
  MACHINE_CHECKSUM: entry<{ written: string; expected: string }>({
    message: ({ written, expected }) => `the written image has SHA-256 ${written}, expected ${expected}`,
    cure: 'Fetch the image again; when it happens twice, test the disk and the memory of both machines',
  }),
  MACHINE_NOTIFY: entry<{ address: string; reason: string }>({
    message: ({ address, reason }) => `the ramdisk at ${address} could not be told that the image is written: ${reason}`,
    cure: 'Nothing: the machine is restarted by its power in place of the ramdisk',
  }),
  MACHINE_STEP_TIMEOUT: entry<{ step: string; seconds: number }>({
    message: ({ step, seconds }) => `"${step}" did not end within ${seconds} s`,
    cure: 'Check the service behind this step',
  }),
  SECRET_UNKNOWN: entry<{ name: string }>({
    message: ({ name }) => `there is no secret named ${name}`,
    cure: 'Create it, or correct the name on the machine',
  }),
  SECRET_NAME: entry<{ name: string }>({
    message: ({ name }) => `"${name}" cannot name a secret`,
    cure: 'Use letters, digits, dots, dashes and underscores, starting with a letter or digit, at most 200 characters',
  }),
  SECRET_MODE: entry<{ path: string; mode: string }>({
    message: ({ path, mode }) => `the secret file ${path} may be read by others (mode ${mode})`,
    cure: 'chmod 600 the file, and change the secret if others may have read it',
  }),
});
