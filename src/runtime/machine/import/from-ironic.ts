/**
 * Ironic's machines, from `openstack baremetal node list --long -f json` or `node show -f json` (one, or an array of them), with the hardware
 * addresses from `openstack baremetal port list --long -f json`; the API's own answers ({"nodes": …}, {"ports": …}) do as well. Columns are named as
 * people ("Provisioning State") or as the API ("provision_state"), by version and command, and hold objects or the client's `a='b', c='d'`.
 */
import { z } from 'zod';
import { bmcOf, derivedUuid, type Import, type ImportedMachine, imageIdOf, recordedAs, wholeNumber } from './imported-machine.ts';

const row = z.record(z.string(), z.unknown());

export function fromIronic(input: { readonly nodes: unknown; readonly ports?: unknown }): Import {
  const machines: ImportedMachine[] = [];
  const refused: { name: string; reason: string }[] = [];
  const ports = rows(input.ports ?? [], 'ports').map(normal);
  for (const node of rows(input.nodes, 'nodes').map(normal)) {
    const uuid = text(node.uuid) ?? '';
    const name = text(node.name) ?? uuid;
    const macs = ports
      .filter(({ node_uuid }) => node_uuid === node.uuid)
      .sort(pxeFirst)
      .flatMap(({ address }) => text(address) ?? []);
    const outcome = machineOf(node, { uuid, name, macs });
    if (typeof outcome === 'string') refused.push({ name: name || '(without a name)', reason: outcome });
    else machines.push(outcome);
  }
  return { machines, refused };
}

/** Ready to be enrolled, or why not. */
function machineOf(node: Row, { uuid, name, macs }: { uuid: string; name: string; macs: string[] }): ImportedMachine | string {
  if (macs.length === 0) return 'none of its hardware addresses is in the list of ports';
  const info = object(node.driver_info);
  const bmc = text(info.ipmi_address) ?? text(info.redfish_address) ?? text(info.drac_address) ?? text(info.ilo_address);
  if (bmc === undefined) return 'its driver_info names no address of a BMC';
  const found = bmcOf(text(info.ipmi_address) === undefined ? `redfish://${bmc.replace(/^https?:\/\//, '')}` : `ipmi://${bracketed(bmc)}`);
  if (found === undefined) return `"${bmc}" is no address of a BMC`;
  const properties = object(node.properties);
  const sizes = {
    cpus: wholeNumber(properties.cpus),
    memoryMb: wholeNumber(properties.memory_mb),
    localGb: wholeNumber(properties.local_gb),
  };
  const { cpus, memoryMb, localGb } = sizes;
  if (cpus === undefined || memoryMb === undefined || localGb === undefined) {
    const missing = Object.entries(sizes).flatMap(([key, value]) => (value === undefined ? [key] : []));
    return `its properties do not tell ${missing.join(', ')}; inspect it there first, or enrol it by hand`;
  }
  const warnings: string[] = [];
  const cpuArch = text(properties.cpu_arch) ?? 'x86_64';
  if (text(properties.cpu_arch) === undefined) warnings.push('its cpu_arch is not known; x86_64 is assumed');
  const capabilities = capabilitiesOf(properties.capabilities);
  const resourceClass = text(node.resource_class);
  if (resourceClass !== undefined) capabilities.resource_class = resourceClass;
  const serial = text(object(properties.root_device).serial);
  if (serial === undefined && Object.keys(object(properties.root_device)).length > 0) {
    warnings.push('its root device is not named by a serial number; name one before it is deployed');
  }
  const port = wholeNumber(info.ipmi_port) ?? found.port;
  const system = text(info.redfish_system_id);
  const state = text(node.provision_state) ?? '';
  const adopt = adoptOf(node, state, warnings);
  return {
    enrol: {
      ...(uuid !== '' && { uuid }),
      name,
      macs,
      properties: { cpus, memoryMb, localGb, cpuArch, ...(Object.keys(capabilities).length > 0 && { capabilities }) },
      bmc: {
        ...recordedAs({ ...found, ...(port !== undefined && { port }), ...(system !== undefined && { path: system }) }),
        username: text(info.ipmi_username) ?? text(info.redfish_username) ?? text(info.drac_username) ?? text(info.ilo_username) ?? '',
      },
      ...(serial !== undefined && { rootDiskSerial: serial }),
      // Only what was free there is free here.
      target: state === 'available' ? 'available' : 'manageable',
      ...(adopt && { adopt }),
    },
    ...((node.maintenance === true || node.maintenance === 'True') && {
      maintenance: text(node.maintenance_reason) ?? 'in maintenance in Ironic',
    }),
    warnings,
  };
}

function adoptOf(node: Row, state: string, warnings: string[]): ImportedMachine['enrol']['adopt'] {
  const uuid = text(node.instance_uuid);
  if (state !== 'active') {
    if (uuid !== undefined) warnings.push(`it carries the instance ${uuid}, but is "${state}" there: finish that first, then adopt it`);
    else if (state !== '' && state !== 'available' && state !== 'manageable' && state !== 'enroll') {
      warnings.push(`it is "${state}" there; it is held at manageable here`);
    }
    return undefined;
  }
  const info = object(node.instance_info);
  // Standalone Ironic deploys without an instance: then the node stands for it.
  const id = uuid ?? text(node.uuid) ?? derivedUuid(text(node.name) ?? '');
  const source = text(info.image_source) ?? 'unknown';
  const imageId = imageIdOf(source);
  if (imageId !== source) warnings.push(`its image ${source} is called ${imageId} here`);
  return { uuid: id, name: text(info.display_name) ?? text(node.name) ?? id, imageId };
}

/** `boot_mode:uefi,rack:r1`, or an object. */
function capabilitiesOf(value: unknown): Record<string, string> {
  if (typeof value === 'string') {
    const pairs = value.split(',').map((pair) => pair.trim().split(':'));
    return Object.fromEntries(pairs.flatMap(([key = '', ...rest]) => (key === '' || rest.length === 0 ? [] : [[key, rest.join(':')]])));
  }
  return Object.fromEntries(Object.entries(object(value)).flatMap(([key, item]) => (typeof item === 'string' ? [[key, item]] : [])));
}

type Row = Readonly<Record<string, unknown>>;

function rows(value: unknown, wrapped: 'nodes' | 'ports'): Row[] {
  const inner = Array.isArray(value) ? value : (object(value)[wrapped] ?? value);
  const list = Array.isArray(inner) ? inner : [inner];
  return list.flatMap((item) => {
    const parsed = row.safeParse(item);
    return parsed.success ? [parsed.data] : [];
  });
}

/** "Provisioning State" and provision_state are one. */
function normal(item: Row): Row {
  const known: Readonly<Record<string, string>> = {
    provisioning_state: 'provision_state',
    current_provision_state: 'provision_state',
    pxe_boot_enabled: 'pxe_enabled',
    is_pxe_enabled: 'pxe_enabled',
  };
  return Object.fromEntries(
    Object.entries(item).map(([key, value]) => {
      const name = key.toLowerCase().replaceAll(/[ -]+/g, '_');
      return [known[name] ?? name, value];
    }),
  );
}

function pxeFirst(a: Row, b: Row): number {
  const boots = ({ pxe_enabled: value = true }: Row): number => Number(value !== false && value !== 'False');
  return boots(b) - boots(a);
}

/** Also of `cpu_arch='x86_64', cpus='8'`, as the client writes objects into some of its columns. */
function object(value: unknown): Row {
  if (typeof value === 'string')
    return Object.fromEntries([...value.matchAll(/([\w.-]+)='([^']*)'/g)].map(([, key = '', item]) => [key, item]));
  const parsed = row.safeParse(value);
  return parsed.success ? parsed.data : {};
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && value !== 'None' ? value : undefined;
}

function bracketed(address: string): string {
  return address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
}
