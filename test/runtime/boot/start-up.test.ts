/** What is read and looked at before the boot plane answers anybody. */
import { describe, expect, it } from 'vitest';
import { deviceSockets, provisioningInterfaces } from '../../../src/runtime/boot/device-sockets.ts';
import { parseNetworkLine } from '../../../src/runtime/boot/dhcp/network-line.ts';
import { missingLoaders } from '../../../src/runtime/boot/loader/check.ts';
import { memorySource } from '../../../src/runtime/boot/tftp/source.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';

describe('boot loaders', () => {
  const present = (names: readonly string[]) => memorySource(new Map(names.map((name) => [name, 'x'])));
  const cases = [
    { names: ['pxelinux.0', 'ldlinux.c32', 'bootx64.efi'], missing: [] },
    {
      names: ['pxelinux.0', 'bootx64.efi'],
      missing: ['BIOS machines cannot be booted: ldlinux.c32 is neither in /tftpboot nor in the image'],
    },
    {
      names: [],
      missing: [
        'BIOS machines cannot be booted: pxelinux.0, ldlinux.c32 are neither in /tftpboot nor in the image',
        'x64 UEFI machines cannot be booted: bootx64.efi is neither in /tftpboot nor in the image',
      ],
    },
  ];
  it.each(cases)('002-4: with $names', async ({ names, missing }) => {
    const errors = await missingLoaders(present(names), { root: '/tftpboot' });
    expect(errors.map(({ message }) => message)).toEqual(missing);
    expect(errors.every(({ code }) => code === 'LOADER_FILES_MISSING')).toBe(true);
  });

  it('002-4: other files by configuration', async () => {
    const loaderFiles = { 0: 'undionly.kpxe', 7: 'shimx64.efi' };
    expect(await missingLoaders(present(['undionly.kpxe', 'shimx64.efi']), { root: '/tftpboot', loaderFiles })).toEqual([]);
  });
});

describe('[dhcp] networks', () => {
  it('002-5: network, ranges, gateway, relays', () => {
    const line = '192.168.50.0/24 range=192.168.50.100-192.168.50.199 gateway=192.168.50.254 relay=10.0.0.1 relay=10.0.0.2';
    expect(parseNetworkLine(line, { dns: ['10.0.0.53'] })).toEqual({
      cidr: '192.168.50.0/24',
      pools: [{ first: '192.168.50.100', last: '192.168.50.199' }],
      gateway: '192.168.50.254',
      relays: ['10.0.0.1', '10.0.0.2'],
      dns: ['10.0.0.53'],
    });
  });

  it.each([
    '10.0.0.0/24 range=10.0.0.5',
    '10.0.0.0/24 gateway=1 gateway=2',
    '10.0.0.0/24 relay=',
    '10.0.0.0/24 gw=10.0.0.1',
    '10.0.0.0/24 x',
  ])('%s is refused by name', (line) =>
    expect(() => parseNetworkLine(line)).toThrow(expect.objectContaining({ code: 'DHCP_BAD_NETWORK' })),
  );
});

describe('provisioning interfaces', () => {
  it('002-5: get the descriptors that the launcher names', () => {
    const sockets = deviceSockets('eth0.1800=3,br1=14,nonsense,=5');
    const addresses: Record<string, string> = { 'eth0.1800': '192.168.50.20', br1: '192.168.51.20', br2: '192.168.52.20' };
    expect(provisioningInterfaces(Object.keys(addresses), (name) => addresses[name], sockets)).toEqual([
      { name: 'eth0.1800', address: '192.168.50.20', fd: 3 },
      { name: 'br1', address: '192.168.51.20', fd: 14 },
      { name: 'br2', address: '192.168.52.20' },
    ]);
    expect(() => provisioningInterfaces(['eth9'], () => undefined, sockets)).toThrow(
      expect.objectContaining({ code: 'DHCP_INTERFACE_UNKNOWN' }),
    );
  });
});

it('002-4: HTTP headers are spelt as GRUB 2.06 looks for them, or it reads on until the connection times out', async () => {
  const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, async () => ({
    status: 200,
    headers: { 'content-length': '2', etag: '"x"' },
    body: 'ok',
  }));
  const connection = await nodeNetwork.connect(server.local);
  await connection.write(Buffer.from('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'));
  let text = '';
  for await (const chunk of connection) text += Buffer.from(chunk).toString();
  expect(text).toContain('\r\nContent-Length: 2\r\n');
  await server.close(0);
});

it('a UDP socket with one peer hears nobody else, tells when the peer has gone, and knows its MTU', async () => {
  const received: string[] = [];
  const refused = Promise.withResolvers<Error>();
  const peer = await nodeNetwork.udp({ address: '127.0.0.1' }, { onMessage: () => undefined });
  const stranger = await nodeNetwork.udp({ address: '127.0.0.1' }, { onMessage: () => undefined });
  const socket = await nodeNetwork.udp(
    { address: '127.0.0.1', peer: peer.local, stable: true },
    { onMessage: (data) => received.push(Buffer.from(data).toString()), onError: (error) => refused.resolve(error) },
  );
  if (process.platform === 'linux') expect(socket.mtu).toBeGreaterThan(1500); // loopback
  stranger.send(Buffer.from('stranger'), socket.local);
  peer.send(Buffer.from('peer'), socket.local);
  while (received.length === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(received).toEqual(['peer']);
  await peer.close();
  socket.send(Buffer.from('x'), peer.local);
  expect(await refused.promise).toMatchObject({ code: 'ECONNREFUSED' });
  await Promise.all([socket.close(), stranger.close()]);
});
