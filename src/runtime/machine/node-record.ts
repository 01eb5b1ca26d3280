/**
 * One machine and everything that is known of its life, as stored: the reconciler's only memory. What must change together is
 * here on one record (the association with an instance, the deployment, the owner), since the store has no larger transaction.
 * Times are wall-clock milliseconds. No secret is ever in it: passwords and keys are named, and a key is known by its hash.
 */
import { storedNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import { z } from 'zod';
import { hardwareFacts } from '../deploy/helper/facts.ts';
import type { Kind } from '../store/index.ts';
import { deployment, deploymentShape, diskIdentity, ramdisk, ramdiskShape, sha256, time } from './deployment-record.ts';

/**
 * The seed's states, and ours around them: enrolment, inspection, cleaning, rescue, adoption, `available` (its NULL: enrolled
 * and free) and `deleting` (a destroy under way).
 */
export const nodeStates = [
  'enrolled',
  'verifying',
  'manageable',
  'inspecting',
  'initializing',
  'available',
  'building',
  'prepared',
  'deploying',
  'deploy complete',
  'deploy failed',
  'active',
  'rescuing',
  'rescue',
  'unrescuing',
  'adopting',
  'deleting',
  'deleted',
  'cleaning',
  'error',
] as const;
export type NodeState = (typeof nodeStates)[number];

/** What may be asked of a machine that is enrolled. Spawn and adopt are associations, not requests. */
export const verbs = [
  'destroy',
  'retry',
  'abort',
  'unstick',
  'reboot',
  'power on',
  'power off',
  'attach volume',
  'detach volume',
  'plug vifs',
  'rebuild',
  'rescue',
  'unrescue',
  'inspect',
  'clean',
  'manage',
  'provide',
] as const;
export type Verb = (typeof verbs)[number];

export const wipeModes = ['metadata', 'full'] as const;
/** `metadata`: partition tables and superblocks at both ends of the disk; `full`: every block. */
export type WipeMode = (typeof wipeModes)[number];

/**
 * Rises when a record can no longer be understood by the program before: that one then leaves the machine alone. Fields that are merely new do not
 * raise it; an older program keeps them as they are.
 */
export const RECORD_VERSION = 1;

export const HISTORY_LIMIT = 50;
export const TIMELINE_LIMIT = 100;

const state = z.enum(nodeStates);
const mac = z.string().regex(/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/);

const bmcShape = {
  /** `none`: discovered, and nobody has said yet where its BMC is. */
  driver: z.enum(['ipmi', 'redfish', 'iboot', 'virtual', 'none']),
  address: z.string().min(1),
  port: z.number().int().min(1).max(65535).optional(),
  username: z.string(),
  /** Name of the password in the SecretSource. */
  passwordRef: z.string().min(1),
};

const instanceShape = {
  uuid: z.string().min(1),
  name: z.string().min(1),
  imageId: z.string().min(1),
  flavorId: z.string().optional(),
  /** Virtual interfaces to plug, one physical interface each. */
  vifs: z.array(z.string()).default([]),
  /** Volumes to attach. */
  volumes: z.array(z.string()).default([]),
  /** Where the instance expects a volume, e.g. `/dev/vdb`; goes into the target's name as in the original. */
  mountpoints: z.record(z.string(), z.string()).optional(),
  /** Addresses that it is handed, on the kernel command line or in its config drive. */
  network: storedNetwork.optional(),
  /** It ran before it was ours: taken over, never written. */
  adopted: z.boolean().optional(),
  /** The next deployment leaves the ephemeral partition as it is; it must be there. */
  preserveEphemeral: z.boolean().optional(),
  at: time,
};

/** What a request says beside its verb. */
const requestArgs = z.looseObject({
  /** reboot: `soft` asks the operating system first and cuts the power when it does not listen in time. */
  mode: z.enum(['soft', 'hard']).optional(),
  /** rebuild */
  imageId: z.string().min(1).optional(),
  preserveEphemeral: z.boolean().optional(),
  /** attach volume, detach volume */
  volume: z.string().min(1).optional(),
  mountpoint: z.string().min(1).optional(),
  /** plug vifs: all that shall be plugged afterwards. */
  vifs: z.array(z.string()).optional(),
  /** clean */
  wipe: z.enum(wipeModes).optional(),
  /** inspect: take the properties that were found over into the record. */
  apply: z.boolean().optional(),
  /** rescue: public keys that may log in. */
  authorizedKeys: z.array(z.string()).optional(),
});

const fault = z.looseObject({
  kind: z.enum(['bmc unreachable', 'power lost', 'unhealthy']),
  reason: z.string(),
  since: time,
  /** Disruptive remedies that were tried, oldest first. */
  remedies: z.array(z.looseObject({ remedy: z.enum(['soft reset', 'power cycle', 'power on']), at: time })).default([]),
});

const transition = z.looseObject({
  from: state,
  to: state,
  reason: z.string(),
  at: time,
  /** Time spent in `from`. */
  durationMs: z.number().nonnegative(),
});

const event = z.looseObject({
  at: time,
  type: z.string(),
  detail: z.string().optional(),
  /** What the boot plane answered: deploy ramdisk, the instance's kernel, or its own disk. */
  intent: z.enum(['deploy', 'boot', 'local', 'none']).optional(),
  /** The same thing seen again in a row is counted, not listed. */
  count: z.number().int().positive().default(1),
  lastAt: time.optional(),
});

const bmc = z.object(bmcShape);
const instance = z.object(instanceShape);

const shape = {
  recordVersion: z.number().int().positive().default(1),
  uuid: z.string().min(1),
  name: z.string().min(1),
  /** The `i` of the deploy-helper protocol: an integer that is never given to another machine. */
  number: z.number().int().positive(),
  interfaces: z
    .array(
      z.looseObject({
        mac,
        /** Address reserved for it on the provisioning network. */
        address: z.string().optional(),
        /** Virtual interface of the instance that is plugged into it. */
        vif: z.string().optional(),
        /** Where its cable ends: the switch, and the port on it. */
        datapathId: z.string().optional(),
        portNo: z.number().int().nonnegative().optional(),
      }),
    )
    .min(1),
  /** Sizes of 0: discovered, and not known yet. */
  properties: z.looseObject({
    cpus: z.number().int().nonnegative(),
    memoryMb: z.number().int().nonnegative(),
    localGb: z.number().int().nonnegative(),
    cpuArch: z.string().min(1),
    capabilities: z.record(z.string(), z.string()).optional(),
  }),
  bmc,
  /** It asked for a boot file before anybody had enrolled it: what its firmware said then. */
  discovered: z
    .looseObject({
      at: time,
      /** SMBIOS UUID (DHCP option 97): the same on all its interfaces. */
      systemUuid: z.string().optional(),
      /** DHCP option 93. */
      arch: z.number().int().optional(),
      /** Of the management node, that heard it. */
      interface: z.string(),
      relay: z.string().optional(),
    })
    .optional(),
  /** Serial of the disk that may be written; any disk while absent. */
  rootDiskSerial: z.string().optional(),
  /** Keeps the controllers from changing its power or disks. */
  maintenance: z.boolean().default(false),
  maintenanceReason: z.string().optional(),
  /** What is wrong with it as far as anybody knows: set and cleared by the power sync and by who watches its health. */
  fault: fault.optional(),

  /** Goes on from `manageable` to `available` by itself. */
  provide: z.boolean().default(true),
  /** What is to be done in `manageable` first, in this order. */
  todo: z.array(z.enum(['inspect', 'clean'])).default([]),
  /** An instance that runs on it already and is to be taken over. Not associated yet: a failure before that must touch nothing. */
  adopt: z.looseObject({ uuid: z.string().min(1), name: z.string().min(1), imageId: z.string().min(1) }).optional(),
  /** For the next cleaning. */
  wipe: z.enum(wipeModes).optional(),
  /** For the inspection under way: take what is found over. */
  applyFacts: z.boolean().optional(),
  /** Public keys for the rescue under way. */
  authorizedKeys: z.array(z.string()).optional(),
  /** After the cleanup of `error`: begin again with the verification. */
  recover: z.boolean().optional(),
  /** The last inspection, and where it and the record differ. */
  inspection: z.looseObject({ at: time, facts: hardwareFacts, differences: z.array(z.string()) }).optional(),

  state,
  targetState: state.optional(),
  stateSince: time,
  /** Absent: the state may last. */
  stateDeadline: time.optional(),
  reason: z.string(),
  /** Within a state of several steps: the one to do next. */
  step: z.string().optional(),
  stepArgs: requestArgs.optional(),
  attempts: z.number().int().nonnegative().default(0),
  nextAttemptAt: time.optional(),
  /** What a person or the API asked for and the owner has not begun yet. */
  request: z.looseObject({ verb: z.enum(verbs), at: time, args: requestArgs.optional(), by: z.string().optional() }).optional(),
  /** Last power state heard from the BMC. */
  power: z.looseObject({ state: z.enum(['on', 'off']), at: time }).optional(),

  /** Member id of the replica that drives this machine. */
  owner: z.string().optional(),
  /** Rises with every change of owner. */
  epoch: z.number().int().nonnegative().default(0),

  instance: instance.optional(),
  /** Install generation: rises with every association, so that an old writer can be told. */
  generation: z.number().int().nonnegative().default(0),
  deployment: deployment.optional(),
  /** The ramdisk of an inspection, a cleaning or a rescue. */
  ramdisk: ramdisk.optional(),
  /** What the last completed deployment left on the root disk. */
  installed: z
    .looseObject({
      generation: z.number().int(),
      deploymentId: z.string(),
      imageId: z.string(),
      sha256,
      disk: diskIdentity.optional(),
      at: time,
    })
    .optional(),
  lease: z.looseObject({ mac, address: z.string(), at: time }).optional(),
  cleanup: z.looseObject({ errors: z.array(z.string()).default([]), gaveUp: z.boolean().default(false) }).optional(),
  lastFailure: z
    .looseObject({
      instanceUuid: z.string().optional(),
      state,
      reason: z.string(),
      at: time,
      cleanupErrors: z.array(z.string()).default([]),
    })
    .optional(),

  history: z.array(transition).default([]),
  timeline: z.array(event).default([]),
};

const strict = z.object(shape);
/** Fields of a newer minor version are kept as they are: while replicas are upgraded, the old one must not erase them. */
const loose = z.looseObject({
  ...shape,
  bmc: z.looseObject(bmcShape),
  instance: z.looseObject(instanceShape).optional(),
  deployment: z.looseObject(deploymentShape).optional(),
  ramdisk: z.looseObject(ramdiskShape).optional(),
});

export type NodeRecord = z.infer<typeof strict>;
export type Instance = z.infer<typeof instance>;
export type RequestArgs = z.infer<typeof requestArgs>;
export type Fault = z.infer<typeof fault>;
export type TimelineEvent = z.infer<typeof event>;
export type Transition = z.infer<typeof transition>;

/** Discovered, and not completed: without a BMC nothing is ever done to it. */
export function isIncomplete({ bmc: { driver } }: { readonly bmc: Pick<NodeRecord['bmc'], 'driver'> }): boolean {
  return driver === 'none';
}

export const nodeKind: Kind<NodeRecord> = { name: 'node', parse: (value) => loose.parse(value) };
