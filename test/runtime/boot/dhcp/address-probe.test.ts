/** Whether somebody uses an address, by a table of neighbours that behaves as Linux's: an old entry stays until nobody answers the system's own questions. */
import type { Network } from 'cdk8s-baremetal-runtime/core/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { describe, expect, it } from 'vitest';
import { AddressProbe } from '../../../../src/runtime/boot/dhcp/address-probe.ts';
import { nodeNetwork } from '../../../../src/runtime/core/node-network.ts';
import { MAC, OTHER_MAC } from './world.ts';

const ADDRESS = '192.168.50.100';
const GIVEN_UP_MS = 8000; // delay_first_probe_time 5 s, then ucast_solicit 3 times retrans_time_ms 1 s

function neighbourhood(there: string | undefined, remembered?: string) {
  const clock = new VirtualClock();
  let entry = remembered;
  const asked = (): void => {
    if (entry === undefined) entry = there;
    else if (entry !== there) clock.after(GIVEN_UP_MS, () => (entry = undefined));
  };
  const socket = { local: { address: '0.0.0.0', port: 1 }, send: asked, close: async () => undefined };
  const network: Network = { ...nodeNetwork, udp: async () => socket, hardwareAddressOf: () => entry };
  const probe = new AddressProbe({ clock, network, probeMs: 300 });
  const look = async (meantFor: string): Promise<{ user: string | undefined; tookMs: number }> => {
    const from = clock.monotonic();
    const user = await clock.run(probe.userOf(ADDRESS, meantFor));
    return { user, tookMs: clock.monotonic() - from };
  };
  return { clock, probe, look };
}

describe('002-14: somebody who uses an address', () => {
  it.each([
    ['nobody, and nobody is remembered', undefined, undefined, undefined, 300],
    ['who answers the question', OTHER_MAC, undefined, OTHER_MAC, 5],
    ['who was known before, and is still there', OTHER_MAC, OTHER_MAC, OTHER_MAC, 9005],
    ['who was known before and has left', undefined, OTHER_MAC, undefined, 8400],
    ['the one that it is meant for, known from its last start', undefined, MAC, undefined, 5],
  ])('%s', async (_, there, remembered, user, mostMs) => {
    const found = await neighbourhood(there, remembered).look(MAC);
    expect(found.user).toBe(user);
    expect(found.tookMs).toBeLessThanOrEqual(mostMs);
  });
  it('is not waited for by a server that closes', async () => {
    const { clock, probe, look } = neighbourhood(OTHER_MAC, OTHER_MAC);
    clock.after(1000, () => probe.close());
    const found = await look(MAC);
    expect(found.user).toBeUndefined();
    expect(found.tookMs).toBeLessThanOrEqual(1100);
  });
});
