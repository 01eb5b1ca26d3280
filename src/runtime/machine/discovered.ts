/**
 * Machines that nobody has enrolled and that asked for a boot file, as records: with an interface, without a BMC, and so resting as `enrolled` until a
 * person completes them. One machine is one record, whichever of its interfaces asks, and whichever replica hears it.
 */
import { createHash } from 'node:crypto';
import { CodedError } from 'cdk8s-baremetal-contract';
import { type DiscoveredMachine, loaderFor } from '../boot/index.ts';
import { modify, type Store, type Stored } from '../store/index.ts';
import { isIncomplete, type NodeRecord, nodeKind } from './node-record.ts';
import { enrolIncomplete, findNodeByMac, type NodesContext } from './nodes.ts';
import { reservationKind } from './reservations.ts';

export type DiscoveryResult =
  | { readonly outcome: 'enrolled'; readonly node: string }
  /** Another interface of a machine that was discovered before. */
  | { readonly outcome: 'interface added'; readonly node: string }
  /** Its record is there, or it is one more interface of a machine that a person has completed: those are a person's to change. */
  | { readonly outcome: 'known'; readonly node: string }
  /** So many records wait for completion already. */
  | { readonly outcome: 'full'; readonly limit: number };

/** What makers leave in the field of all their boards, in either order of bytes: no identity. */
const NO_IDENTITY: ReadonlySet<string> = new Set([
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '03000200-0400-0500-0006-000700080009',
  '00020003-0004-0005-0006-000700080009',
  '12345678-1234-5678-90ab-cddeefaabbcc',
  'fefefefe-fefe-fefe-fefe-fefefefefefe',
]);
const UNAMES: Readonly<Record<string, string>> = { x86: 'i686', arm: 'armv7l', arm64: 'aarch64' };
/** A server has up to about eight ports; a UUID that more share belongs to no single one. */
const MOST_INTERFACES = 16;

/**
 * Enrols what was found, once; `limit` is of records that wait for completion, of all replicas together. Two replicas that hear the same request agree, since
 * the record's id follows from the machine's own UUID, or from the interface where it tells none; only of two different machines at one moment may each let one in.
 */
export async function enrolDiscovered(context: NodesContext, found: DiscoveredMachine, limit: number): Promise<DiscoveryResult> {
  const { store, clock } = context;
  const { mac, arch, relay } = found;
  const known = await findNodeByMac(store, mac);
  if (known !== undefined) return { outcome: 'known', node: known.value.name };
  const systemUuid = found.uuid !== undefined && !NO_IDENTITY.has(found.uuid) ? found.uuid : undefined;
  const all = await store.list(nodeKind, { onInvalid: () => undefined });
  const sibling = all.find(({ value }) => isSameMachine(value, mac, systemUuid));
  if (sibling !== undefined) return addTo(context, sibling, mac);
  if (all.filter(({ value }) => isIncomplete(value)).length >= limit) return { outcome: 'full', limit };

  const name = `discovered-${mac.replaceAll(':', '')}`;
  const uuid = uuidFor(systemUuid === undefined ? `mac ${mac}` : `system ${systemUuid}`);
  try {
    const { value } = await enrolIncomplete(context, {
      name,
      uuid,
      macs: [mac],
      properties: { cpus: 0, memoryMb: 0, localGb: 0, cpuArch: cpuOf(arch) },
      discovered: {
        at: clock.now(),
        interface: found.interface,
        ...(systemUuid !== undefined && { systemUuid }),
        ...(arch !== undefined && { arch }),
        ...(relay !== undefined && { relay }),
      },
    });
    return { outcome: 'enrolled', node: value.name };
  } catch (error) {
    if (!(error instanceof CodedError) || error.code !== 'MACHINE_TAKEN') throw error;
    // another replica heard it too and was quicker, perhaps by another interface
    const winner = (await store.get(nodeKind, uuid)) ?? (await findNodeByMac(store, mac));
    return winner === undefined ? { outcome: 'known', node: name } : addTo(context, winner, mac);
  }
}

/** Those that wait for a person, in the order of their discovery. */
export async function discoveredMachines(store: Store): Promise<readonly NodeRecord[]> {
  const waiting = await store.list(nodeKind, { where: isIncomplete, onInvalid: () => undefined });
  return waiting.map(({ value }) => value).sort((a, b) => a.number - b.number);
}

function isSameMachine({ discovered, inspection }: NodeRecord, mac: string, systemUuid: string | undefined): boolean {
  if (systemUuid !== undefined && discovered?.systemUuid === systemUuid) return true;
  return inspection?.facts.interfaces.some((found) => found.mac === mac) ?? false;
}

async function addTo({ store, clock }: NodesContext, { id, value }: Stored<NodeRecord>, mac: string): Promise<DiscoveryResult> {
  const known = { outcome: 'known', node: value.name } as const;
  const full = value.interfaces.length >= MOST_INTERFACES;
  if (!isIncomplete(value) || full || value.interfaces.some((boot) => boot.mac === mac)) return known;
  const reserved = await store.create(reservationKind, `mac.${mac}`, { nodeId: id, at: clock.now() });
  if (reserved.outcome === 'exists') return known;
  const result = await modify(store, nodeKind, id, (node) =>
    isIncomplete(node) ? { ...node, interfaces: [...node.interfaces, { mac }] } : undefined,
  );
  if (result.outcome === 'stored') return { outcome: 'interface added', node: value.name };
  await store.delete(reservationKind, reserved.record, reserved.record.version); // completed or removed meanwhile
  return known;
}

/** A UUID of its own (RFC 9562 version 8), since records are looked up by it in the boot tree; not the machine's, which is the machine's word alone. */
function uuidFor(identity: string): string {
  const hash = createHash('sha256').update(`bms-core discovery ${identity}`).digest('hex');
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}

/** As `uname -m` says it. A BIOS does not tell 32 from 64 bits, and those of today have 64. */
function cpuOf(arch: number | undefined): string {
  const cpu = arch === undefined ? undefined : loaderFor(arch)?.cpu;
  return cpu === undefined ? 'x86_64' : (UNAMES[cpu] ?? cpu);
}
