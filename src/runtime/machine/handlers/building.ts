import { openstackConfigDrive, resolveNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import { randomUuid } from '../../core/random.ts';
import { PHONE_HOME_PATH } from '../../deploy/phone-home/index.ts';
import { deployKeyHash } from '../deploy-key.ts';
import type { Deployment } from '../deployment-record.ts';
import type { Handler, HandlerContext } from '../handler.ts';
import type { NodeRecord } from '../node-record.ts';
import { newPhoneHomeToken, phoneHomeHash, phoneHomeName } from '../phone-home.ts';
import type { CachedImage } from '../ports.ts';
import { mint, mintKey } from '../ramdisk-session.ts';
import { type Change, done, failed, proceed, type StepResult } from '../results.ts';
import { powerOnFromNetwork } from './network-boot.ts';

/** The original's order. Each step is idempotent, and the one to do next is on the record. */
export const buildingSteps = [
  'plug vifs',
  'attach volumes',
  'start firewall',
  'cache images',
  'activate bootloader',
  'power off',
  'power on',
] as const;
type BuildingStep = (typeof buildingSteps)[number];

export const building: Handler = async (context) => {
  const { node } = context;
  if (node.instance === undefined) return failed('the association with the instance is gone');
  const step = buildingSteps.find((name) => name === node.step);
  return step === undefined ? proceed('plug vifs') : steps[step](context);
};

const steps: Readonly<Record<BuildingStep, (context: HandlerContext) => Promise<StepResult>>> = {
  'plug vifs': async ({ node, ports, signal }) => {
    const assigned = await ports.vifs.plug(node, signal);
    return proceed('attach volumes', (latest) => ({
      ...latest,
      interfaces: latest.interfaces.map((known) => ({ ...known, vif: assigned[known.mac] })),
    }));
  },
  'attach volumes': async ({ node, ports, signal }) => {
    await ports.volumes.attach(node, signal);
    return proceed('start firewall');
  },
  'start firewall': async ({ node, ports, signal }) => {
    await ports.firewall.start(node, signal);
    return proceed('cache images');
  },
  'cache images': async (context) => {
    const image = await context.ports.images.cache(context.node, context.signal);
    const begun = newDeployment(context, image);
    return proceed('activate bootloader', (latest) => ({ ...latest, deployment: begun }));
  },
  'activate bootloader': async (context) => {
    const { node, ports, signal } = context;
    const { deployment } = node;
    if (deployment === undefined) return proceed('cache images');
    const key = await mintKey(context, deployment.id);
    await ports.bootloader.activate(node, key, signal);
    const keyHash = deployKeyHash(key);
    const phoneHome = deployment.phoneHome && { ...deployment.phoneHome, tokenHash: await mintPhoneHome(context, deployment.id) };
    return proceed('power off', (latest) => ({
      ...latest,
      deployment: latest.deployment && { ...latest.deployment, keyHash, ...(phoneHome && { phoneHome }) },
    }));
  },
  'power off': async ({ node, ports, signal, clock, settings }) => {
    await ports.power.ensureOff(node, signal);
    return proceed('power on', keyUsableUntil(clock.now() + settings.pxeDeployTimeoutMs));
  },
  'power on': async (context) => {
    const { node, clock, settings } = context;
    // A ramdisk that has posted is up: neither boot device nor power is touched under it.
    if (node.deployment?.claim === undefined && node.deployment?.reportedError === undefined) await powerOnFromNetwork(context);
    return done('prepared', 'powered on; waiting for the deploy ramdisk', keyUsableUntil(clock.now() + settings.pxeDeployTimeoutMs));
  },
};

/** The key lives as long as somebody waits for it, from the power-on on. */
function keyUsableUntil(expiresAt: number): Change {
  return (latest) => ({ ...latest, deployment: latest.deployment && { ...latest.deployment, expiresAt } });
}

/** As with the key: stored before its hash is, and read back. */
async function mintPhoneHome(context: HandlerContext, deploymentId: string): Promise<string> {
  return phoneHomeHash(await mint(context, phoneHomeName(deploymentId), () => newPhoneHomeToken(context.random)));
}

function newDeployment({ node, random, clock, settings }: HandlerContext, { phonesHome, ...image }: CachedImage): Deployment {
  const id = randomUuid(random);
  const url = phonesHome && settings.phoneHomeUrl !== undefined ? `${settings.phoneHomeUrl}${PHONE_HOME_PATH}${node.number}` : undefined;
  const configDrive = configDriveOf(node, url !== undefined);
  return {
    id,
    generation: node.generation,
    imageId: node.instance?.imageId ?? '',
    image: {
      boot: 'local',
      ...image,
      ...(node.instance?.preserveEphemeral && { preserveEphemeral: true }),
      ...(configDrive && { configDrive }),
    },
    iqn: `${settings.iqnPrefix}:${id}`,
    ...(url !== undefined && { phoneHome: { url } }),
    expiresAt: clock.now() + settings.pxeDeployTimeoutMs,
  };
}

/**
 * An instance that is given a network finds it, and its own name, where cloud-init and Ignition look; one that is to report needs the drive in any
 * case, and takes its address by DHCP where it is given none.
 */
function configDriveOf({ instance, interfaces }: NodeRecord, reports: boolean): Deployment['image']['configDrive'] {
  if (instance === undefined || (instance.network === undefined && !reports)) return undefined;
  const macs = interfaces.map(({ mac }) => mac);
  const byDhcp = { interfaces: [{ on: 0, ipv4: 'dhcp' as const }] };
  let network = resolveNetwork(instance.network ?? byDhcp, macs);
  // of interfaces that the machine has lost: better by DHCP than not at all
  if (typeof network === 'string' && reports) network = resolveNetwork(byDhcp, macs);
  if (typeof network === 'string') return undefined;
  const { label, files } = openstackConfigDrive({ instance: { uuid: instance.uuid, name: instance.name }, network });
  return { label, files: [...files] };
}
