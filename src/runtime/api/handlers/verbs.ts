/** Verbs: written on the record here, carried out by the machine's owner. A new one is a row in the contract's operations and a line here. */
import type { BodyOf } from 'cdk8s-baremetal-contract/api/index';
import {
  type AskOptions,
  adopt,
  ask,
  clearFault,
  type NodeRecord,
  nodeKind,
  type RequestArgs,
  reportFault,
  setMaintenance,
  type Verb,
  type VerbContext,
} from '../../machine/index.ts';
import type { Stored } from '../../store/index.ts';
import { etagOf } from '../at-version.ts';
import type { Call, HandlersOf, Reply } from '../call.ts';
import { nodeOf } from '../find-node.ts';
import { nodeSummary } from '../node-view.ts';
import { confirmed } from '../plan.ts';
import { imageOf } from './catalog.ts';
import type { HandlerContext } from './context.ts';
import { guarded } from './nodes.ts';

type VerbOperation =
  | 'powerOnNode'
  | 'powerOffNode'
  | 'rebootNode'
  | 'destroyNode'
  | 'rebuildNode'
  | 'retryNode'
  | 'abortNode'
  | 'unstickNode'
  | 'inspectNode'
  | 'cleanNode'
  | 'rescueNode'
  | 'unrescueNode'
  | 'manageNode'
  | 'provideNode'
  | 'adoptNode'
  | 'attachVolume'
  | 'detachVolume'
  | 'plugVifs'
  | 'maintainNode'
  | 'reportFault'
  | 'clearFault';

type VerbCall<Body> = Pick<Call<'rebootNode'>, 'parameters' | 'ifMatch' | 'principal'> & { readonly body: Body };
type VerbHandler<Body> = (call: VerbCall<Body>) => Promise<Reply<'rebootNode'>>;

export function verbHandlers(context: HandlerContext): HandlersOf<VerbOperation> {
  const { store, clock, settings } = context;

  const done =
    <Body>(
      asked: string,
      change: (on: VerbContext, node: Stored<NodeRecord>, call: VerbCall<Body>) => Promise<unknown>,
    ): VerbHandler<Body> =>
    async (call) => {
      const node = await nodeOf(store, call.parameters.node);
      await change({ store: guarded(store, node.id, call.ifMatch), clock, settings }, node, call);
      const after = (await store.get(nodeKind, node.id)) ?? node;
      return { answer: { node: nodeSummary(after.value), asked }, etag: etagOf(after) };
    };

  /** What the body says beside a confirmation goes with the request as it is. */
  const verb = <Body>(name: Verb, more?: (node: NodeRecord, body: Body) => Promise<AskOptions> | AskOptions): VerbHandler<Body> =>
    done(name, async (on, { id, value }, { body, principal }) => ask(on, id, name, { by: principal.name, ...(await more?.(value, body)) }));

  const withArgs =
    <Body>(pick: (body: Body) => RequestArgs) =>
    (_node: NodeRecord, body: Body): AskOptions => {
      const args = pick(body);
      return Object.keys(args).length > 0 ? { args } : {};
    };

  return {
    powerOnNode: verb('power on'),
    powerOffNode: verb('power off'),
    rebootNode: verb(
      'reboot',
      withArgs<BodyOf<'rebootNode'>>((body) => body),
    ),
    destroyNode: verb('destroy', (node, body: BodyOf<'destroyNode'>) => {
      const approval = confirmed({ request: { verb: 'destroy' }, node, settings }, body);
      // Who has read a plan means the instance in it; who says yes means whatever is there.
      return 'hash' in approval && node.instance ? { approval, instanceUuid: node.instance.uuid } : { approval };
    }),
    rebuildNode: verb('rebuild', async (node, { yes, plan, ...args }: BodyOf<'rebuildNode'>) => {
      const imageId = args.imageId ?? node.instance?.imageId;
      const image = imageId === undefined ? undefined : (await imageOf(context, imageId)).value;
      const approval = confirmed({ request: { verb: 'rebuild', ...args }, node, ...(image && { image }), settings }, { yes, plan });
      return { args, approval };
    }),
    retryNode: verb('retry'),
    abortNode: verb('abort'),
    unstickNode: verb('unstick'),
    inspectNode: verb(
      'inspect',
      withArgs<BodyOf<'inspectNode'>>((body) => body),
    ),
    cleanNode: verb('clean', (node, { yes, plan, ...args }: BodyOf<'cleanNode'>) => ({
      args,
      approval: confirmed({ request: { verb: 'clean', ...args }, node, settings }, { yes, plan }),
    })),
    rescueNode: verb(
      'rescue',
      withArgs<BodyOf<'rescueNode'>>((body) => body),
    ),
    unrescueNode: verb('unrescue'),
    manageNode: verb('manage'),
    provideNode: verb('provide'),
    adoptNode: done('adopt', (on, { id }, { body }: VerbCall<BodyOf<'adoptNode'>>) => adopt(on, id, body)),
    attachVolume: verb(
      'attach volume',
      withArgs<BodyOf<'attachVolume'>>((body) => body),
    ),
    detachVolume: verb(
      'detach volume',
      withArgs<BodyOf<'detachVolume'>>((body) => body),
    ),
    plugVifs: verb(
      'plug vifs',
      withArgs<BodyOf<'plugVifs'>>((body) => body),
    ),
    maintainNode: done('maintenance', (on, { id }, { body }: VerbCall<BodyOf<'maintainNode'>>) =>
      setMaintenance(on, id, body.on, body.reason),
    ),
    reportFault: done('fault', (on, { id }, { body }: VerbCall<BodyOf<'reportFault'>>) => reportFault(on, id, body.reason)),
    clearFault: done('end of fault', (on, { id }) => clearFault(on, id)),
  };
}
