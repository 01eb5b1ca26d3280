import { describe, expect, it } from 'vitest';
import { decodeDhcp } from '../../../../src/runtime/boot/dhcp/codec.ts';
import { messageType, OPTION, textOption } from '../../../../src/runtime/boot/dhcp/options.ts';
import * as captures from './captures.ts';
import { MAC, machine, SERVER, World } from './world.ts';

const proxy = (): World => new World({ mode: 'proxy' }, { http: true }).add(machine());

describe('002-14: proxy mode, so that another DHCP server need not be stopped', () => {
  it('002-14: offers a boot file and no address', () => {
    const [offer] = proxy().send(decodeDhcp(captures.INTEL_PXE_DISCOVER)).replies;
    if (!offer) throw new Error('no offer');
    expect(offer.message).toMatchObject({ yiaddr: '0.0.0.0', siaddr: SERVER, file: 'pxelinux.0' });
    expect(messageType(offer.message)).toBe('offer');
    expect(textOption(offer.message, OPTION.vendorClass)).toBe('PXEClient');
    expect([...(offer.message.options.get(OPTION.vendorSpecific) ?? [])]).toEqual([6, 1, 8, 255]);
    for (const code of [OPTION.leaseTime, OPTION.subnetMask, OPTION.router]) expect(offer.message.options.has(code)).toBe(false);
    expect(offer.to).toEqual({ address: '255.255.255.255', port: 68 });
  });

  it('002-14: answers a boot server request on port 4011 to where it came from, with its boot item', () => {
    const source = { address: '192.168.50.100', port: 4011 };
    const outcome = proxy().send(decodeDhcp(captures.PXE_BOOT_SERVER_REQUEST), { port: 'boot-server', source });
    const [ack] = outcome.replies;
    expect(ack?.to).toEqual(source);
    expect(ack?.message.file).toBe('pxelinux.0');
    expect(ack && messageType(ack.message)).toBe('ack');
    expect([...(ack?.message.options.get(OPTION.vendorSpecific) ?? [])]).toEqual([6, 1, 8, 71, 4, 0x80, 0, 0, 0, 255]);
  });

  it('002-14: gives UEFI HTTP boot its URL', () => {
    const world = proxy().add(machine({ mac: '52:54:00:aa:bb:10' }));
    const offer = world.send(decodeDhcp(captures.EDK2_HTTP_DISCOVER)).replies[0]?.message;
    expect(offer && textOption(offer, OPTION.vendorClass)).toBe('HTTPClient');
    expect(offer && textOption(offer, OPTION.bootFile)).toBe(`http://${SERVER}/bootx64.efi`);
  });

  it('learns who has which address from the request to the other server and from port 4011', () => {
    const world = proxy();
    const outcome = world.ask('request', { requested: '192.168.50.77', serverId: '192.168.50.1' });
    expect(outcome).toMatchObject({ replies: [], changed: [], exchange: { answer: 'none', address: '192.168.50.77', uses: true } });
    expect(outcome.rival).toBeUndefined(); // here the other server is wanted
    expect(world.observed.macAt('192.168.50.77', world.nowMs)).toBe(MAC);
    world.send(decodeDhcp(captures.PXE_BOOT_SERVER_REQUEST), { port: 'boot-server' });
    expect([world.observed.macAt('192.168.50.77', world.nowMs), world.observed.macAt('192.168.50.100', world.nowMs)]).toEqual([
      undefined,
      MAC,
    ]);
    expect(world.observed.macAt('192.168.50.100', world.nowMs + 3_600_000)).toBeUndefined();
  });

  const silent = [
    { name: 'a client that does not boot', world: proxy, ask: {}, reason: /does not boot over the network/ },
    {
      name: 'an unknown machine',
      world: () => new World({ mode: 'proxy', unknownMachines: 'offer' }),
      ask: { vendor: 'PXEClient', arch: 0 },
      reason: /no machine has/,
    },
    {
      name: 'a machine that shall not boot from here',
      world: () => new World({ mode: 'proxy' }).add(machine({ boot: { kind: 'none', reason: 'maintenance' } })),
      ask: { vendor: 'PXEClient', arch: 0 },
      reason: /maintenance/,
    },
    {
      name: 'an architecture without a loader',
      world: proxy,
      ask: { vendor: 'PXEClient', arch: 999 },
      reason: /no loader for architecture 999/,
    },
  ];
  it.each(silent)('is silent to $name', ({ world, ask, reason }) => {
    const outcome = world().ask('discover', ask);
    expect(outcome.replies).toEqual([]);
    expect(outcome.exchange.reason).toMatch(reason);
  });
});
