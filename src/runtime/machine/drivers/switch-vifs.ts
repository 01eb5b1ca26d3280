/**
 * Virtual interfaces plugged by switching the port that a machine's cable ends at: first every port of the machine is cleared, then each virtual
 * interface gets the first free one, as in the original. The switch itself is behind a port; `RecordingSwitch` is one without hardware.
 */
import type { NodeRecord } from '../node-record.ts';
import type { VifDriver } from '../ports.ts';

export interface SwitchPort {
  readonly datapathId: string;
  readonly portNo: number;
}

/** Both are absolute and idempotent. */
export interface SwitchDriver {
  /** From now on the port belongs to this virtual interface, and to no other. */
  connect(port: SwitchPort, vif: string, signal: AbortSignal): Promise<void>;
  /** From now on it belongs to none: only the provisioning network is reached. */
  clear(port: SwitchPort, signal: AbortSignal): Promise<void>;
}

export class SwitchVifs implements VifDriver {
  constructor(private readonly driver: SwitchDriver) {}

  async plug(node: NodeRecord, signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const vifs = node.instance?.vifs ?? [];
    const cabled = node.interfaces.flatMap(({ mac, datapathId, portNo }) =>
      datapathId === undefined || portNo === undefined ? [] : [{ mac, port: { datapathId, portNo } }],
    );
    if (vifs.length > cabled.length) {
      const reason = `${vifs.length} virtual interfaces for ${cabled.length} interfaces whose switch port is known`;
      throw Object.assign(new Error(reason), { permanent: true });
    }
    const assigned: Record<string, string> = {};
    for (const [index, { mac, port }] of cabled.entries()) {
      const vif = vifs[index];
      if (vif === undefined) await this.driver.clear(port, signal);
      else {
        await this.driver.connect(port, vif, signal);
        assigned[mac] = vif;
      }
    }
    return assigned;
  }

  async unplug(node: NodeRecord, signal: AbortSignal): Promise<void> {
    const failures: unknown[] = [];
    for (const { datapathId, portNo } of node.interfaces) {
      if (datapathId === undefined || portNo === undefined) continue;
      try {
        await this.driver.clear({ datapathId, portNo }, signal);
      } catch (error) {
        signal.throwIfAborted();
        failures.push(error);
      }
    }
    if (failures.length > 0)
      throw new AggregateError(failures, `${failures.length} switch ports could not be cleared: ${String(failures[0])}`);
  }
}

/** A switch without hardware: what it was told, and what it would do now. */
export class RecordingSwitch implements SwitchDriver {
  /** The last thousand, oldest first. */
  readonly log: { readonly port: string; readonly vif: string | undefined }[] = [];
  readonly #ports = new Map<string, string>();
  readonly #onChange: (port: string, vif: string | undefined) => void;

  constructor(onChange: (port: string, vif: string | undefined) => void = () => undefined) {
    this.#onChange = onChange;
  }

  /** The virtual interface behind a port. */
  vifOf({ datapathId, portNo }: SwitchPort): string | undefined {
    return this.#ports.get(`${datapathId}/${portNo}`);
  }

  async connect(port: SwitchPort, vif: string): Promise<void> {
    const key = this.#note(port, vif);
    this.#ports.set(key, vif);
  }

  async clear(port: SwitchPort): Promise<void> {
    this.#ports.delete(this.#note(port, undefined));
  }

  #note({ datapathId, portNo }: SwitchPort, vif: string | undefined): string {
    const port = `${datapathId}/${portNo}`;
    this.log.push({ port, vif });
    if (this.log.length > 1_000) this.log.shift();
    this.#onChange(port, vif);
    return port;
  }
}
