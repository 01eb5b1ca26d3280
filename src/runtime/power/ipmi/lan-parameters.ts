/** The BMC's own network settings (IPMI v2.0 rev 1.1 Table 23-4). */
import { codeOf } from '../errors.ts';
import { ByteReader } from './bytes.ts';
import { Command, type IpmiCommand } from './commands.ts';
import { NetFn } from './message.ts';
import type { RunCommand } from './sensors.ts';

const THIS_CHANNEL = 0x0e;

export const LanParameter = {
  address: 3,
  source: 4,
  mac: 5,
  mask: 6,
  gateway: 12,
  gatewayMac: 13,
  vlan: 20,
  suiteCount: 22,
  suites: 23,
} as const;

export function getLanParameter(parameter: number): IpmiCommand<Buffer> {
  return {
    name: `Get LAN Configuration Parameters (${parameter})`,
    netFn: NetFn.transport,
    command: Command.getLanParameter,
    data: Uint8Array.of(THIS_CHANNEL, parameter, 0, 0),
    parse(data) {
      const reader = new ByteReader(data, 'Get LAN Configuration Parameters');
      reader.skip(1); // parameter revision
      return reader.rest();
    },
  };
}

export interface LanParameters {
  readonly address?: string | undefined;
  readonly source?: string | undefined;
  readonly mac?: string | undefined;
  readonly mask?: string | undefined;
  readonly gateway?: string | undefined;
  /** 802.1q id where tagging is on. */
  readonly vlan?: number | undefined;
  /** Ids that the channel offers. */
  readonly cipherSuites?: readonly number[] | undefined;
}

const SOURCES = ['unspecified', 'static', 'DHCP', 'BIOS', 'other'] as const;

/** What the BMC does not have is left out. */
export async function readLanParameters(run: RunCommand, signal?: AbortSignal): Promise<LanParameters> {
  const read = async (parameter: number, bytes: number): Promise<Buffer | undefined> => {
    try {
      const data = await run(getLanParameter(parameter), signal);
      return data.length >= bytes ? data : undefined;
    } catch (error) {
      if (codeOf(error) !== 'IPMI_COMPLETION') throw error;
      return undefined;
    }
  };
  const quad = (data: Buffer | undefined): string | undefined => data && [...data.subarray(0, 4)].join('.');
  const address = quad(await read(LanParameter.address, 4));
  const source = await read(LanParameter.source, 1);
  const mac = await read(LanParameter.mac, 6);
  const mask = quad(await read(LanParameter.mask, 4));
  const gateway = quad(await read(LanParameter.gateway, 4));
  const vlan = await read(LanParameter.vlan, 2);
  const count = await read(LanParameter.suiteCount, 1);
  const suites = await read(LanParameter.suites, 1);
  return {
    address,
    source: source && (SOURCES[source.readUInt8(0) & 0x0f] ?? 'reserved'),
    mac: mac && [...mac.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
    mask,
    gateway,
    vlan: vlan && vlan.readUInt8(1) & 0x80 ? vlan.readUInt16LE(0) & 0x0fff : undefined,
    cipherSuites: count && suites ? [...suites.subarray(1, 1 + (count.readUInt8(0) & 0x1f))] : undefined,
  };
}
