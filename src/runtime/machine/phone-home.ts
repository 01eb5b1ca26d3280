/**
 * The instance's own word that it is up, where ACTIVE waits for it. Its token has one use and lies, like the deployment key, in the secret store until
 * it has been used; the record knows its hash. It reaches the instance in the config drive and nowhere else, and is put there as the drive is written.
 */
import { createHash } from 'node:crypto';
import { type ResolvedAddress, resolveNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Clock } from '../core/clock.ts';
import type { Random } from '../core/random.ts';
import { canonicalAddress } from '../deploy/helper/ip-address.ts';
import type { AcceptPhoneHome, PhoneHomeOutcome, PhoneHomeRequest } from '../deploy/phone-home/index.ts';
import { modify, type Store } from '../store/index.ts';
import { keyMatches } from './deploy-key.ts';
import type { Deployment } from './deployment-record.ts';
import { describeEvent, lastObserved } from './diagnosis.ts';
import { machineErrors } from './errors.ts';
import { type NodeRecord, nodeKind } from './node-record.ts';
import { findNodeByNumber } from './nodes.ts';
import type { PowerState } from './ports.ts';
import { defaultSettings, type MachineSettings } from './settings.ts';
import { withEvent } from './timeline.ts';

type ConfigDrive = NonNullable<Deployment['image']['configDrive']>;

/** Name of a deployment's token in the secret store. */
export function phoneHomeName(deploymentId: string): string {
  return `phone-home.${deploymentId}`;
}

/** 256 bits, lower-case hex. */
export function newPhoneHomeToken(random: Random): Secret {
  return new Secret(Buffer.from(random.bytes(32)).toString('hex'));
}

export function phoneHomeHash(token: Secret): string {
  return createHash('sha256').update(token.reveal()).digest('hex');
}

/**
 * The drive with what the instance is to send, and where to: for first-boot scripts as fields, for cloud-init as its module `phone_home`, whose form
 * cannot carry a token, so there it is in the address.
 */
function withVendorData(drive: ConfigDrive, url: string, token: Secret): ConfigDrive {
  const module = { phone_home: { url: `${url}?token=${token.reveal()}`, post: ['instance_id', 'hostname', 'fqdn'], tries: 30 } };
  const vendorData = {
    phone_home: { url, token: token.reveal() },
    // JSON is YAML
    'cloud-init': `#cloud-config\n${JSON.stringify(module)}\n`,
  };
  const path = 'openstack/latest/vendor_data.json';
  const content = `${JSON.stringify(vendorData, undefined, 2)}\n`;
  return { ...drive, files: [...drive.files.filter((file) => file.path !== path), { path, content }] };
}

/** What is written in place of the drive on the record; the same at every call, so that a deployment that is resumed writes the same. */
export async function completeDrive(
  { id, image: { configDrive }, phoneHome }: Pick<Deployment, 'id' | 'image' | 'phoneHome'>,
  secret: (name: string) => Promise<Secret>,
): Promise<ConfigDrive | undefined> {
  if (configDrive === undefined || phoneHome?.tokenHash === undefined) return configDrive;
  return withVendorData(configDrive, phoneHome.url, await secret(phoneHomeName(id)));
}

export interface PhoneHomeDesk {
  readonly store: Store;
  readonly clock: Clock;
  readonly settings?: Pick<MachineSettings, 'addressCheck'>;
}

export function acceptPhoneHome({ store, clock, settings = defaultSettings }: PhoneHomeDesk): AcceptPhoneHome {
  return async (request) => {
    const record = await findNodeByNumber(store, request.node);
    if (record === undefined) return { kind: 'unknown-node' };
    let outcome: PhoneHomeOutcome = { kind: 'unknown-node' };
    const result = await modify(store, nodeKind, record.id, (node) => {
      const now = clock.now();
      const refusal = refuse(node, request, settings);
      outcome = refusal ?? { kind: 'accepted' };
      if (refusal === undefined) return accepted(node, request, now);
      // Without the token anybody could fill the record with noise.
      if (refusal.kind === 'wrong-token') return undefined;
      return withEvent(node, { type: 'phone home refused', detail: `from ${request.remoteAddress}: ${refusal.kind}` }, now);
    });
    return result.outcome === 'missing' ? { kind: 'unknown-node' } : outcome;
  };
}

/** The sentence for a machine that was not heard of in time: what was seen of it, and where to look. */
export function noPhoneHome(node: NodeRecord, seconds: number, power: PowerState | 'not known'): string {
  const last = lastObserved(node, node.deployment?.releasedAt ?? node.stateSince);
  const observed = last === undefined ? 'nothing was observed of the machine' : `last observed: ${describeEvent(last)}`;
  return machineErrors.MACHINE_NO_PHONE_HOME({ seconds, observed, power, url: node.deployment?.phoneHome?.url ?? '' }).message;
}

/** The token first: who does not have it learns nothing else about the machine. */
function refuse(
  node: NodeRecord,
  { token, remoteAddress }: PhoneHomeRequest,
  { addressCheck }: Pick<MachineSettings, 'addressCheck'>,
): Exclude<PhoneHomeOutcome, { kind: 'accepted' }> | undefined {
  const { phoneHome } = node.deployment ?? {};
  const given = new Secret(token);
  // Both comparisons always run, so that the time does not tell which hash is there.
  const unused = keyMatches(given, phoneHome?.tokenHash);
  const used = keyMatches(given, phoneHome?.usedTokenHash);
  if (!unused && !used) return { kind: 'wrong-token' };
  if (used) return { kind: 'used' };
  const addresses = addressesOf(node);
  if (!addresses.has(remoteAddress) && (addresses.size > 0 || addressCheck !== 'source')) {
    const where = addresses.size === 0 ? 'no address of this machine is known' : `the instance is at ${[...addresses].join(' or ')}`;
    return { kind: 'wrong-address', reason: `the request comes from ${remoteAddress}; ${where}` };
  }
  // From the moment that its image is complete: an instance can be quicker than our bookkeeping.
  if (node.state !== 'deploy complete') return { kind: 'not-waiting', state: node.state };
  return undefined;
}

function accepted(node: NodeRecord, { remoteAddress }: PhoneHomeRequest, at: number): NodeRecord | undefined {
  const { deployment } = node;
  if (deployment?.phoneHome === undefined) return undefined;
  const { tokenHash, ...rest } = deployment.phoneHome;
  const phoneHome = { ...rest, usedTokenHash: tokenHash, heardAt: at, address: remoteAddress };
  return withEvent(
    { ...node, deployment: { ...deployment, phoneHome } },
    { type: 'the instance phoned home', detail: `from ${remoteAddress}` },
    at,
  );
}

/** Where the instance can be: its configured addresses, those reserved for the machine, its lease. Empty: nobody knows. */
function addressesOf({ instance, interfaces, lease, deployment }: NodeRecord): ReadonlySet<string> {
  const known = [lease?.address, deployment?.allowedAddress, ...interfaces.map(({ address }) => address)];
  const network =
    instance?.network &&
    resolveNetwork(
      instance.network,
      interfaces.map(({ mac }) => mac),
    );
  const own = typeof network === 'object' ? network.interfaces.flatMap(({ ipv4, ipv6 }) => [hostOf(ipv4), hostOf(ipv6)]) : [];
  return new Set([...known, ...own].filter((address) => address !== undefined).map(canonicalAddress));
}

function hostOf(address: ResolvedAddress | string | undefined): string | undefined {
  return typeof address === 'object' ? address.address : undefined;
}
