/**
 * One machine and everything that is known of its life, as stored: the reconciler's only memory. What must change together is
 * here on one record (the association with an instance, the deployment, the owner), since the store has no larger transaction.
 * Times are wall-clock milliseconds. No secret is ever in it: passwords and keys are named, and a key is known by its hash.
 */
import { z } from 'zod';
import type { Kind } from '../store/index.ts';

/** The seed's states, and two of ours: `available` (its NULL: enrolled and free) and `deleting` (a destroy under way). */
export const nodeStates = [
  'initializing',
  'available',
  'building',
  'prepared',
  'deploying',
  'deploy complete',
  'deploy failed',
  'active',
  'deleting',
  'deleted',
  'error',
] as const;
export type NodeState = (typeof nodeStates)[number];

/** What may be asked of a machine that is enrolled. */
export const verbs = ['destroy', 'retry', 'reboot', 'power on', 'power off'] as const;
export type Verb = (typeof verbs)[number];

export const HISTORY_LIMIT = 50;
export const TIMELINE_LIMIT = 100;

const time = z.number().int().nonnegative();
const state = z.enum(nodeStates);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const mac = z.string().regex(/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/);

const bmc = z.object({
  driver: z.enum(['ipmi', 'redfish', 'iboot', 'virtual']),
  address: z.string().min(1),
  port: z.number().int().min(1).max(65535).optional(),
  username: z.string(),
  /** Name of the password in the SecretSource. */
  passwordRef: z.string().min(1),
});

const instance = z.object({
  uuid: z.string().min(1),
  name: z.string().min(1),
  imageId: z.string().min(1),
  flavorId: z.string().optional(),
  /** Virtual interfaces to plug, one physical interface each. */
  vifs: z.array(z.string()).default([]),
  /** Volumes to attach. */
  volumes: z.array(z.string()).default([]),
  at: time,
});

const diskIdentity = z.object({
  /** As the disk reports it (INQUIRY page 0x80); absent where a target has none. */
  serial: z.string().optional(),
  sizeBytes: z.number().int().positive(),
  /** Install generation that the disk itself carries, where it can. */
  generation: z.number().int().nonnegative().optional(),
  /** Deployment that wrote it, where the disk carries it. */
  deploymentId: z.string().optional(),
});

const deployment = z.object({
  id: z.string().min(1),
  /** Install generation that this deployment writes. */
  generation: z.number().int().positive(),
  imageId: z.string().min(1),
  image: z.object({
    sizeBytes: z.number().int().nonnegative().optional(),
    sha256: sha256.optional(),
    /** `local`: the image boots itself from the disk; `kernel`: kernel and ramdisk come over the network at every boot. */
    boot: z.enum(['local', 'kernel']),
  }),
  iqn: z.string().min(1),
  /** SHA-256 of the deployment key while it may be used; gone at its first use. */
  keyHash: sha256.optional(),
  /** The same hash after its use, so that a second use is told from a wrong key. */
  usedKeyHash: sha256.optional(),
  expiresAt: time,
  /** The only address that may use the key: the lease of the machine (N4). */
  allowedAddress: z.string().optional(),
  /** The ramdisk's POST as accepted: where its disk is exported. */
  claim: z.object({ address: z.string(), port: z.number().int(), lun: z.number().int(), at: time }).optional(),
  /** What the ramdisk reported in `e` (N1). */
  reportedError: z.string().optional(),
  disk: diskIdentity.optional(),
  progress: z.object({ bytes: z.number().nonnegative(), totalBytes: z.number().nonnegative().optional(), at: time }).optional(),
  written: z
    .object({
      bytes: z.number().nonnegative(),
      sha256,
      /** The root file system as a kernel is told of it, e.g. `UUID=…`; of an image that boots by kernel. */
      root: z.string().optional(),
      at: time,
    })
    .optional(),
  /** When the ramdisk was told "done", or the machine restarted in its place. */
  releasedAt: time.optional(),
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

const shape = {
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
      }),
    )
    .min(1),
  properties: z.object({
    cpus: z.number().int().positive(),
    memoryMb: z.number().int().positive(),
    localGb: z.number().int().positive(),
    cpuArch: z.string().min(1),
    capabilities: z.record(z.string(), z.string()).optional(),
  }),
  bmc,
  /** Serial of the disk that may be written; any disk while absent. */
  rootDiskSerial: z.string().optional(),
  /** Keeps the controllers from changing its power or disks. */
  maintenance: z.boolean().default(false),

  state,
  targetState: state.optional(),
  stateSince: time,
  /** Absent: the state may last. */
  stateDeadline: time.optional(),
  reason: z.string(),
  /** Within a state of several steps: the one to do next. */
  step: z.string().optional(),
  attempts: z.number().int().nonnegative().default(0),
  nextAttemptAt: time.optional(),
  /** What a person or the API asked for and the owner has not begun yet. */
  request: z.object({ verb: z.enum(verbs), at: time }).optional(),
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
const loose = z.looseObject(shape);

export type NodeRecord = z.infer<typeof strict>;
export type Deployment = z.infer<typeof deployment>;
export type Instance = z.infer<typeof instance>;
export type DiskIdentity = z.infer<typeof diskIdentity>;
export type TimelineEvent = z.infer<typeof event>;
export type Transition = z.infer<typeof transition>;

export const nodeKind: Kind<NodeRecord> = { name: 'node', parse: (value) => loose.parse(value) };

const image = z.object({
  id: z.string().min(1),
  name: z.string(),
  format: z.enum(['raw', 'qcow2']),
  sizeBytes: z.number().int().positive().optional(),
  sha256: sha256.optional(),
  /** `local`: the image boots itself from the disk; `kernel`: kernel and ramdisk come from the network at every boot. */
  boot: z.enum(['local', 'kernel']).default('local'),
  kernelId: z.string().optional(),
  ramdiskId: z.string().optional(),
});
export type ImageRecord = z.infer<typeof image>;
export const imageKind: Kind<ImageRecord> = { name: 'image', parse: (value) => image.parse(value) };

const flavor = z.object({
  id: z.string().min(1),
  name: z.string(),
  cpus: z.number().int().nonnegative(),
  memoryMb: z.number().int().nonnegative(),
  localGb: z.number().int().nonnegative(),
  cpuArch: z.string().optional(),
  deployKernelId: z.string().optional(),
  deployRamdiskId: z.string().optional(),
});
export type FlavorRecord = z.infer<typeof flavor>;
export const flavorKind: Kind<FlavorRecord> = { name: 'flavor', parse: (value) => flavor.parse(value) };

/** Holds what must be unique over machines (`mac.…`, `name.…`, `number.…`): the store refuses to create an id twice. */
const reservation = z.object({ nodeId: z.string().min(1), at: time });
export type Reservation = z.infer<typeof reservation>;
export const reservationKind: Kind<Reservation> = { name: 'reservation', parse: (value) => reservation.parse(value) };

const counter = z.object({ last: z.number().int().nonnegative() });
export const counterKind: Kind<z.infer<typeof counter>> = { name: 'counter', parse: (value) => counter.parse(value) };
