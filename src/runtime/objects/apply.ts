/**
 * The steps, each by the way that the API takes for the same thing: its enrolment, its corrections, its interfaces, its maintenance. So what the API
 * refuses is refused here, with the same code. Repeatable; a step that is cut off is finished by the next one to try.
 */
import { apiErrors, Refusal } from '../api/errors.ts';
import { updated } from '../api/handlers/nodes.ts';
import { addInterface, DEPLOYING, removeInterface, reserving } from '../api/interfaces.ts';
import { enrol, machineErrors, type NodeRecord, type NodesContext, nodeKind, setMaintenance } from '../machine/index.ts';
import { modify } from '../store/index.ts';
import { MAINTENANCE_BY_SPEC } from './decide.ts';
import type { WantedMachine } from './wanted.ts';

/** Of a machine's record: what an object's spec says. */
const FIELDS = ['interfaces', 'bmc', 'properties', 'maintenance'] as const;
type Field = (typeof FIELDS)[number];

export async function enrolWanted(context: NodesContext, uuid: string, { name, macs, properties, bmc }: WantedMachine): Promise<void> {
  const there = await context.store.get(nodeKind, uuid);
  if (there === undefined) await enrol(context, { uuid, name, macs, properties, bmc });
}

/** Brings a machine's record to what is wanted: what can be refused first, and nothing that changes power or disks. Tells what is different now. */
export async function applyWanted(context: NodesContext, uuid: string, wanted: WantedMachine): Promise<readonly Field[]> {
  const { store, clock } = context;
  const before = await nodeOf(context, uuid);
  let node = before;
  for (const mac of wanted.macs) if (!has(node, mac)) node = (await addInterface({ store, clock }, uuid, { mac })).value;
  for (const { mac } of node.interfaces) if (!wanted.macs.includes(mac)) node = (await removeInterface({ store, clock }, uuid, mac)).value;
  await orderInterfaces(context, uuid, wanted);
  await correct(context, uuid, wanted);
  if (wanted.maintenance && !node.maintenance) await setMaintenance({ store, clock }, uuid, true, MAINTENANCE_BY_SPEC);
  if (!wanted.maintenance && node.maintenanceReason === MAINTENANCE_BY_SPEC) await setMaintenance({ store, clock }, uuid, false);
  const after = await nodeOf(context, uuid);
  return FIELDS.filter((field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]));
}

/** The user name alone: it is in the Secret, which changes without the object. */
export async function renameUser({ store }: NodesContext, uuid: string, username: string): Promise<void> {
  await modify(store, nodeKind, uuid, (node) => ({ ...node, bmc: { ...node.bmc, username } }));
}

async function correct({ store, clock }: NodesContext, uuid: string, { properties, bmc }: WantedMachine): Promise<void> {
  const { passwordRef, ...access } = bmc;
  const corrected = (node: NodeRecord): NodeRecord => {
    const next = updated(node, { properties, bmc: access }, passwordRef);
    return JSON.stringify(next) === JSON.stringify(node) ? node : next;
  };
  const node = await nodeOf({ store }, uuid);
  if (corrected(node) === node) return;
  await reserving({ store, clock }, corrected(node), () =>
    modify(store, nodeKind, uuid, (latest) => {
      const next = corrected(latest);
      return next === latest ? undefined : next;
    }),
  );
}

/** The first one boots, so their order counts, and the reserved address is its. */
async function orderInterfaces({ store }: NodesContext, uuid: string, { macs, address }: WantedMachine): Promise<void> {
  await modify(store, nodeKind, uuid, (node) => {
    const interfaces = macs.flatMap((mac, index) =>
      node.interfaces.filter((known) => known.mac === mac).map((known) => withAddress(known, index === 0 ? address : known.address)),
    );
    if (interfaces.length !== node.interfaces.length || JSON.stringify(interfaces) === JSON.stringify(node.interfaces.map(inOrder)))
      return undefined;
    if (DEPLOYING.has(node.state)) throw new Refusal(apiErrors.API_DEPLOYING({ node: node.name, state: node.state }));
    return { ...node, interfaces };
  });
}

type Interface = NodeRecord['interfaces'][number];

/** Its address comes last, so that two of the same have the same text. */
function withAddress(known: Interface, address: string | undefined): Interface {
  const { address: _before, ...rest } = known;
  return { ...rest, mac: known.mac, ...(address !== undefined && { address }) };
}

function inOrder(known: Interface): Interface {
  return withAddress(known, known.address);
}

function has(node: NodeRecord, mac: string): boolean {
  return node.interfaces.some((known) => known.mac === mac);
}

async function nodeOf({ store }: Pick<NodesContext, 'store'>, uuid: string): Promise<NodeRecord> {
  const node = await store.get(nodeKind, uuid);
  if (node === undefined) throw machineErrors.MACHINE_UNKNOWN({ node: uuid });
  return node.value;
}
