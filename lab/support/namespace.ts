/**
 * The lab's provisioning network: a network namespace with a bridge, on which this machine's side has an address and guests have taps. Nothing of it is
 * seen outside, so the real ports (67, 68, 69) and real broadcasts are free to use.
 */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { findProgram, missingForNamespaces, Namespace, type Program } from '../../test/support/netns.ts';

export { findProgram, missingForNamespaces, type Program };

export class LabNetwork {
  private taps = 0;

  private constructor(
    readonly namespace: Namespace,
    /** Own address on the bridge, without the prefix length. */
    readonly address: string,
  ) {}

  /** `address` such as 192.168.50.20/24. Needs root. */
  static async create(address: string): Promise<LabNetwork> {
    const name = `bms-lab-${process.pid}-${randomBytes(3).toString('hex')}`;
    execFileSync('ip', ['netns', 'add', name]);
    const network = new LabNetwork(new Namespace(name), address.replace(/\/.*$/, ''));
    try {
      const { namespace } = network;
      await namespace.ip('link', 'set', 'lo', 'up');
      await namespace.ip('link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0'); // by default it holds frames back for 15 s
      await namespace.ip('address', 'add', address, 'dev', 'br0');
      await namespace.ip('link', 'set', 'br0', 'up');
    } catch (error) {
      await network.close();
      throw error;
    }
    return network;
  }

  /** One more cable for a guest: the tap's name, for QEMU. */
  async tap(): Promise<string> {
    const name = `tap${this.taps++}`;
    await this.namespace.ip('tuntap', 'add', name, 'mode', 'tap');
    await this.namespace.ip('link', 'set', name, 'master', 'br0', 'up');
    return name;
  }

  /** Kills what runs inside and removes everything. */
  close(): Promise<void> {
    return this.namespace.close();
  }
}
