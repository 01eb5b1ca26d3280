/** Which addresses the machines' records reserve: known from the first question on, and kept true by what changes. */
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { BootView, enrol, MemorySecretStore, nodeKind, unenrol } from 'cdk8s-baremetal-runtime/machine/index';
import { MemoryStore, modify } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { expect, it } from 'vitest';

const MAC = '52:54:00:12:34:56';
const ADDRESS = '192.168.50.101';

it('002-5: an address is reserved from the record of its machine on, until the record says otherwise or is gone', async () => {
  const site = { store: new MemoryStore(), secrets: new MemorySecretStore(), clock: new VirtualClock(), random: seededRandom(1) };
  const { store } = site;
  const bmc = { driver: 'ipmi', address: '10.0.1.5', username: 'admin', password: new Secret('hunter2!') } as const;
  const properties = { cpus: 2, memoryMb: 4096, localGb: 80, cpuArch: 'x86_64' };
  const { id } = await enrol(site, { name: 'bm-1', macs: [MAC], properties, bmc });
  const reserve = (address: string | undefined) =>
    modify(store, nodeKind, id, (node) => ({ ...node, interfaces: [{ mac: MAC, ...(address !== undefined && { address }) }] }));
  await reserve(ADDRESS);

  const view = new BootView(site);
  await view.findMachine('52:54:00:99:99:99'); // any question: who asks may be the first
  expect(view.reservedFor(ADDRESS)).toBe(MAC);
  await reserve('192.168.50.102');
  await new Promise(setImmediate);
  expect([ADDRESS, '192.168.50.102'].map((address) => view.reservedFor(address))).toEqual([undefined, MAC]);
  await unenrol(site, id, () => true);
  await new Promise(setImmediate);
  expect(view.reservedFor('192.168.50.102')).toBeUndefined();
  view.close();
});
