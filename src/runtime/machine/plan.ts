/**
 * What a request will do to a machine, before it does it: pure. The hash stands for everything that a person has looked at; a verb that wipes takes
 * it (or an explicit yes), and is refused when what it would do has changed meanwhile.
 */
import { createHash } from 'node:crypto';
import { type InstanceNetwork, type ResolvedInterface, resolveNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import type { ImageRecord } from './catalog-records.ts';
import { machineErrors } from './errors.ts';
import type { NodeRecord, WipeMode } from './node-record.ts';
import { defaultSettings, type MachineSettings } from './settings.ts';

export type PlannedRequest =
  | { readonly verb: 'spawn'; readonly imageId: string; readonly network?: InstanceNetwork }
  | { readonly verb: 'rebuild'; readonly imageId?: string; readonly preserveEphemeral?: boolean }
  | { readonly verb: 'clean'; readonly wipe?: WipeMode }
  | { readonly verb: 'attach volume' | 'detach volume'; readonly volume: string }
  | { readonly verb: 'plug vifs'; readonly vifs: readonly string[] }
  | { readonly verb: 'destroy' | 'reboot' | 'power off' | 'inspect' | 'rescue' | 'unrescue' };

export interface Plan {
  readonly node: string;
  readonly verb: PlannedRequest['verb'];
  /** In order, in words; what loses data begins with WIPE. */
  readonly steps: readonly string[];
  readonly wipes: boolean;
  /** A guess: self-tests of servers take minutes, and disks differ. */
  readonly expectedMinutes: number;
  /** SHA-256 of all of the above and of what it depends on, lower-case hex. */
  readonly hash: string;
}

export type Approval = { readonly hash: string } | { readonly yes: true };

/** From power to the ramdisk's POST on a real server, and the same again for its own system. */
const BOOT_MINUTES = 5;
/** Bytes a minute over iSCSI at 50 MB/s, written and read back. */
const BYTES_PER_MINUTE = (50e6 * 60) / 2;
/** Zeros only, by WRITE SAME where there is one: at the pace of a hard disk. */
const ERASE_BYTES_PER_MINUTE = 150e6 * 60;

export function planOf(
  request: PlannedRequest,
  node: NodeRecord,
  image?: ImageRecord,
  settings: Pick<MachineSettings, 'cleanAfterDestroy'> = defaultSettings,
): Plan {
  const { steps, minutes, wipes } = describe(request, node, image, settings);
  const expectedMinutes = Math.max(1, Math.ceil(minutes));
  const { rootDiskSerial, generation, state, uuid, instance, installed } = node;
  // what is asked for by saying no is what is asked for by saying nothing
  const { preserveEphemeral, ...asked } = { preserveEphemeral: undefined, ...request };
  const basis = {
    request: preserveEphemeral ? request : asked,
    uuid,
    state,
    generation,
    rootDiskSerial,
    instance: instance?.uuid,
    installed: installed?.deploymentId,
    image: image && { id: image.id, sha256: image.sha256, sizeBytes: image.sizeBytes, boot: image.boot, layout: image.layout },
    steps,
  };
  const hash = createHash('sha256').update(canonical(basis)).digest('hex');
  return { node: node.name, verb: request.verb, steps, wipes, expectedMinutes, hash };
}

/** Throws MACHINE_NOT_APPROVED or MACHINE_PLAN_CHANGED; a plan that loses nothing needs no approval. */
export function checkApproval(node: NodeRecord, plan: Plan, approval: Approval | undefined): void {
  if (approval !== undefined && 'hash' in approval) {
    if (approval.hash !== plan.hash) throw machineErrors.MACHINE_PLAN_CHANGED({ node: node.name, verb: plan.verb });
    return;
  }
  if ((plan.wipes || plan.verb === 'destroy') && approval?.yes !== true)
    throw machineErrors.MACHINE_NOT_APPROVED({ node: node.name, verb: plan.verb });
}

function describe(
  request: PlannedRequest,
  node: NodeRecord,
  image: ImageRecord | undefined,
  settings: Pick<MachineSettings, 'cleanAfterDestroy'>,
): { steps: string[]; minutes: number; wipes: boolean } {
  const disk = diskOf(node);
  const ramdisk = ['power off, whatever runs', 'boot the deploy ramdisk over the network'];
  const diskBytes = node.installed?.disk?.sizeBytes ?? node.properties.localGb * 1e9;
  switch (request.verb) {
    case 'spawn':
    case 'rebuild': {
      const imageId = request.imageId ?? node.instance?.imageId ?? '';
      const keeps = request.verb === 'rebuild' && request.preserveEphemeral === true;
      const wipe = keeps ? `WIPE ${disk}, all but its ephemeral partition` : `WIPE ${disk}`;
      const network = request.verb === 'spawn' ? request.network : node.instance?.network;
      const steps = [...ramdisk, wipe, `write the image ${imageId}${bytesOf(image)}`, ...networkSteps(node, network), restart(image?.boot)];
      return { steps, wipes: true, minutes: 2 * BOOT_MINUTES + (image?.sizeBytes ?? diskBytes) / BYTES_PER_MINUTE };
    }
    case 'clean': {
      const full = request.wipe === 'full';
      const wipe = full ? `WIPE ${disk}, every block` : `WIPE ${disk}: partition tables and superblocks`;
      return {
        steps: [...ramdisk, wipe, 'power off'],
        wipes: true,
        minutes: BOOT_MINUTES + (full ? diskBytes / ERASE_BYTES_PER_MINUTE : 1),
      };
    }
    case 'destroy': {
      const { cleanAfterDestroy } = settings;
      const wipe =
        cleanAfterDestroy === 'none'
          ? []
          : [`WIPE ${disk}${cleanAfterDestroy === 'full' ? ', every block' : ': partition tables and superblocks'}`];
      const steps = [`end ${node.instance?.name ?? 'nothing'}: power off`, 'detach volumes, unplug interfaces, free the machine', ...wipe];
      return { steps, wipes: wipe.length > 0, minutes: wipe.length > 0 ? BOOT_MINUTES + 1 : 1 };
    }
    case 'reboot':
      return {
        steps: ['ask the operating system to shut down', 'cut the power if it does not', 'power on'],
        wipes: false,
        minutes: BOOT_MINUTES,
      };
    case 'power off':
      return { steps: ['cut the power, whatever runs'], wipes: false, minutes: 1 };
    case 'inspect':
      return { steps: [...ramdisk, 'read the hardware', 'power off'], wipes: false, minutes: BOOT_MINUTES + 1 };
    case 'rescue':
      return { steps: [...ramdisk, 'leave it running; the disk is not touched'], wipes: false, minutes: BOOT_MINUTES };
    case 'attach volume':
      return { steps: [`export the volume ${request.volume} to the addresses of ${node.name} alone`], wipes: false, minutes: 1 };
    case 'detach volume':
      return {
        steps: [`end the export of the volume ${request.volume}, whoever has it mounted`, 'leave what is on it as it is'],
        wipes: false,
        minutes: 1,
      };
    case 'plug vifs':
      return { steps: vifSteps(node, request.vifs), wipes: false, minutes: 1 };
    case 'unrescue':
      return { steps: ['power off', restart(node.deployment?.image.boot)], wipes: false, minutes: BOOT_MINUTES };
  }
}

function restart(boot: ImageRecord['boot'] | undefined): string {
  return boot === 'kernel' ? 'restart over the network, with the kernel of the instance' : 'restart from the disk';
}

function networkSteps(node: NodeRecord, network: InstanceNetwork | undefined): string[] {
  if (network === undefined) return [];
  const resolved = resolveNetwork(
    network,
    node.interfaces.map(({ mac }) => mac),
  );
  if (typeof resolved === 'string') return [`hand over no network settings: ${resolved}`];
  return resolved.interfaces.map((one) => `hand over ${one.name} (${one.mac}): ${addressesOf(one)}`);
}

function addressesOf({ ipv4, ipv6, dns }: ResolvedInterface): string {
  const words = [ipv4, ipv6].flatMap((one) => {
    if (one === undefined) return [];
    if (typeof one === 'string') return [one === 'dhcp' ? 'DHCP' : 'router advertisements'];
    return [`${one.address}/${one.prefix}${one.gateway === undefined ? '' : ` by ${one.gateway}`}`];
  });
  return [...(words.length > 0 ? words : ['no address']), ...(dns.length > 0 ? [`name servers ${dns.join(' ')}`] : [])].join(', ');
}

function vifSteps({ instance }: NodeRecord, vifs: readonly string[]): string[] {
  const before = instance?.vifs ?? [];
  const steps = [
    ...before.filter((vif) => !vifs.includes(vif)).map((vif) => `unplug ${vif}: its port loses the network`),
    ...vifs.filter((vif) => !before.includes(vif)).map((vif) => `plug ${vif} into a free interface`),
  ];
  return steps.length > 0 ? steps : ['nothing: they are plugged already'];
}

function diskOf(node: NodeRecord): string {
  const serial = node.rootDiskSerial ?? node.installed?.disk?.serial;
  return serial === undefined ? 'the first disk that its ramdisk finds' : `the disk with serial ${serial}`;
}

function bytesOf(image: ImageRecord | undefined): string {
  return image?.sizeBytes === undefined ? '' : ` (${image.sizeBytes} bytes)`;
}

/** JSON with the keys in order, so that equal things have equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}
