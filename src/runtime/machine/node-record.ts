/**
 * One machine and everything that is known of its life, as stored: the reconciler's only memory. What must change together is
 * here on one record (the association with an instance, the deployment, the owner), since the store has no larger transaction.
 * Times are wall-clock milliseconds. No secret is ever in it: passwords and keys are named, and a key is known by its hash.
 */
import { storedNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import { z } from 'zod';
import { hardwareFacts } from '../deploy/helper/facts.ts';
import type { Kind } from '../store/index.ts';

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

const time = z.number().int().nonnegative();
const state = z.enum(nodeStates);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
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

const diskIdentity = z.object({
  /** As the disk reports it (INQUIRY page 0x80); absent where a target has none. */
  serial: z.string().optional(),
  sizeBytes: z.number().int().positive(),
  /** Install generation that the disk itself carries, where it can. */
  generation: z.number().int().nonnegative().optional(),
  /** Deployment that wrote it, where the disk carries it. */
  deploymentId: z.string().optional(),
  /** What was on it before anything was written, in words; absent when it was empty. */
  holds: z.string().optional(),
});

/** A ramdisk's permission to report, once: for a deployment, and for inspection, cleaning and rescue. */
const keyShape = {
  id: z.string().min(1),
  iqn: z.string().min(1),
  /** SHA-256 of the deployment key while it may be used; gone at its first use. */
  keyHash: sha256.optional(),
  /** The same hash after its use, so that a second use is told from a wrong key. */
  usedKeyHash: sha256.optional(),
  expiresAt: time,
  /** The only address that may use the key: the lease of the machine (N4). */
  allowedAddress: z.string().optional(),
  /** The ramdisk's POST as accepted: where its disk is exported. */
  claim: z
    .object({
      address: z.string(),
      port: z.number().int(),
      lun: z.number().int(),
      at: time,
      /** Of a ramdisk that writes by itself (`direct`) and exports nothing: the disk that it chose. */
      disk: z.object({ serial: z.string().optional(), sizeBytes: z.number().int().positive() }).optional(),
    })
    .optional(),
  /** What the ramdisk reported in `e` (N1). */
  reportedError: z.string().optional(),
};

const progress = z.object({
  phase: z.enum(['write', 'verify']).optional(),
  bytes: z.number().nonnegative(),
  totalBytes: z.number().nonnegative().optional(),
  /** Since this owner began, and what is left at that rate. */
  bytesPerSecond: z.number().nonnegative().optional(),
  remainingMs: z.number().nonnegative().optional(),
  at: time,
});

const deploymentShape = {
  ...keyShape,
  /** Install generation that this deployment writes. */
  generation: z.number().int().positive(),
  imageId: z.string().min(1),
  image: z.looseObject({
    sizeBytes: z.number().int().nonnegative().optional(),
    sha256: sha256.optional(),
    /** `local`: the image boots itself from the disk; `kernel`: kernel and ramdisk come over the network at every boot. */
    boot: z.enum(['local', 'kernel']),
    /** `whole-disk`: the image brings its own partition table; `partition`: it is the root file system alone. */
    layout: z.enum(['whole-disk', 'partition']).optional(),
    /** Of a partition image: sizes in MiB; a root of 0 takes what the others leave. */
    partitions: z
      .object({
        rootMb: z.number().int().nonnegative(),
        swapMb: z.number().int().nonnegative(),
        ephemeralMb: z.number().int().nonnegative(),
      })
      .optional(),
    preserveEphemeral: z.boolean().optional(),
    /** `iscsi` (default): the deploy-helper writes to the exported disk; `direct`: the ramdisk pulls the image. */
    method: z.enum(['iscsi', 'direct']).optional(),
    /** What the instance is told (its name, network, keys, user data), as files of a partition of their own, labelled `config-2` or `cidata`. */
    configDrive: z.object({ label: z.string(), files: z.array(z.object({ path: z.string(), content: z.string() })) }).optional(),
  }),
  /** Of the method `direct`: what the ramdisk said of its work. */
  direct: z
    .object({
      /** SHA-256 of the token that reads the image. */
      tokenHash: sha256,
      bytes: z.number().nonnegative().optional(),
      heardAt: time.optional(),
      /** Of the image that it says it has written. */
      sha256: sha256.optional(),
      doneAt: time.optional(),
      error: z.string().optional(),
    })
    .optional(),
  disk: diskIdentity.optional(),
  progress: progress.optional(),
  /** Chunks of the image (SHA-256 of its raw form) that the disk has for good: where a later run goes on. */
  synced: z.object({ sha256, chunks: z.number().int().nonnegative(), at: time }).optional(),
  written: z
    .object({
      bytes: z.number().nonnegative(),
      sha256,
      /** The root file system as a kernel is told of it, e.g. `UUID=…`; of an image that boots by kernel. */
      root: z.string().optional(),
      at: time,
    })
    .optional(),
  /** The instance's own word that it is up, where ACTIVE waits for it. */
  phoneHome: z
    .object({
      url: z.string(),
      /** SHA-256 of its token while that may be used; gone at its first use. */
      tokenHash: sha256.optional(),
      /** The same hash after its use, so that a second use is told from a wrong token. */
      usedTokenHash: sha256.optional(),
      /** The end of the wait. */
      untilAt: time.optional(),
      heardAt: time.optional(),
      address: z.string().optional(),
    })
    .optional(),
  /** When the ramdisk was told "done", or the machine restarted in its place. */
  releasedAt: time.optional(),
};

/** What a ramdisk is started for beside a deployment. Also a `deployment` record as far as its key goes. */
const ramdiskShape = {
  ...keyShape,
  purpose: z.enum(['inspect', 'clean', 'rescue']),
  progress: progress.optional(),
  /** What it found (inspection), as posted and checked. */
  facts: hardwareFacts.optional(),
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
  remedies: z.array(z.object({ remedy: z.enum(['soft reset', 'power cycle', 'power on']), at: time })).default([]),
});

const transition = z.object({
  from: state,
  to: state,
  reason: z.string(),
  at: time,
  /** Time spent in `from`. */
  durationMs: z.number().nonnegative(),
});

const event = z.object({
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
const deployment = z.object(deploymentShape);
const ramdisk = z.object(ramdiskShape);

const shape = {
  recordVersion: z.number().int().positive().default(1),
  uuid: z.string().min(1),
  name: z.string().min(1),
  /** The `i` of the deploy-helper protocol: an integer that is never given to another machine. */
  number: z.number().int().positive(),
  interfaces: z
    .array(
      z.object({
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
  properties: z.object({
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
  adopt: z.object({ uuid: z.string().min(1), name: z.string().min(1), imageId: z.string().min(1) }).optional(),
  /** For the next cleaning. */
  wipe: z.enum(wipeModes).optional(),
  /** For the inspection under way: take what is found over. */
  applyFacts: z.boolean().optional(),
  /** Public keys for the rescue under way. */
  authorizedKeys: z.array(z.string()).optional(),
  /** After the cleanup of `error`: begin again with the verification. */
  recover: z.boolean().optional(),
  /** The last inspection, and where it and the record differ. */
  inspection: z.object({ at: time, facts: hardwareFacts, differences: z.array(z.string()) }).optional(),

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
  request: z.object({ verb: z.enum(verbs), at: time, args: requestArgs.optional(), by: z.string().optional() }).optional(),
  /** Last power state heard from the BMC. */
  power: z.object({ state: z.enum(['on', 'off']), at: time }).optional(),

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
    .object({
      generation: z.number().int(),
      deploymentId: z.string(),
      imageId: z.string(),
      sha256,
      disk: diskIdentity.optional(),
      at: time,
    })
    .optional(),
  lease: z.object({ mac, address: z.string(), at: time }).optional(),
  cleanup: z.object({ errors: z.array(z.string()).default([]), gaveUp: z.boolean().default(false) }).optional(),
  lastFailure: z
    .object({ instanceUuid: z.string().optional(), state, reason: z.string(), at: time, cleanupErrors: z.array(z.string()).default([]) })
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
export type Deployment = z.infer<typeof deployment>;
export type RamdiskSession = z.infer<typeof ramdisk>;
export type Instance = z.infer<typeof instance>;
export type RequestArgs = z.infer<typeof requestArgs>;
export type Fault = z.infer<typeof fault>;
export type DiskIdentity = z.infer<typeof diskIdentity>;
export type TimelineEvent = z.infer<typeof event>;
export type Transition = z.infer<typeof transition>;

/** Discovered, and not completed: without a BMC nothing is ever done to it. */
export function isIncomplete({ bmc: { driver } }: { readonly bmc: Pick<NodeRecord['bmc'], 'driver'> }): boolean {
  return driver === 'none';
}

export const nodeKind: Kind<NodeRecord> = { name: 'node', parse: (value) => loose.parse(value) };

const imageShape = {
  id: z.string().min(1),
  name: z.string(),
  format: z.enum(['raw', 'qcow2']),
  /** Where its file is: an http(s) URL, or a path in an image directory. Default: the file named by its id in [pxe] user_image_dir. */
  source: z.string().min(1).optional(),
  /** Of the file at `source` as its publisher gives it: `sha256:…` or `sha512:…`. */
  checksum: z.string().min(1).optional(),
  sizeBytes: z.number().int().positive().optional(),
  sha256: sha256.optional(),
  /** `local`: the image boots itself from the disk; `kernel`: kernel and ramdisk come from the network at every boot. */
  boot: z.enum(['local', 'kernel']).default('local'),
  kernelId: z.string().optional(),
  ramdiskId: z.string().optional(),
  /** `whole-disk` (default): brings its own partition table; `partition`: is the root file system alone. */
  layout: z.enum(['whole-disk', 'partition']).optional(),
};
const image = z.object(imageShape);
const looseImage = z.looseObject(imageShape);
export type ImageRecord = z.infer<typeof image>;
export const imageKind: Kind<ImageRecord> = { name: 'image', parse: (value) => looseImage.parse(value) };

const flavorShape = {
  id: z.string().min(1),
  name: z.string(),
  cpus: z.number().int().nonnegative(),
  memoryMb: z.number().int().nonnegative(),
  localGb: z.number().int().nonnegative(),
  cpuArch: z.string().optional(),
  deployKernelId: z.string().optional(),
  deployRamdiskId: z.string().optional(),
  /** Of partition images: the swap partition (at least 1 MiB, as in the original) and the ephemeral one. */
  swapMb: z.number().int().nonnegative().optional(),
  ephemeralGb: z.number().int().nonnegative().optional(),
  /** What a machine must be beyond its size, in nova's words: see scheduler/extra-specs.ts. */
  extraSpecs: z.record(z.string(), z.string()).optional(),
};
const flavor = z.object(flavorShape);
const looseFlavor = z.looseObject(flavorShape);
export type FlavorRecord = z.infer<typeof flavor>;
export const flavorKind: Kind<FlavorRecord> = { name: 'flavor', parse: (value) => looseFlavor.parse(value) };

/** Holds what must be unique over machines (`mac.…`, `name.…`, `number.…`): the store refuses to create an id twice. */
const reservation = z.object({ nodeId: z.string().min(1), at: time });
export type Reservation = z.infer<typeof reservation>;
export const reservationKind: Kind<Reservation> = { name: 'reservation', parse: (value) => reservation.parse(value) };

const counter = z.object({ last: z.number().int().nonnegative() });
export const counterKind: Kind<z.infer<typeof counter>> = { name: 'counter', parse: (value) => counter.parse(value) };
