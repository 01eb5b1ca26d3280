import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const machineErrors = defineErrors('MACHINE', {
  MACHINE_UNKNOWN: entry<{ node: string }>({
    message: ({ node }) => `there is no machine "${node}"`,
    cure: 'See which there are (bmctl list), or enrol this one',
  }),
  MACHINE_TAKEN: entry<{ what: string; value: string; by: string }>({
    message: ({ what, value, by }) => `the ${what} ${value} belongs to the machine ${by} already`,
    cure: ({ by }) => `Correct the typo, or remove the other machine first (bmctl remove ${by})`,
  }),
  MACHINE_IN_USE: entry<{ node: string; instance: string }>({
    message: ({ node, instance }) => `the machine ${node} carries the instance ${instance}`,
    cure: 'Destroy the instance first',
  }),
  MACHINE_BUSY: entry<{ node: string; doing: string }>({
    message: ({ node, doing }) => `the machine ${node} has not finished something else: ${doing}`,
    cure: ({ node }) => `Wait until it has, or abort it first: bmctl abort ${node}`,
  }),
  MACHINE_WRONG_STATE: entry<{ node: string; state: string; verb: string; possible: readonly string[] }>({
    message: ({ node, state, verb }) => `"${verb}" cannot be done with the machine ${node}: it is ${state}`,
    cure: ({ possible }) => (possible.length === 0 ? 'Wait for another state' : `What can be done with it now: ${possible.join(', ')}`),
  }),
  MACHINE_NOT_IN_USE: entry<{ node: string; state: string }>({
    message: ({ node, state }) => `the machine ${node} is ${state}: only one in use is helped when it is reported as unhealthy`,
    cure: ({ node }) => `See how it is (bmctl diagnose ${node}); to keep everybody from it: bmctl maintenance on ${node}`,
  }),
  MACHINE_IN_MAINTENANCE: entry<{ node: string; reason: string }>({
    message: ({ node, reason }) => `the machine ${node} is in maintenance: ${reason}`,
    cure: ({ node }) => `End the maintenance first: bmctl maintenance off ${node}`,
  }),
  MACHINE_NOT_APPROVED: entry<{ node: string; verb: string }>({
    message: ({ node, verb }) => `"${verb}" loses what is on ${node}, and nobody has agreed to that`,
    cure: 'Look at the plan and give its hash, or say yes without looking',
  }),
  MACHINE_PLAN_CHANGED: entry<{ node: string; verb: string }>({
    message: ({ node, verb }) => `what "${verb}" would do to ${node} is no longer what was agreed to; nothing was done`,
    cure: 'Look at the new plan, and give its hash',
  }),
  MACHINE_NO_HOST: entry<{ flavor: string; refusals: readonly { readonly node: string; readonly reason: string }[] }>({
    message: ({ flavor, refusals }) =>
      refusals.length === 0
        ? `no machine is enrolled that could carry ${flavor}`
        : `none of ${refusals.length} machines can carry ${flavor}: ${refusals.map(({ node, reason }) => `${node}: ${reason}`).join('; ')}`,
    cure: 'Free or enrol a machine that fits, or ask for less',
  }),
  MACHINE_IMAGE_UNKNOWN: entry<{ image: string }>({
    message: ({ image }) => `there is no image "${image}"`,
    cure: 'See which there are (bmctl image list), or register this one (bmctl image add)',
  }),
  MACHINE_VOLUME: entry<{ volume: string; reason: string }>({
    message: ({ volume, reason }) => `the volume ${volume} cannot be attached or detached: ${reason}`,
    cure: 'Check the volume and the target service of this management node',
  }),
  MACHINE_PROGRAM: entry<{ program: string; reason: string }>({
    message: ({ program, reason }) => `"${program}" failed: ${reason}`,
    cure: 'Check that the program is installed and that its service runs',
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
    cure: 'Check the order of the disks that the ramdisk may take, or set the root disk of the machine to the serial number of the one that is meant',
  }),
  MACHINE_FOREIGN_DISK: entry<{ found: string; holds: string; wanted: string }>({
    message: ({ found, holds, wanted }) =>
      `the exported disk is ${found}, not ${wanted} as planned, and holds ${holds}; nothing was written`,
    cure: 'Set the root disk of the machine to the serial number of the disk that may be overwritten',
  }),
  MACHINE_CHECKSUM: entry<{ written: string; expected: string }>({
    message: ({ written, expected }) => `the written image has SHA-256 ${written}, expected ${expected}`,
    cure: 'Fetch the image again; when it happens twice, test the disk and the memory of both machines',
  }),
  MACHINE_DIRECT: entry<{ reason: string }>({
    message: ({ reason }) => `the ramdisk did not write the image: ${reason}`,
    cure: 'See the console of the machine for what it met; deploy again once that is cured, or by deploy_method=iscsi',
  }),
  MACHINE_NOTIFY: entry<{ address: string; reason: string }>({
    message: ({ address, reason }) => `the ramdisk at ${address} could not be told that the image is written: ${reason}`,
    cure: 'Nothing: the machine is restarted by its power in place of the ramdisk',
  }),
  MACHINE_STEP_TIMEOUT: entry<{ step: string; seconds: number }>({
    message: ({ step, seconds }) => `"${step}" did not end within ${seconds} s`,
    cure: 'Check the service behind this step',
  }),
  MACHINE_WENT_OFF: entry<{ reason: string }>({
    message: ({ reason }) => `the machine went off while its disk was being written, as its BMC says; what was seen of that: ${reason}`,
    cure: 'Look at its power supply and at its event log, and deploy again: its disk is not bootable as it is',
  }),
  MACHINE_NO_PHONE_HOME: entry<{ seconds: number; observed: string; power: string; url: string }>({
    message: ({ seconds, observed, power, url }) =>
      `the instance has not reported that it is up for ${seconds} s; ${observed}; its BMC says ${power}; it was to report to ${url}`,
    cure:
      'Look at its console: whether it started, whether it read its config drive (cloud-init or a first-boot script), and whether its network reaches that ' +
      'address. An image that cannot report is deployed with the extra spec baremetal:wait_for_phone_home = false',
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
