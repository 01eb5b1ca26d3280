/** Drivers for sites without virtual networks, volumes or a firewall: they do nothing, and remember what they were asked. */
import type { NodeRecord } from './node-record.ts';
import type { FirewallDriver, VifDriver, VolumeDriver } from './ports.ts';

export interface Recorded {
  readonly call: string;
  readonly node: string;
}

/** The last calls, oldest first; bounded, since a daemon lives long. */
class Recorder {
  readonly calls: Recorded[] = [];

  protected note(call: string, node: NodeRecord): void {
    this.calls.push({ call, node: node.uuid });
    if (this.calls.length > 1_000) this.calls.shift();
  }
}

/** Gives the instance's virtual interfaces to the machine's own in order, and touches no switch. More of them than ports is an error. */
export class NoOpVifDriver extends Recorder implements VifDriver {
  async plug(node: NodeRecord): Promise<Readonly<Record<string, string>>> {
    this.note('plug vifs', node);
    const vifs = node.instance?.vifs ?? [];
    if (vifs.length > node.interfaces.length) {
      throw Object.assign(new Error(`${vifs.length} virtual interfaces for ${node.interfaces.length} physical ones`), { permanent: true });
    }
    return Object.fromEntries(vifs.map((vif, index) => [node.interfaces[index]?.mac ?? '', vif]));
  }

  async unplug(node: NodeRecord): Promise<void> {
    this.note('unplug vifs', node);
  }
}

export class NoOpVolumeDriver extends Recorder implements VolumeDriver {
  async attach(node: NodeRecord): Promise<void> {
    this.note('attach volumes', node);
    if (node.instance !== undefined && node.instance.volumes.length > 0) {
      throw Object.assign(new Error('this site has no volume driver, but the instance asks for volumes'), { permanent: true });
    }
  }

  async detach(node: NodeRecord): Promise<void> {
    this.note('detach volumes', node);
  }

  async attachVolume(node: NodeRecord): Promise<void> {
    this.note('attach volume', node);
    throw Object.assign(new Error('this site has no volume driver'), { permanent: true });
  }

  async detachVolume(node: NodeRecord): Promise<void> {
    this.note('detach volume', node);
  }
}

/** The seed's NoopFirewallDriver. */
export class NoOpFirewallDriver extends Recorder implements FirewallDriver {
  async start(node: NodeRecord): Promise<void> {
    this.note('start firewall', node);
  }

  async stop(node: NodeRecord): Promise<void> {
    this.note('stop firewall', node);
  }
}
