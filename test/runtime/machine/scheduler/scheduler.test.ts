import {
  type FlavorRecord,
  meets,
  type NodeRecord,
  nodeKind,
  place,
  type ScheduleRequest,
  schedule,
} from 'cdk8s-baremetal-runtime/machine/index';
import { MemoryStore } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

function node(number: number, properties: Partial<NodeRecord['properties']> = {}, more: Partial<NodeRecord> = {}): NodeRecord {
  return nodeKind.parse({
    uuid: `uuid-${number}`,
    name: `bm-${number}`,
    number,
    interfaces: [{ mac: `02:00:00:00:00:${number.toString(16).padStart(2, '0')}` }],
    properties: { cpus: 8, memoryMb: 32_768, localGb: 500, cpuArch: 'x86_64', ...properties },
    bmc: { driver: 'ipmi', address: `10.0.0.${number}`, username: 'u', passwordRef: 'p' },
    state: 'available',
    stateSince: 0,
    reason: 'free',
    ...more,
  });
}

const flavor: FlavorRecord = { id: 'f', name: 'bm.small', cpus: 4, memoryMb: 16_384, localGb: 100 };
const ask = (more: Partial<ScheduleRequest> = {}): ScheduleRequest => ({ instanceUuid: 'new', flavor, ...more });
const names = (nodes: readonly NodeRecord[]) => nodes.map(({ name }) => name);

describe('002-10: nova’s operators', () => {
  it.each([
    ['x86_64', 'x86_64', true],
    ['x86_64', 'aarch64', false],
    ['16', '16.0', false],
    ['16', '= 8', true],
    ['4', '= 8', false],
    ['8', '== 8.0', true],
    ['8', '!= 8', false],
    ['9', '>= 8', true],
    ['9', '<= 8', false],
    ['abc', '>= 8', false],
    ['', '== 0', false],
    ['8', '>=', false],
    ['abc', 's== abc', true],
    ['a b', 's== a b', true],
    ['abc', 's!= abd', true],
    ['b', 's> a', true],
    ['b', 's>= b', true],
    ['a', 's< b', true],
    ['b', 's<= a', false],
    ['aes sse avx', '<in> sse', true],
    ['aes', '<in> avx', false],
    ['aes', '<in>', false],
    ['aes sse avx', '<all-in> aes avx', true],
    ['aes sse', '<all-in> aes avx', false],
    ['gpu', '<or> fpga <or> gpu', true],
    ['gp', '<or> fpga <or> gpu', false],
    ['<or>', '<or>', false],
    [undefined, 's!= x', false],
    [undefined, 'x', false],
  ] as const)('%j against %j: %j', (value, requirement, expected) => {
    expect(meets(value, requirement)).toBe(expected);
  });

  it('any requirement is an answer, never an exception', () => {
    fc.assert(fc.property(fc.string(), fc.string(), (value, requirement) => typeof meets(value, requirement) === 'boolean'));
  });
});

describe('002-10: which machine', () => {
  it('the smallest that suffices: memory, then CPUs, then disk, then number', () => {
    const nodes = [
      node(1, { memoryMb: 65_536 }),
      node(2, { cpus: 16 }),
      node(3, { localGb: 900 }),
      node(4),
      node(5),
      node(6, { memoryMb: 8_192 }),
    ];
    expect(names(schedule(nodes, ask()).candidates)).toEqual(['bm-4', 'bm-5', 'bm-3', 'bm-2', 'bm-1']);
  });

  it('says of each machine why not', () => {
    const nodes = [
      node(1, { memoryMb: 1_024 }),
      node(2, { cpus: 1 }),
      node(3, { localGb: 10 }),
      node(4, { cpuArch: 'aarch64' }),
      node(5, {}, { maintenance: true, maintenanceReason: 'new disk' }),
      node(6, {}, { state: 'error', reason: 'the BMC does not answer' }),
      node(7, {}, { instance: { uuid: 'x', name: 'x', imageId: 'm', vifs: [], volumes: [], at: 0 } }),
      node(8, { capabilities: { gpu: 'none' } }),
      node(9, {}, { fault: { kind: 'bmc unreachable', reason: 'no answer since noon', since: 0, remedies: [] } }),
    ];
    const wanted: FlavorRecord = {
      ...flavor,
      cpuArch: 'x86_64',
      ephemeralGb: 50,
      extraSpecs: { 'capabilities:gpu': 's== a100', 'baremetal:deploy_kernel_id': 'k', cpu_arch: 'x86_64' },
    };
    const { candidates, refusals } = schedule(nodes, ask({ flavor: wanted }));
    expect(candidates).toEqual([]);
    expect(refusals).toEqual([
      { node: 'bm-1', reason: 'it has 1024 MiB of memory, wanted 16384' },
      { node: 'bm-2', reason: 'it has 1 CPUs, wanted 4' },
      { node: 'bm-3', reason: 'it has 10 GB of disk, wanted 150' },
      { node: 'bm-4', reason: 'its architecture is aarch64, wanted x86_64' },
      { node: 'bm-5', reason: 'is in maintenance: new disk' },
      { node: 'bm-6', reason: 'is error: the BMC does not answer' },
      { node: 'bm-7', reason: 'is associated with another instance, x' },
      { node: 'bm-8', reason: 'gpu is "none", wanted "s== a100"' },
      { node: 'bm-9', reason: 'bm-9 has a fault: no answer since noon' },
    ]);
  });

  const inRack = (number: number, rack: string, instance?: string, memoryMb = 32_768): NodeRecord =>
    node(
      number,
      { memoryMb, capabilities: { rack } },
      instance === undefined
        ? {}
        : { state: 'active', instance: { uuid: instance, name: instance, imageId: 'm', vifs: [], volumes: [], at: 0 } },
    );

  it('spreads a group over failure domains: among equals, before size, or not at all', () => {
    const nodes = [inRack(1, 'a', 'g1'), inRack(2, 'a'), inRack(3, 'b', undefined, 65_536), inRack(4, 'b', 'other')];
    const spread = { by: 'rack', group: ['g1', 'new'] };
    expect(names(schedule(nodes, ask({ spread })).candidates)).toEqual(['bm-2', 'bm-3']);
    expect(names(schedule(nodes, ask({ spread: { ...spread, mode: 'prefer' } })).candidates)).toEqual(['bm-3', 'bm-2']);
    const strict = schedule([...nodes, node(5)], ask({ spread: { ...spread, mode: 'require' } }));
    expect(names(strict.candidates)).toEqual(['bm-3']);
    expect(strict.refusals.find(({ node: name }) => name === 'bm-2')?.reason).toBe('the rack a carries 1 of the group already');
    expect(strict.refusals.find(({ node: name }) => name === 'bm-5')?.reason).toContain('its rack is not known');
    const equals = [inRack(1, 'a', 'g1'), inRack(2, 'a'), inRack(3, 'b')];
    expect(names(schedule(equals, ask({ spread })).candidates)).toEqual(['bm-3', 'bm-2']);
  });

  it('one machine by name or UUID', () => {
    expect(names(schedule([node(1), node(2)], ask({ node: 'bm-2' })).candidates)).toEqual(['bm-2']);
    expect(names(schedule([node(1), node(2)], ask({ node: 'uuid-1' })).candidates)).toEqual(['bm-1']);
  });

  it('any fleet: candidates suffice and are in order, and everyone else has a reason', () => {
    const sizes = fc.record({
      cpus: fc.integer({ min: 1, max: 9 }),
      memoryMb: fc.constantFrom(8_192, 16_384, 32_768),
      localGb: fc.integer({ min: 1, max: 300 }),
    });
    fc.assert(
      fc.property(fc.array(sizes, { maxLength: 30 }), (fleet) => {
        const nodes = fleet.map((size, index) => node(index + 1, size));
        const { candidates, refusals } = schedule(nodes, ask());
        expect(candidates.length + refusals.length).toBe(nodes.length);
        const keys = candidates.map(({ properties: { memoryMb, cpus, localGb } }) => memoryMb * 1e6 + cpus * 1e3 + localGb);
        expect(keys).toEqual(keys.toSorted((a, b) => a - b));
        for (const { properties } of candidates)
          expect(properties.cpus >= 4 && properties.memoryMb >= 16_384 && properties.localGb >= 100).toBe(true);
      }),
    );
  });
});

describe('002-11: association', () => {
  async function fleet(count: number) {
    const store = new MemoryStore();
    for (let number = 1; number <= count; number++) await store.create(nodeKind, `uuid-${number}`, node(number));
    return { store, clock: new VirtualClock() };
  }

  it('of as many requests at once as there are machines, each gets its own; one more is told why', async () => {
    const context = await fleet(20);
    const requests = Array.from({ length: 20 }, (_, index) =>
      place(context, { uuid: `i${index}`, name: `i${index}`, imageId: 'm', flavor, approval: { yes: true } }),
    );
    const placed = await Promise.all(requests);
    expect(new Set(placed.map(({ uuid }) => uuid)).size).toBe(20);
    const [first] = placed;
    const again = await place(context, { uuid: first?.instance?.uuid ?? '', name: 'x', imageId: 'm', flavor, approval: { yes: true } });
    expect([again.uuid, again.instance?.flavorId]).toEqual([first?.uuid, 'f']);
    await expect(place(context, { uuid: 'late', name: 'late', imageId: 'm', flavor, approval: { yes: true } })).rejects.toMatchObject({
      code: 'MACHINE_NO_HOST',
      message: expect.stringMatching(/^none of 20 machines can carry bm\.small: bm-1: is associated with another instance/),
    });
  });

  it('an empty site says that', async () => {
    await expect(place(await fleet(0), { uuid: 'x', name: 'x', imageId: 'm', flavor, approval: { yes: true } })).rejects.toMatchObject({
      message: 'no machine is enrolled that could carry bm.small',
    });
  });
});
