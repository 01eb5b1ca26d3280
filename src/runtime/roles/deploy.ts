/** The deploy-helper that ramdisks post to, and what a deployment is done with: images, the iSCSI writer, the word back to the ramdisk. */
import type { HttpHandler } from '../core/network.ts';
import { Bandwidth } from '../deploy/bandwidth.ts';
import { DIRECT_PATH, type DirectServiceOptions, directService } from '../deploy/direct/index.ts';
import { deployHelper } from '../deploy/helper/index.ts';
import { ImageCache } from '../deploy/image/cache/index.ts';
import { HashThread } from '../deploy/image/index.ts';
import { PHONE_HOME_PATH, phoneHomeService } from '../deploy/phone-home/index.ts';
import { bootTree } from '../machine/boot-tree.ts';
import { deployerByMethod } from '../machine/direct-deployer.ts';
import { directDesk } from '../machine/direct-desk.ts';
import { acceptReport, claimDeployment, type MachinePorts, ramdiskNotifier } from '../machine/index.ts';
import { IscsiDeployer } from '../machine/iscsi-deployer.ts';
import { LocalImageCache } from '../machine/local-image-cache.ts';
import { acceptPhoneHome } from '../machine/phone-home.ts';
import { deployHelperKind, joinPeers } from './peers.ts';
import { listening, type Role, type Surroundings, startRole } from './role.ts';

/** Initiator name of every replica: a successor's login must end its predecessor's session. RFC 7143 section 4.2.7. */
export const INITIATOR_NAME = 'iqn.2026-11.io.bms.baremetal:deploy-helper';

export interface DeployRole extends Role {
  readonly ports: Pick<MachinePorts, 'images' | 'bootloader' | 'deployer' | 'notifier'>;
}

export function startDeploy(surroundings: Surroundings): Promise<DeployRole> {
  const { config, memberName, store, secrets, network, clock, random, logger, serverAddress, openImage } = surroundings;
  return startRole(async (closing) => {
    const { image_cache: cache, deploy_helper: limits } = config;
    const shared = new ImageCache({
      directory: cache.dir,
      maxBytes: cache.size_gb * 1e9,
      maxVirtualSizeBytes: cache.largest_disk_gb * 1e9,
      maxStoredBytes: cache.largest_stored_gb * 1e9,
      sources: [config.pxe.user_image_dir],
      network,
      clock,
      logger,
      ...(openImage && { openImage }),
    });
    const images = new LocalImageCache({
      store,
      images: shared,
      userImages: config.pxe.user_image_dir,
      deployImages: config.pxe.deploy_image_dir,
      bootRoot: config.tftp.root,
      method: limits.method,
      waitForPhoneHome: limits.wait_for_phone_home,
    });
    // who has images of its own has a clock of its own, which would not wait for a thread
    const hashing = openImage ? undefined : new HashThread();
    if (hashing) closing(() => hashing.close());
    const bandwidth = new Bandwidth(clock, limits.bandwidth * 1e6);
    const acquireImage: DirectServiceOptions['acquireImage'] = (image, signal) => images.acquire(image, signal);
    const iscsi = new IscsiDeployer({
      network,
      clock,
      random,
      logger,
      initiatorName: INITIATOR_NAME,
      localAddress: serverAddress,
      openTargets: limits.open_targets,
      acquireImage,
      bandwidth,
      verify: limits.read_back,
      ...(hashing && { sha256: hashing.sha256 }),
    });
    const deployer = deployerByMethod({ store, clock, random, acquireImage, iscsi });
    if (limits.enabled) {
      const { address, port } = limits;
      const claims = { store, clock, settings: { addressCheck: limits.address_check } };
      const post = deployHelper({
        claimDeployment: claimDeployment(claims),
        acceptReport: acceptReport(claims),
        logger,
      });
      const replicas = await joinPeers(deployHelperKind, { store, clock, memberName, own: [serverAddress], logger });
      closing(() => replicas.close());
      const pull = directService({
        desk: directDesk({ store, clock, secrets }),
        acquireImage,
        random,
        clock,
        logger,
        verify: limits.read_back,
        replicas: replicas.addresses,
        throttle: (bytes, signal) => bandwidth.take(bytes, signal),
        ...(hashing && { sha256: hashing.sha256 }),
      });
      const home = phoneHomeService({ acceptPhoneHome: acceptPhoneHome(claims), logger });
      const handler: HttpHandler = (request) => {
        if (request.path.startsWith(DIRECT_PATH)) return pull(request);
        return request.path.startsWith(PHONE_HOME_PATH) ? home(request) : post(request);
      };
      const start = () => network.serveHttp({ address, port }, handler);
      const server = await listening('deploy-helper', `${address}:${port}`, 'deploy_helper', start);
      closing(() => server.close());
    }
    const bootloader = bootTree({ bootRoot: config.tftp.root, loaderFolder: config.tftp.loader_dir });
    const notifier = ramdiskNotifier({ network, clock, port: config.deploy_helper.port });
    return { ports: { images, bootloader, deployer, notifier } };
  });
}
