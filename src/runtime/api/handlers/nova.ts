/** nova's os-baremetal-nodes over the same records: for tools that were written for it. docs/from-nova.md says where it differs. */
import type { NovaNode } from 'cdk8s-baremetal-contract/api/index';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { isoTime } from '../../core/iso-time.ts';
import { enrol, type NodeRecord, nodeKind, unenrol } from '../../machine/index.ts';
import { recordedBmc } from '../bmc-address.ts';
import type { HandlersOf } from '../call.ts';
import { apiErrors, Refusal } from '../errors.ts';
import { nodeOf } from '../find-node.ts';
import { addInterface, removeInterface } from '../interfaces.ts';
import type { HandlerContext } from './context.ts';

type NovaOperation = 'novaList' | 'novaShow' | 'novaCreate' | 'novaDelete' | 'novaAction';

/** nova knew the hardware's architecture from the compute host's configuration. */
const CPU_ARCH = 'x86_64';

export function novaHandlers(context: HandlerContext): HandlersOf<NovaOperation> {
  const { store, secrets, clock } = context;
  return {
    novaList: async () => {
      const nodes = await store.list(nodeKind, { onInvalid: () => undefined });
      return { answer: { nodes: nodes.map(({ value }) => novaNode(value)).sort((a, b) => a.id - b.id) } };
    },
    novaShow: async ({ parameters }) => ({ answer: { node: novaNode((await nodeOf(store, parameters.node)).value) } }),
    novaCreate: async ({ body: { node } }) => {
      const { value } = await enrol(context, {
        // nova's machines had no names: host and MAC address make one
        name: `${node.service_host}-${node.prov_mac_address.replaceAll(/[^0-9A-Za-z]/g, '').toLowerCase()}`.slice(0, 63),
        macs: [node.prov_mac_address],
        properties: { cpus: node.cpus, memoryMb: node.memory_mb, localGb: node.local_gb, cpuArch: CPU_ARCH },
        bmc: {
          ...recordedBmc({ driver: novaDriver(node.pm_address), address: node.pm_address, username: node.pm_user }),
          password: new Secret(node.pm_password),
        },
      });
      return { answer: { node: novaNode(value) } };
    },
    novaDelete: async ({ parameters }) => {
      await unenrol({ store, secrets }, (await nodeOf(store, parameters.node)).id);
      return {};
    },
    novaAction: async ({ parameters, body }) => {
      const { id } = await nodeOf(store, parameters.node);
      if ('add_interface' in body) {
        const { address: mac, datapath_id: datapathId, port_no: portNo } = body.add_interface;
        const { value } = await addInterface({ store, clock }, id, {
          mac,
          ...(datapathId && typeof portNo === 'number' && { datapathId, portNo }),
        });
        const added = novaNode(value).interfaces.at(-1);
        return { answer: added ? { interface: added } : {} };
      }
      const { address } = body.remove_interface;
      if (address === undefined) throw new Refusal(apiErrors.API_INVALID({ problems: ['remove_interface.address: must be given'] }));
      await removeInterface({ store, clock }, id, address);
      return { answer: {} };
    },
  };
}

/** nova knew one driver for all; `address,relay` is what its iBoot driver was given. */
function novaDriver(address: string): 'ipmi' | 'iboot' {
  return /^[^/]+,\d+$/.test(address) ? 'iboot' : 'ipmi';
}

function novaNode(node: NodeRecord): NovaNode {
  const { properties, bmc } = node;
  return {
    id: node.number,
    uuid: node.uuid,
    cpus: properties.cpus,
    memory_mb: properties.memoryMb,
    local_gb: properties.localGb,
    pm_address: bmc.address,
    pm_user: bmc.username,
    service_host: node.owner ?? '',
    terminal_port: null,
    instance_uuid: node.instance?.uuid ?? null,
    task_state: node.state,
    updated_at: isoTime(node.stateSince),
    pxe_config_path: null,
    interfaces: node.interfaces.map(({ mac: address, datapathId, portNo }, index) => ({
      id: index + 1,
      address,
      datapath_id: datapathId ?? null,
      port_no: portNo ?? null,
    })),
  };
}
