/** nova's os-baremetal-nodes (API v2, Havana with the fields of Icehouse), as its clients send and read it. */
import { z } from 'zod';

const interfaceView = z.object({ id: z.int(), address: z.string(), datapath_id: z.string().nullable(), port_no: z.int().nullable() });

export const novaNode = z.object({
  id: z.int(),
  uuid: z.string(),
  cpus: z.int(),
  memory_mb: z.int(),
  local_gb: z.int(),
  pm_address: z.string(),
  pm_user: z.string(),
  service_host: z.string(),
  terminal_port: z.int().nullable(),
  instance_uuid: z.string().nullable(),
  task_state: z.string(),
  updated_at: z.string(),
  pxe_config_path: z.string().nullable(),
  interfaces: z.array(interfaceView),
});
export const novaNodeList = z.object({ nodes: z.array(novaNode) });
export const novaNodeShow = z.object({ node: novaNode });

const number = z.union([
  z.int(),
  z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number),
]);

/** novaclient sends numbers as text, so both are taken. */
export const novaNodeCreate = z.object({
  node: z.object({
    service_host: z.string().min(1).max(63),
    cpus: number,
    memory_mb: number,
    local_gb: number,
    pm_address: z.string(),
    pm_user: z.string().max(64),
    pm_password: z.string().max(128),
    prov_mac_address: z.string(),
    terminal_port: z.unknown().optional(),
  }),
});
const novaInterface = z.object({
  id: z.unknown().optional(),
  address: z.string().optional(),
  datapath_id: z.unknown().optional(),
  port_no: z.unknown().optional(),
});
const addedInterface = novaInterface.extend({
  address: z.string(),
  datapath_id: z.string().max(64).nullish().describe('The switch that its cable ends at; with port_no, for plugging virtual interfaces'),
  port_no: number.nullish(),
});
export const novaAction = z.union([z.object({ add_interface: addedInterface }), z.object({ remove_interface: novaInterface })]);
export const novaInterfaceShow = z.object({ interface: interfaceView });

export type NovaNode = z.infer<typeof novaNode>;
