/** Row 002-16 from the request to the loader's configuration: nova's pxe_network_config. */
import { renderLoaderConfig } from 'cdk8s-baremetal-runtime/boot/index';
import { menuOf } from 'cdk8s-baremetal-runtime/boot/loader/index';
import { type NodeRecord, nodeKind, reservationKind, spawn } from 'cdk8s-baremetal-runtime/machine/index';
import { beforeEach, describe, expect, it } from 'vitest';
import { Harness } from '../api/harness.ts';

const NETWORK = {
  interfaces: [{ on: 0, ipv4: { address: '10.0.0.5/24', gateway: '10.0.0.1' }, dns: ['10.0.0.2'] }],
  onKernelCommandLine: true,
};
const WORDS = 'ifname=eth0:52:54:00:00:00:01 ip=10.0.0.5::10.0.0.1:255.255.255.0::eth0:off:10.0.0.2 BOOTIF=01-52-54-00-00-00-01';

let harness: Harness;
beforeEach(async () => {
  harness = new Harness();
  await harness.image();
});

/** In use by an image that boots over the network. */
async function booting(network: object, image: 'kernel' | 'local' = 'kernel'): Promise<NodeRecord> {
  const node = await harness.machine(1);
  const wish = { name: 'web-1', imageId: 'image-1', node: 'bm-1', network, yes: true };
  expect((await harness.ask('POST', '/v1/instances', { body: wish })).status).toBe(202);
  return harness.change(node.uuid, (value) => ({
    ...value,
    state: 'active',
    deployment: {
      id: 'd-1',
      iqn: 'iqn.2010-10.org.openstack.baremetal:d-1',
      expiresAt: 0,
      generation: 1,
      imageId: 'image-1',
      image: { boot: image },
      written: { bytes: 1, sha256: 'a'.repeat(64), at: 0, ...(image === 'kernel' && { root: 'UUID=1234' }) },
    },
  }));
}

async function configOf(node: NodeRecord, format: 'pxelinux' | 'grub' | 'ipxe'): Promise<string> {
  const mac = node.interfaces[0]?.mac ?? '';
  const machine = await harness.machines.findMachine(mac);
  const menu = machine && menuOf(machine.uuid, machine.boot);
  return menu ? renderLoaderConfig(format, menu, { mac, pxelinuxLocal: 'localboot' }) : '';
}

describe('002-16: static addresses on the kernel command line', () => {
  it.each(['pxelinux', 'grub', 'ipxe'] as const)('are in the configuration of %s', async (format) => {
    expect(await configOf(await booting(NETWORK), format)).toContain(`root=UUID=1234 ro ${WORDS}`);
  });

  it('only when they are asked for there', async () => {
    const { onKernelCommandLine: _, ...quiet } = NETWORK;
    expect(await configOf(await booting(quiet), 'pxelinux')).toContain('root=UUID=1234 ro\n');
  });

  it('an image with a boot loader of its own starts from its disk, as ever', async () => {
    expect(await configOf(await booting(NETWORK, 'local'), 'pxelinux')).toContain('localboot 0');
  });

  it('an interface that was removed since takes its settings with it', async () => {
    const { uuid } = await booting({ ...NETWORK, interfaces: [{ ...NETWORK.interfaces[0], on: '52:54:00:00:00:01' }] });
    const changed = await harness.change(uuid, (node) => ({ ...node, interfaces: [{ mac: '52:54:00:00:00:09' }] }));
    await harness.store.create(reservationKind, 'mac.52:54:00:00:00:09', { nodeId: uuid, at: 0 });
    expect(await configOf(changed, 'pxelinux')).toContain('root=UUID=1234 ro\n');
  });
});

describe('002-16: the record', () => {
  it('keeps what a newer program has added to the network', async () => {
    const { uuid } = await booting({ interfaces: NETWORK.interfaces });
    const stored = (await harness.store.get(nodeKind, uuid))?.value;
    const newer = { ...stored, instance: { ...stored?.instance, network: { interfaces: [{ on: 0, bond: 'b0' }], zone: 'z' } } };
    expect(nodeKind.parse(newer).instance?.network).toEqual({ interfaces: [{ on: 0, bond: 'b0' }], zone: 'z' });
    expect(() => nodeKind.parse({ ...stored, instance: { ...stored?.instance, network: { interfaces: [] } } })).toThrow();
  });

  it.each([
    ['a MAC address that it has not', { interfaces: [{ on: '52:54:00:00:00:99' }] }, 409, 'bm-1 cannot have this network'],
    ['a broken address', { interfaces: [{ on: 0, ipv4: { address: '10.0.0.0/24' } }] }, 422, 'network.interfaces.0.ipv4.address'],
  ])('%s is refused by the API', async (_name, network, status, said) => {
    await harness.machine(1);
    const { status: answered, text } = await harness.ask('POST', '/v1/instances', {
      body: { name: 'w', imageId: 'image-1', node: 'bm-1', network, yes: true },
    });
    expect([answered, text]).toEqual([status, expect.stringContaining(said)]);
  });

  it('the verb itself refuses, too, and the scheduler takes the next machine that fits', async () => {
    const one = await harness.machine(1);
    const two = await harness.machine(2);
    await harness.flavor();
    await harness.change(two.uuid, (node) => ({ ...node, interfaces: [...node.interfaces, { mac: '52:54:00:00:00:77' }] }));
    const network = { interfaces: [{ on: 1, ipv4: 'dhcp' as const }] };
    const request = { uuid: 'i', name: 'i', imageId: 'image-1', network, approval: { yes: true } as const };
    expect(await spawn(harness, one.uuid, request)).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('interface 1 is asked for'),
    });
    const { json } = await harness.ask('POST', '/v1/instances', {
      body: { name: 'w', imageId: 'image-1', flavorId: 'small', network, yes: true },
    });
    expect(json.node.name).toBe('bm-2');
    expect(json.network.interfaces).toEqual([{ on: 1, ipv4: 'dhcp' }]);
  });
});
