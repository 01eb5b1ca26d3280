/** Instances: an image on a machine. The machine's record holds the association, so of two spawns one is refused. */
import type { BodyOf, InstanceView } from 'cdk8s-baremetal-contract/api/index';
import { isoTime } from '../../core/iso-time.ts';
import { randomUuid } from '../../core/random.ts';
import { ask, type ImageRecord, type NodeRecord, nodeKind, refuseVerb, schedule, spawn } from '../../machine/index.ts';
import { refuseNetwork, spawnRequest } from '../../machine/verbs.ts';
import type { HandlersOf } from '../call.ts';
import { apiErrors, Refusal } from '../errors.ts';
import { nodeOf } from '../find-node.ts';
import { nodeSummary } from '../node-view.ts';
import { page } from '../pages.ts';
import { confirmed, planView } from '../plan.ts';
import { flavorOf, imageOf } from './catalog.ts';
import type { HandlerContext } from './context.ts';
import { guarded } from './nodes.ts';

type InstanceOperation = 'listInstances' | 'spawnInstance' | 'showInstance' | 'destroyInstance' | 'plan';
type Wish = Pick<BodyOf<'spawnInstance'>, 'imageId' | 'flavorId' | 'node' | 'spread' | 'network'>;

interface Choice {
  /** Best first; one when the machine was named. */
  readonly nodes: readonly NodeRecord[];
  readonly image: ImageRecord;
}

export function instanceHandlers(context: HandlerContext): HandlersOf<InstanceOperation> {
  const { store, clock, random, index, settings } = context;

  const choose = async (instanceUuid: string, { imageId, flavorId, node, spread, network }: Wish): Promise<Choice> => {
    const { value: image } = await imageOf(context, imageId);
    const named = node === undefined ? undefined : (await nodeOf(store, node)).value;
    if (flavorId === undefined) return { nodes: fitting(named ? [named] : [], network), image };
    const { value: flavor } = await flavorOf(context, flavorId);
    const nodes = (await store.list(nodeKind, { onInvalid: () => undefined })).map(({ value }) => value);
    const { candidates, refusals } = schedule(nodes, {
      instanceUuid,
      flavor,
      ...(named && { node: named.uuid }),
      ...(spread && { spread }),
    });
    if (candidates.length > 0) return { nodes: fitting(candidates, network), image };
    throw new Refusal(apiErrors.API_NO_CANDIDATE({ flavor: flavor.id, machines: nodes.length }), {
      details: refusals.map(({ node: what, reason: why }) => ({ what, why })),
    });
  };

  return {
    listInstances: async ({ query }) => {
      await index.ready();
      const used = index.list().filter(({ instanceUuid }) => instanceUuid !== undefined);
      const { entries, next } = page(used, ({ summary }) => summary.number, query);
      const records = await Promise.all(entries.map(({ summary }) => store.get(nodeKind, summary.uuid)));
      const instances = records.flatMap((record) => (record ? [view(record.value)] : []));
      return { answer: { instances: instances.filter((one) => one !== undefined), ...(next !== undefined && { next }) } };
    },

    spawnInstance: async ({ body }) => {
      const { yes, plan, uuid = randomUuid(random), name, imageId, flavorId, vifs, volumes, network } = body;
      const there = (await instanceOf(context, uuid)) ?? (body.uuid === undefined ? undefined : await carrierOf(context, uuid));
      if (there) return accepted(there); // asked for again: its answer may have been lost
      const { nodes, image } = await choose(uuid, body);
      let refusal: Refusal | undefined;
      for (const node of nodes) {
        const approval = confirmed({ request: spawnRequest({ imageId, network }), node, image, settings }, { yes, plan });
        const request = {
          approval,
          uuid,
          name,
          imageId,
          ...(flavorId !== undefined && { flavorId }),
          ...(vifs && { vifs }),
          ...(volumes && { volumes }),
          ...(network && { network }),
        };
        const outcome = await spawn({ store, clock }, node.uuid, request);
        if (outcome.kind === 'associated') return accepted(outcome.node);
        refusal = new Refusal(apiErrors.API_REFUSED({ reason: outcome.reason }));
        if (plan !== undefined) break;
      }
      throw refusal ?? new Refusal(apiErrors.API_NO_CANDIDATE({ flavor: flavorId ?? '', machines: 0 }));
    },

    showInstance: async ({ parameters }) => ({ answer: viewOf(await existing(context, parameters.instance)) }),

    destroyInstance: async ({ parameters, body, ifMatch, principal }) => {
      const node = await existing(context, parameters.instance);
      const approval = confirmed({ request: { verb: 'destroy' }, node, settings }, body);
      const instanceUuid = node.instance?.uuid;
      const on = { store: guarded(store, node.uuid, ifMatch), clock, settings };
      const after = await ask(on, node.uuid, 'destroy', {
        by: principal.name,
        approval,
        ...(instanceUuid !== undefined && { instanceUuid }),
      });
      return { answer: { node: nodeSummary(after), asked: 'destroy' } };
    },

    plan: async ({ body }) => {
      if (body.verb === 'spawn') {
        const { nodes, image } = await choose(body.uuid ?? '', body);
        const [best] = nodes;
        if (!best) throw new Refusal(apiErrors.API_NO_CANDIDATE({ flavor: body.flavorId ?? '', machines: 0 }));
        return { answer: planView({ request: spawnRequest({ imageId: image.id, network: body.network }), node: best, image, settings }) };
      }
      const { value: node } = await nodeOf(store, body.node);
      const { node: _node, ...request } = body;
      const refusal = refuseVerb(node, request.verb);
      if (refusal !== undefined) throw refusal;
      const imageId = request.verb === 'rebuild' ? (request.imageId ?? node.instance?.imageId) : undefined;
      const image = imageId === undefined ? undefined : (await imageOf(context, imageId)).value;
      return { answer: planView({ request, node, ...(image && { image }), settings }) };
    },
  };
}

/** Those with the interfaces that the network speaks of. Throws API_REFUSED with the best one's lack when there is none. */
function fitting(nodes: readonly NodeRecord[], network: Wish['network']): readonly NodeRecord[] {
  const left = nodes.filter((node) => refuseNetwork(node, network) === undefined);
  const reason = nodes[0] && refuseNetwork(nodes[0], network);
  if (left.length === 0 && reason !== undefined) throw new Refusal(apiErrors.API_NETWORK({ reason }));
  return left;
}

/** By UUID, or by name where that is unambiguous. */
async function instanceOf({ store, index }: HandlerContext, key: string): Promise<NodeRecord | undefined> {
  await index.ready();
  const all = index.list();
  const byUuid = all.find(({ instanceUuid }) => instanceUuid === key);
  const named = byUuid ? [byUuid] : all.filter(({ summary }) => summary.instance === key);
  const [only] = named;
  if (only === undefined || named.length > 1) return undefined;
  const record = (await store.get(nodeKind, only.summary.uuid))?.value;
  return record?.instance?.uuid === only.instanceUuid ? record : undefined;
}

/** By what is stored: the index may not have heard yet of what another replica has just done; asked for again, two machines would be written. */
async function carrierOf({ store }: HandlerContext, uuid: string): Promise<NodeRecord | undefined> {
  const [record] = await store.list(nodeKind, { where: ({ instance }) => instance?.uuid === uuid, onInvalid: () => undefined });
  return record?.value;
}

async function existing(context: HandlerContext, key: string): Promise<NodeRecord> {
  const node = (await instanceOf(context, key)) ?? (await carrierOf(context, key));
  if (!node) throw new Refusal(apiErrors.API_NO_INSTANCE({ instance: key }));
  return node;
}

function accepted(node: NodeRecord): { answer: InstanceView; location: string } {
  const answer = viewOf(node);
  return { answer, location: `/v1/instances/${answer.uuid}` };
}

function viewOf(node: NodeRecord): InstanceView {
  const answer = view(node);
  if (!answer) throw new Refusal(apiErrors.API_NO_INSTANCE({ instance: node.name }));
  return answer;
}

function view(node: NodeRecord): InstanceView | undefined {
  if (!node.instance) return undefined;
  const { uuid, name, imageId, flavorId, network, at } = node.instance;
  return {
    uuid,
    name,
    imageId,
    ...(flavorId !== undefined && { flavorId }),
    ...(network && { network }),
    since: isoTime(at),
    node: nodeSummary(node),
  };
}
