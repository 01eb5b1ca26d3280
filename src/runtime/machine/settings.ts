import { machineErrors } from './errors.ts';

/** The times and limits of a machine's life. Milliseconds. */
export interface MachineSettings {
  /** [baremetal] pxe_deploy_timeout: from the power-on to the ramdisk's POST. 0 was "for ever" in the original (N7); here it is refused. */
  readonly pxeDeployTimeoutMs: number;
  /** For all steps of `building` together. */
  readonly buildTimeoutMs: number;
  /** For writing one image, from the moment that a writer is free. */
  readonly writeTimeoutMs: number;
  /** From the last byte to `active`. */
  readonly completeTimeoutMs: number;
  /** How long to look out for the first boot from disk before the power state decides. */
  readonly bootObserveMs: number;
  /** How long an instance that is to report may take from its first boot to its word that it is up. */
  readonly phoneHomeTimeoutMs: number;
  /** Where instances report, without the path: `http://10.0.0.1:10000`. Absent: none is asked to. */
  readonly phoneHomeUrl?: string;
  /** From the enrolment to the BMC's answer. */
  readonly verifyTimeoutMs: number;
  /** From the start of an inspection, a rescue, a cleaning of the metadata to its end. */
  readonly inspectTimeoutMs: number;
  readonly rescueTimeoutMs: number;
  readonly cleanTimeoutMs: number;
  /** For erasing every block of a disk. */
  readonly fullCleanTimeoutMs: number;
  /** For one verb on a machine in use, all its attempts together. */
  readonly verbTimeoutMs: number;
  /** How long an operating system may take to shut down before a reboot cuts its power. */
  readonly softOffMs: number;
  readonly cleanupTimeoutMs: number;
  /** For each step of a cleanup, so that one that hangs does not cost the others their turn. */
  readonly cleanupStepMs: number;
  /** Failures in a row of one step before the state fails. */
  readonly maxAttempts: number;
  readonly retryBaseMs: number;
  readonly retryMaxMs: number;
  /** Machines worked on at once, whatever they do. */
  readonly maxConcurrent: number;
  /** Images written at once. */
  readonly maxWrites: number;
  /**
   * Which address may use a deployment key: `lease` asks for a lease seen by the DHCP plane; `source` is for sites whose leases
   * are not seen (static addresses), and only asks that the POST comes from the address that it names.
   */
  readonly addressCheck: 'lease' | 'source';
  /** [baremetal] iscsi_iqn_prefix of the targets that ramdisks export; the original used `iqn-<uuid>`, which is no valid name. */
  readonly iqnPrefix: string;
  /** What is erased when an instance is gone, before the machine is free again. `none` is what the original did. */
  readonly cleanAfterDestroy: 'none' | 'metadata' | 'full';
}

export const defaultSettings: MachineSettings = {
  pxeDeployTimeoutMs: 1_800_000,
  buildTimeoutMs: 1_800_000,
  writeTimeoutMs: 3_600_000,
  completeTimeoutMs: 900_000,
  bootObserveMs: 300_000,
  phoneHomeTimeoutMs: 900_000,
  verifyTimeoutMs: 600_000,
  inspectTimeoutMs: 1_800_000,
  rescueTimeoutMs: 1_800_000,
  cleanTimeoutMs: 1_800_000,
  fullCleanTimeoutMs: 86_400_000,
  verbTimeoutMs: 1_800_000,
  softOffMs: 120_000,
  cleanupTimeoutMs: 1_800_000,
  cleanupStepMs: 120_000,
  maxAttempts: 5,
  retryBaseMs: 1_000,
  retryMaxMs: 60_000,
  maxConcurrent: 64,
  maxWrites: 8,
  addressCheck: 'lease',
  iqnPrefix: 'iqn.2010-10.org.openstack.baremetal',
  cleanAfterDestroy: 'none',
};

/** Every limit is a positive number: a wait without end is what machines are lost in. */
export function checkedSettings(settings: MachineSettings): MachineSettings {
  for (const [name, value] of Object.entries(settings)) {
    if (typeof value === 'number' && !(value > 0)) throw machineErrors.MACHINE_NO_LIMIT({ name, value });
  }
  return settings;
}
