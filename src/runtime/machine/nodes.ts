/** Enrolling machines and finding them: by id, by hardware address, by the number in a ramdisk's POST. */
import { unicastMac } from 'cdk8s-baremetal-contract/addresses';
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Clock } from '../core/clock.ts';
import { type Random, randomUuid } from '../core/random.ts';
import type { Store, Stored } from '../store/index.ts';
import { machineErrors } from './errors.ts';
import { type Instance, isIncomplete, type NodeRecord, nodeKind, RECORD_VERSION, type WipeMode } from './node-record.ts';
import { identities, nextNumber, release, reservationKind, reserve, reservedBy } from './reservations.ts';
import type { SecretStore } from './secrets.ts';
import { defaultSettings } from './settings.ts';
import { states } from './states.ts';

export interface EnrolRequest {
  readonly name: string;
  /** Any common form; the first one boots. */
  readonly macs: readonly string[];
  readonly properties: NodeRecord['properties'];
  readonly bmc: BmcOnRecord & ({ readonly password: Secret } | { readonly passwordRef: string });
  readonly rootDiskSerial?: string;
  /** Where it shall end by itself. Default `available`; `manageable` holds it until `provide` or an adoption. */
  readonly target?: 'manageable' | 'available';
  /** What to do with it first. Default: nothing. */
  readonly inspect?: boolean;
  readonly clean?: WipeMode;
  /** An instance that runs on it already: taken over once the BMC answers, without touching its power or its disk. */
  readonly adopt?: Pick<Instance, 'uuid' | 'name' | 'imageId'>;
  /** Switch and port of each interface, by any form of its hardware address. */
  readonly switchPorts?: Readonly<Record<string, { readonly datapathId: string; readonly portNo: number }>>;
  /** Default: a new one. */
  readonly uuid?: string;
}

type BmcOnRecord = Omit<NodeRecord['bmc'], 'passwordRef' | 'driver'> & { readonly driver: Exclude<NodeRecord['bmc']['driver'], 'none'> };

/** Of a machine that nobody has enrolled: without its BMC, and perhaps its sizes, it rests as `enrolled` until somebody completes it. */
export interface DiscoveredRequest extends Pick<EnrolRequest, 'name' | 'macs' | 'properties' | 'uuid'> {
  readonly discovered: NonNullable<NodeRecord['discovered']>;
}

export interface NodesContext {
  readonly store: Store;
  readonly secrets: SecretStore;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Adds a machine. Its name and hardware addresses are reserved first, as records of their own; an enrolment that fails gives them back, one that
 * dies leaves reservations that the next one takes over. The password goes into the secret store and is never given out again. A record that was only
 * discovered makes way for the enrolment of its interface.
 */
export function enrol(context: NodesContext, request: EnrolRequest): Promise<Stored<NodeRecord>> {
  return add(context, request);
}

/** The same for a machine that asked by itself. MACHINE_TAKEN when it is there already. */
export function enrolIncomplete(context: NodesContext, request: DiscoveredRequest): Promise<Stored<NodeRecord>> {
  return add(context, { ...request, bmc: { driver: 'none', address: 'none', username: '', passwordRef: 'none' }, target: 'manageable' });
}

type AddRequest = Omit<EnrolRequest, 'bmc'> & {
  readonly bmc: EnrolRequest['bmc'] | NodeRecord['bmc'];
  readonly discovered?: NodeRecord['discovered'];
};

async function add(context: NodesContext, request: AddRequest): Promise<Stored<NodeRecord>> {
  const { store, secrets, clock, random } = context;
  const uuid = request.uuid ?? randomUuid(random);
  const macs = request.macs.map((text) => {
    const mac = unicastMac(text);
    if (mac === undefined) throw machineErrors.MACHINE_INVALID({ reason: `"${text}" is not the hardware address of an interface` });
    return mac;
  });
  if (new Set(macs).size !== macs.length) throw machineErrors.MACHINE_INVALID({ reason: 'a hardware address is listed twice' });
  const passwordRef = 'passwordRef' in request.bmc ? request.bmc.passwordRef : ownPasswordRef(uuid);
  const { driver, address, port, username } = request.bmc;
  const switchPorts = new Map(Object.entries(request.switchPorts ?? {}).map(([text, port]) => [unicastMac(text) ?? text, port]));
  const { adopt } = request;
  const todo = adopt === undefined ? [...(request.inspect ? ['inspect'] : []), ...(request.clean ? ['clean'] : [])] : [];
  const now = clock.now();
  let { discovered } = request;
  const incomplete = isIncomplete(request);
  const draft = (number: number): NodeRecord =>
    nodeKind.parse({
      uuid,
      name: request.name,
      number,
      interfaces: macs.map((mac) => ({ mac, ...switchPorts.get(mac) })),
      properties: request.properties,
      bmc: { driver, address, port, username, passwordRef },
      rootDiskSerial: request.rootDiskSerial,
      recordVersion: RECORD_VERSION,
      provide: adopt === undefined && request.target !== 'manageable',
      todo,
      ...(request.clean && { wipe: request.clean }),
      ...(adopt && { adopt }),
      ...(discovered && { discovered }),
      state: 'enrolled',
      stateSince: now,
      ...(!incomplete && { stateDeadline: now + (states.enrolled.deadline(defaultSettings) ?? 0) }),
      reason: incomplete ? 'discovered; nobody has said yet where its BMC is' : 'enrolled',
    });
  validated(() => draft(1));
  if (!incomplete) requireSizes(request.properties);
  const uuidTaken = (by: NodeRecord): Error => machineErrors.MACHINE_TAKEN({ what: 'uuid', value: uuid, by: by.name });
  // Before anything is written under its name: the password of the machine that is there must stay.
  const there = request.uuid === undefined ? undefined : await store.get(nodeKind, uuid);
  if (there !== undefined) throw uuidTaken(there.value);
  if (adopt !== undefined) await refuseCarried(store, adopt.uuid, uuid);

  const taken: string[] = [];
  try {
    // what a discovery may hold comes last: an enrolment that is refused for something else leaves it as it is
    for (const { what, value } of identities(draft(1)).toSorted((a, b) => Number(a.what === 'mac') - Number(b.what === 'mac'))) {
      const before = what === 'mac' && !incomplete ? await makeWay(context, value) : undefined;
      discovered ??= before;
      await reserve(context, what, value, uuid);
      taken.push(`${what}.${value}`);
    }
    const number = await nextNumber(store);
    await reserve(context, 'number', String(number), uuid);
    taken.push(`number.${number}`);
    if ('password' in request.bmc) await secrets.write(passwordRef, request.bmc.password);
    const created = await store.create(nodeKind, uuid, draft(number));
    if (created.outcome === 'stored') return created.record;
    throw uuidTaken(created.current.value);
  } catch (error) {
    // A machine of this uuid that is there already, or that another replica has enrolled meanwhile, keeps what is its own.
    const standing = (await store.get(nodeKind, uuid))?.value;
    const kept = new Set(standing === undefined ? [] : reservedBy(standing));
    for (const id of taken) if (!kept.has(id)) await release(store, id, uuid);
    throw error;
  }
}

/**
 * Removes a machine, its reservations and its password. False when there is none, or none that `mayGo`. A machine with an instance is refused:
 * destroy that first. Nothing is powered off or wiped.
 */
export async function unenrol(
  { store, secrets }: Pick<NodesContext, 'store' | 'secrets'>,
  nodeId: string,
  mayGo: (node: NodeRecord) => boolean = () => true,
): Promise<boolean> {
  let record = await store.get(nodeKind, nodeId);
  while (record !== undefined) {
    if (!mayGo(record.value)) return false;
    const { name, instance, bmc } = record.value;
    if (instance !== undefined) throw machineErrors.MACHINE_IN_USE({ node: name, instance: instance.uuid });
    if (record.value.ramdisk !== undefined) throw machineErrors.MACHINE_BUSY({ node: name, doing: record.value.state });
    const result: Awaited<ReturnType<typeof store.delete<NodeRecord>>> = await store.delete(nodeKind, record, record.version);
    if (result.outcome === 'deleted') {
      for (const id of reservedBy(record.value)) await release(store, id, nodeId);
      if (bmc.passwordRef === ownPasswordRef(nodeId)) await secrets.remove(bmc.passwordRef);
      return true;
    }
    record = result.current;
  }
  return false;
}

export async function findNodeByNumber(store: Store, number: number): Promise<Stored<NodeRecord> | undefined> {
  const node = await follow(store, `number.${number}`);
  return node?.value.number === number ? node : undefined;
}

/** `mac` in any common form. */
export async function findNodeByMac(store: Store, mac: string): Promise<Stored<NodeRecord> | undefined> {
  const normal = unicastMac(mac);
  if (normal === undefined) return undefined;
  const node = await follow(store, `mac.${normal}`);
  return node?.value.interfaces.some((known) => known.mac === normal) ? node : undefined;
}

/** Removes the record of a machine that was discovered by this interface, and resolves to what the discovery knew. */
async function makeWay(context: NodesContext, mac: string): Promise<NodeRecord['discovered']> {
  const there = await findNodeByMac(context.store, mac);
  if (there === undefined || !isIncomplete(there.value)) return undefined;
  return (await unenrol(context, there.id, isIncomplete)) ? there.value.discovered : undefined;
}

/** Throws MACHINE_TAKEN where another machine carries this instance: who ends it by its UUID would end it on either. */
export async function refuseCarried(store: Store, instanceUuid: string, nodeId: string): Promise<void> {
  const [other] = await store.list(nodeKind, {
    where: ({ uuid, instance, adopt }) => uuid !== nodeId && (instance?.uuid === instanceUuid || adopt?.uuid === instanceUuid),
    onInvalid: () => undefined,
  });
  if (other !== undefined) throw machineErrors.MACHINE_TAKEN({ what: 'instance', value: instanceUuid, by: other.value.name });
}

function requireSizes({ cpus, memoryMb, localGb }: NodeRecord['properties']): void {
  for (const [field, size] of Object.entries({ cpus, memoryMb, localGb }))
    if (size < 1) throw machineErrors.MACHINE_INVALID({ reason: `properties.${field}: it is ${size}` });
}

/** A password that was given at enrolment; others are named by the site and stay. */
function ownPasswordRef(uuid: string): string {
  return `bmc.${uuid}`;
}

async function follow(store: Store, id: string): Promise<Stored<NodeRecord> | undefined> {
  const reservation = await store.get(reservationKind, id);
  return reservation && store.get(nodeKind, reservation.value.nodeId);
}

function validated(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    const issues = typeof error === 'object' && error !== null && 'issues' in error && Array.isArray(error.issues) ? error.issues : [];
    const reason = issues.map(({ path, message }: { path: unknown[]; message: string }) => `${path.join('.')}: ${message}`).join('; ');
    throw machineErrors.MACHINE_INVALID({ reason: reason || String(error) });
  }
}
