/** Verbs: written on the record here, carried out by the machine's owner. A new one is a row in the contract's operations and a line here. */
import { destroy, type NodeRecord, nodeKind, retryNode, setMaintenance, setPower, type VerbContext } from '../../machine/index.ts';
import type { Stored } from '../../store/index.ts';
import { etagOf } from '../at-version.ts';
import type { Call, HandlersOf } from '../call.ts';
import { apiErrors, Refusal } from '../errors.ts';
import { nodeOf } from '../find-node.ts';
import { nodeSummary } from '../node-view.ts';
import { confirmed } from '../plan.ts';
import type { HandlerContext } from './context.ts';
import { guarded } from './nodes.ts';

type VerbOperation = 'powerOnNode' | 'powerOffNode' | 'rebootNode' | 'destroyNode' | 'retryNode' | 'maintainNode';

interface Verb<Body> {
  /** As people call it. */
  readonly name: string;
  /** False: its state does not take the verb. */
  readonly ask: (context: VerbContext, node: Stored<NodeRecord>, body: Body, by: string) => Promise<boolean>;
  /** When it is refused. */
  readonly needs: string;
}

type VerbCall<Body> = Pick<Call<'rebootNode'>, 'parameters' | 'ifMatch' | 'principal'> & { readonly body: Body };

export function verbHandlers(context: HandlerContext): HandlersOf<VerbOperation> {
  const { store, clock, settings } = context;
  const verb =
    <Body>({ name, ask, needs }: Verb<Body>) =>
    async ({ parameters, body, ifMatch, principal }: VerbCall<Body>) => {
      const node = await nodeOf(store, parameters.node);
      const asked = await ask({ store: guarded(store, node.id, ifMatch), clock }, node, body, principal.name);
      if (!asked) {
        const { name: who, state } = node.value;
        throw new Refusal(apiErrors.API_STATE({ node: who, state, verb: name, why: needs }));
      }
      const after = (await store.get(nodeKind, node.id)) ?? node;
      return { answer: { node: nodeSummary(after.value), asked: name }, etag: etagOf(after) };
    };
  const power = (name: 'power on' | 'power off' | 'reboot') =>
    verb<unknown>({
      name,
      ask: (on, node) => setPower(on, node.id, name),
      needs: 'only a machine in use is switched by hand; while it is deployed, its owner does that',
    });
  return {
    powerOnNode: power('power on'),
    powerOffNode: power('power off'),
    rebootNode: power('reboot'),
    destroyNode: verb<Call<'destroyNode'>['body']>({
      name: 'destroy',
      ask: (on, { id, value }, body) => {
        confirmed({ request: { verb: 'destroy' }, node: value, settings }, body);
        return destroy(on, id);
      },
      needs: 'it has no instance',
    }),
    retryNode: verb<unknown>({ name: 'retry', ask: (on, node) => retryNode(on, node.id), needs: 'only a machine in error is tried again' }),
    maintainNode: verb<Call<'maintainNode'>['body']>({
      name: 'maintenance',
      ask: async (on, node, { on: wanted }) => {
        await setMaintenance(on, node.id, wanted);
        return true;
      },
      needs: '',
    }),
  };
}
