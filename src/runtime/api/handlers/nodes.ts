/** Machines: enrolment, what is known of them, corrections. */

import { nearest } from 'cdk8s-baremetal-contract';
import { unicastMac } from 'cdk8s-baremetal-contract/addresses';
import type { NodeUpdate } from 'cdk8s-baremetal-contract/api/index';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { enrol, isIncomplete, type NodeRecord, nodeKind, nodeStates, unenrol } from '../../machine/index.ts';
import { modify, type Store, type Stored } from '../../store/index.ts';
import { atVersion, etagOf } from '../at-version.ts';
import { recordedBmc } from '../bmc-address.ts';
import type { Call, HandlersOf, Reply } from '../call.ts';
import { diagnosis } from '../diagnosis.ts';
import { apiErrors, Refusal } from '../errors.ts';
import { explain } from '../explain.ts';
import { findNode, nodeOf } from '../find-node.ts';
import { addInterface, removeInterface, reserving } from '../interfaces.ts';
import { nodeDetail, nodeTimeline } from '../node-view.ts';
import { page } from '../pages.ts';
import type { HandlerContext } from './context.ts';

type NodeOperation =
  | 'listNodes'
  | 'enrolNode'
  | 'showNode'
  | 'updateNode'
  | 'removeNode'
  | 'addInterface'
  | 'removeInterface'
  | 'nodeHistory'
  | 'nodeTimeline'
  | 'diagnoseNode'
  | 'explainMac';

export function nodeHandlers(context: HandlerContext): HandlersOf<NodeOperation> {
  const { store, secrets, clock, index } = context;
  const shown = (record: Stored<NodeRecord>) => ({ answer: nodeDetail(record.value), etag: etagOf(record) });
  return {
    listNodes: async ({ query: { limit, cursor, state, name, maintenance, free } }) => {
      await index.ready();
      const states = state?.split(',').map(knownState);
      const wanted = index
        .list()
        .filter(
          (node) =>
            (states === undefined || states.includes(node.summary.state)) &&
            (name === undefined || node.summary.name.includes(name)) &&
            (maintenance === undefined || node.summary.maintenance === (maintenance === 'true')) &&
            (free === undefined || (node.instanceUuid === undefined) === (free === 'true')),
        );
      const { entries, next } = page(wanted, ({ summary }) => summary.number, { limit, cursor });
      return { answer: { nodes: entries.map(({ summary }) => summary), ...(next !== undefined && { next }) } };
    },

    enrolNode: async ({ body }) => {
      const { bmc, yes: _yes, ...rest } = body;
      const record = await enrol(context, { ...rest, bmc: { ...recordedBmc(bmc), password: new Secret(bmc.password) } });
      return { ...shown(record), location: `/v1/nodes/${record.id}` };
    },

    showNode: async ({ parameters }) => shown(await nodeOf(store, parameters.node)),

    updateNode: async ({ parameters, body, ifMatch }) => {
      const { id, value } = await nodeOf(store, parameters.node);
      const password = body.bmc?.password;
      const passwordRef = password === undefined ? undefined : `bmc.${id}`;
      // Nobody reads it before the record names it, and then at once: a machine that was discovered is verified.
      if (isIncomplete(value) && password !== undefined && passwordRef !== undefined)
        await secrets.write(passwordRef, new Secret(password));
      const result = await reserving({ store, clock }, updated(value, body, passwordRef), () =>
        modify(guarded(store, id, ifMatch), nodeKind, id, (node) => updated(node, body, passwordRef)),
      );
      if (result.outcome === 'missing') throw new Refusal(apiErrors.API_NO_NODE({ node: value.name }));
      // After the record: a refused version must leave the password as it was.
      if (password !== undefined && passwordRef !== undefined) await secrets.write(passwordRef, new Secret(password));
      return shown(result.record);
    },

    removeNode: async ({ parameters, ifMatch }) => {
      const { id } = await nodeOf(store, parameters.node);
      await unenrol({ store: guarded(store, id, ifMatch), secrets }, id);
      return {};
    },

    addInterface: async ({ parameters, body, ifMatch }) => {
      const { id } = await nodeOf(store, parameters.node);
      return shown(await addInterface({ store: guarded(store, id, ifMatch), clock }, id, body));
    },

    removeInterface: async ({ parameters, ifMatch }) => {
      const { id } = await nodeOf(store, parameters.node);
      await removeInterface({ store: guarded(store, id, ifMatch), clock }, id, parameters.mac);
      return {};
    },

    nodeHistory: async ({ parameters }) => {
      const { value } = await nodeOf(store, parameters.node);
      return { answer: { name: value.name, history: nodeDetail(value).history } };
    },

    nodeTimeline: async ({ parameters }) => {
      const { value } = await nodeOf(store, parameters.node);
      return { answer: { name: value.name, timeline: nodeTimeline(value) } };
    },

    diagnoseNode: async ({ parameters }) => ({ answer: diagnosis((await nodeOf(store, parameters.node)).value, clock.now()) }),

    explainMac: (call) => explained(call, context),
  };
}

async function explained({ parameters }: Call<'explainMac'>, context: HandlerContext): Promise<Reply<'explainMac'>> {
  const { store, machines, leaseOfMac, bootSettings, clock } = context;
  const key = parameters.machine;
  const known = await findNode(store, key);
  const asked = unicastMac(key);
  const macs = known?.value.interfaces.map((boot) => boot.mac) ?? [];
  const mac = asked !== undefined && (!known || macs.includes(asked)) ? asked : macs[0];
  // no name has a colon in it
  if (mac === undefined) throw new Refusal(key.includes(':') ? apiErrors.API_BAD_MAC({ mac: key }) : apiErrors.API_NO_NODE({ node: key }));
  const machine = await machines.findMachine(mac).catch((error: unknown) => ({ unreadable: error }));
  const given = {
    mac,
    node: known?.value,
    lease: leaseOfMac(mac),
    settings: bootSettings,
    nowMs: clock.now(),
    boot: context.bootSeen?.(mac),
  };
  if (machine === undefined || !('unreadable' in machine)) return { answer: explain({ ...given, machine }) };
  const problem = machine.unreadable instanceof Error ? machine.unreadable.message : String(machine.unreadable);
  return { answer: explain({ ...given, machine: undefined, problem }) };
}

/** The store as it is, or one in which only this version of the machine can be changed. */
export function guarded(store: Store, id: string, ifMatch: string | undefined): Store {
  return ifMatch === undefined ? store : atVersion(store, nodeKind.name, id, ifMatch);
}

/** The record with the correction in it; what is left out stays. */
export function updated(node: NodeRecord, update: NodeUpdate, passwordRef: string | undefined): NodeRecord {
  const { properties, bmc, rootDiskSerial } = update;
  const { password: _password, ...access } = recordedBmc(bmc ?? {});
  const first = isIncomplete(node) && bmc !== undefined;
  if (first && (access.address === undefined || access.username === undefined || passwordRef === undefined))
    throw new Refusal(
      apiErrors.API_INVALID({ problems: ['bmc: of a machine that was discovered, address, username and password come together'] }),
    );
  return {
    ...node,
    properties: { ...node.properties, ...properties },
    bmc: { ...node.bmc, ...(first && { driver: 'ipmi' }), ...access, ...(passwordRef !== undefined && { passwordRef }) },
    ...(first && { reason: 'its BMC is known now' }),
    ...(rootDiskSerial !== undefined && { rootDiskSerial: rootDiskSerial ?? undefined }),
  };
}

/** A state that there is not would be answered by an empty list, which reads as good news. */
function knownState(text: string): string {
  const word = text.trim();
  if (nodeStates.some((one) => one === word)) return word;
  const meant = nearest(word, nodeStates);
  throw new Refusal(
    apiErrors.API_INVALID({
      problems: [
        `state: ${JSON.stringify(word)} is none${meant === undefined ? '' : `, did you mean ${meant}?`} There are ${nodeStates.join(', ')}`,
      ],
    }),
  );
}
