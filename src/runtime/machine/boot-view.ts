/** Machines as the boot plane sees them: what each shall do at its next start follows from its record, and from nothing else. */
import { kernelArguments, resolveNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import type { BootIntent, BootMachine, BootMachines } from '../boot/machine.ts';
import { type Followed, follow, type Store, type Stored } from '../store/index.ts';
import { deployKeyName } from './deploy-key.ts';
import { isIncomplete, type NodeRecord, nodeKind } from './node-record.ts';
import { findNodeByMac } from './nodes.ts';
import { mayHavePosted } from './ramdisk-session.ts';
import type { SecretSource } from './secrets.ts';

export interface BootViewOptions {
  readonly store: Store;
  readonly secrets: SecretSource;
  /** The only iSCSI initiator that a ramdisk's target lets in. Default: whoever has the CHAP secret. */
  readonly initiatorName?: string;
  /** For every kernel that starts over the network, as the original's pxe_append_params. Default: none. */
  readonly kernelWords?: string;
  /** Whether a ramdisk shall go into the system that was written without the firmware. */
  readonly kexec?: boolean;
}

/** The machine's directory in the boot tree is named after its instance while it has one, as in the original. */
export function bootDirectory(node: NodeRecord): string {
  return node.instance?.uuid ?? node.uuid;
}

export class BootView implements BootMachines {
  readonly #options: BootViewOptions;
  /** Instance → machine; an index only, each answer is checked against the record. */
  readonly #byInstance = new Map<string, string>();
  /** Address → whose record reserves it, and for which interface. */
  readonly #reserved = new Map<string, { readonly id: string; readonly mac: string }>();
  /** Machine → addresses that its record reserves. */
  readonly #addresses = new Map<string, readonly string[]>();
  readonly #followed: Followed<NodeRecord>;
  #listed: Promise<void> | undefined;

  constructor(options: BootViewOptions) {
    this.#options = options;
    this.#followed = follow(options.store, nodeKind, (event) => {
      if (event.type === 'put') this.#index(event.record);
      else if (event.type === 'delete') this.#forget(event.id);
    });
  }

  reservedFor(address: string): string | undefined {
    return this.#reserved.get(address)?.mac;
  }

  async findMachine(mac: string): Promise<BootMachine | undefined> {
    await this.#known();
    const record = await findNodeByMac(this.#options.store, mac);
    return record && this.#view(record.value);
  }

  async findMachineByUuid(uuid: string): Promise<BootMachine | undefined> {
    await this.#known();
    const record = await this.#options.store.get(nodeKind, this.#byInstance.get(uuid) ?? uuid);
    return record !== undefined && bootDirectory(record.value) === uuid ? this.#view(record.value) : undefined;
  }

  close(): void {
    this.#followed.close();
  }

  /** Resolves when every record has been seen once. Rejects when the store does not answer; the next question tries again. */
  async #known(): Promise<void> {
    this.#listed ??= this.#followed.read((record) => this.#index(record), { onInvalid: () => undefined });
    try {
      await this.#listed;
    } catch (error) {
      this.#listed = undefined;
      throw error;
    }
  }

  #index({ id, value }: Stored<NodeRecord>): void {
    if (value.instance !== undefined) this.#byInstance.set(value.instance.uuid, id);
    this.#forget(id);
    const reserved = value.interfaces.flatMap(({ mac, address }) => (address === undefined ? [] : [{ mac, address }]));
    for (const { mac, address } of reserved) this.#reserved.set(address, { id, mac });
    const addresses = reserved.map(({ address }) => address);
    if (addresses.length > 0) this.#addresses.set(id, addresses);
  }

  #forget(id: string): void {
    for (const address of this.#addresses.get(id) ?? []) if (this.#reserved.get(address)?.id === id) this.#reserved.delete(address);
    this.#addresses.delete(id);
  }

  async #view(node: NodeRecord): Promise<BootMachine> {
    const hostname = node.instance?.name ?? node.name;
    const arch = bootArch(node.properties.cpuArch);
    return {
      id: node.name,
      uuid: bootDirectory(node),
      interfaces: node.interfaces.map(({ mac, address }) => ({ mac, ...(address !== undefined && { address }), hostname })),
      ...(arch && { arch }),
      boot: await this.#intent(node),
      ...(isIncomplete(node) && { incomplete: true }),
    };
  }

  #kernelWords(): readonly string[] {
    return (this.#options.kernelWords ?? '').split(' ').filter((word) => word !== '');
  }

  async #intent(node: NodeRecord): Promise<BootIntent> {
    if (isIncomplete(node)) return { kind: 'none', reason: 'it was discovered, and nobody has completed it (bmctl enrol, bmctl update)' };
    const { deployment } = node;
    const directory = bootDirectory(node);
    if (node.state === 'deploy complete' || node.state === 'active' || node.state === 'unrescuing') {
      const root = deployment?.written?.root;
      // Also one that was adopted: it was installed by somebody else, and boots as it did before.
      if (deployment === undefined || deployment.image.boot === 'local' || root === undefined) return { kind: 'local-disk' };
      return {
        kind: 'network',
        kernel: `${directory}/kernel`,
        ramdisk: `${directory}/ramdisk`,
        root,
        ...append(this.#kernelWords(), networkWords(node)),
      };
    }
    const session = node.ramdisk ?? deployment;
    if (session === undefined || !mayHavePosted(node)) return { kind: 'none', reason: `it is ${node.state}` };
    // A key that has been used is not handed out again: a second ramdisk could do nothing with it.
    if (session.keyHash === undefined) return { kind: 'none', reason: 'its ramdisk has reported already' };
    const key = await this.#options.secrets.read(deployKeyName(session.id));
    return {
      kind: 'deploy',
      kernel: `${directory}/deploy_kernel`,
      ramdisk: `${directory}/deploy_ramdisk`,
      iscsiTargetIqn: session.iqn,
      deploymentId: String(node.number),
      deploymentKey: key.reveal(),
      ...append(quieted(this.#kernelWords()), ramdiskWords(node, this.#options)),
      ...(session === deployment &&
        deployment.image.boot === 'kernel' && {
          next: { kernel: `${directory}/kernel`, ramdisk: `${directory}/ramdisk`, ...append(this.#kernelWords(), networkWords(node)) },
        }),
      ...(session.allowedAddress !== undefined && { allowedAddress: session.allowedAddress }),
      keyExpiresAtMs: session.expiresAt,
    };
  }
}

function append(...words: readonly (readonly string[])[]): { append: string } {
  return { append: words.flat().join(' ') };
}

/** The kernel would print its command line on every console, with the key on it. Whoever asks for its words gets them. */
function quieted(words: readonly string[]): readonly string[] {
  return words.some((word) => /^(?:quiet|debug|ignore_loglevel|loglevel=.*)$/.test(word)) ? words : [...words, 'quiet'];
}

/** What our ramdisk is told beyond the original's words; others pass over them. */
function ramdiskWords({ ramdisk, deployment, rootDiskSerial }: NodeRecord, { initiatorName, kexec }: BootViewOptions): string[] {
  const direct = ramdisk === undefined && deployment?.image.method === 'direct';
  return [
    ...(ramdisk === undefined ? [] : [`bms_action=${ramdisk.purpose}`]),
    ...(direct ? ['deploy_method=direct'] : initiatorName === undefined ? [] : [`iscsi_initiator=${initiatorName}`]),
    // an image whose kernel comes over the network has none on its disk that would be meant
    ...(kexec && ramdisk === undefined && deployment?.image.boot === 'local' ? ['bms_restart=kexec'] : []),
    // a command line has no quotes that every loader would leave alone
    ...(rootDiskSerial === undefined ? [] : [`disk_serial=${encodeURIComponent(rootDiskSerial).replaceAll("'", '%27')}`]),
  ];
}

/** nova's pxe_network_config. Of interfaces that the machine has lost since its spawn nothing is said: better by DHCP than not at all. */
function networkWords({ instance, interfaces }: NodeRecord): string[] {
  if (instance?.network?.onKernelCommandLine !== true) return [];
  const network = resolveNetwork(
    instance.network,
    interfaces.map(({ mac }) => mac),
  );
  return typeof network === 'string' ? [] : kernelArguments(network);
}

/** Undefined for what the boot plane has no name for. */
export function bootArch(cpuArch: string): BootMachine['arch'] {
  return ARCHITECTURES[cpuArch];
}

const ARCHITECTURES: Readonly<Record<string, NonNullable<BootMachine['arch']>>> = {
  i386: 'x86',
  i686: 'x86',
  x86_64: 'x86_64',
  aarch64: 'arm64',
};
