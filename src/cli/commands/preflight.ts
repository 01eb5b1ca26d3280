/** bmctl preflight: run on the management node before the first boot, while bms-core is stopped. Changes nothing. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type BmsCoreConfig, bmsCoreConfig, CodedError, path } from 'cdk8s-baremetal-contract';
import { provisioningAddress } from 'cdk8s-baremetal-runtime/bin/provisioning-address';
import { decodeDhcp, encodeDhcp, macBytes, messageType, OPTION, typeOption } from 'cdk8s-baremetal-runtime/boot/dhcp/index';
import { loaderFor } from 'cdk8s-baremetal-runtime/boot/loader/index';
import { parseLeasesUrl } from 'cdk8s-baremetal-runtime/coordination/index';
import { silentLogger, sleep, type UdpSocket, withDeadline } from 'cdk8s-baremetal-runtime/core/index';
import { IpmiGateway, IpmiPower, Secret as PowerSecret } from 'cdk8s-baremetal-runtime/power/index';
import { type ClusterLeases, openClusterLeases } from 'cdk8s-baremetal-runtime/roles/cluster-leases';
import type { ApiAccess } from 'cdk8s-baremetal-runtime/store/index';
import type { Command } from 'commander';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import { readNamedFile } from '../named-file.ts';
import { readSecret } from '../secret-input.ts';
import type { Surroundings } from '../surroundings.ts';
import { wholeNumber } from './enrol.ts';

export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly what: string;
  readonly cure?: string;
  /** Of the error that was found, where it has one. */
  readonly code?: string;
}

export interface PreflightOptions {
  readonly config: BmsCoreConfig;
  readonly interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;
  /** How long to listen for other DHCP servers. @default 4000: some look whether an address is free first, for 3 s */
  readonly listenMs?: number;
  /** Whether an interface is there that has no address. @default asks the kernel */
  readonly isDevice?: (name: string) => boolean;
  /** To the cluster, where the configuration speaks of one. @default what Kubernetes puts into every container */
  readonly access?: ApiAccess;
  readonly bmc?: { readonly address: string; readonly port?: number; readonly username: string; readonly password: PowerSecret };
}

const LISTEN_MS = 4_000;
const BMC_MS = 15_000;
/** Of x64 firmware (option 93). */
const UEFI_LOADER = loaderFor(7)?.file ?? 'bootx64.efi';
/** Of BIOS firmware; pxelinux 5 and later is nothing without the second. */
const BIOS_LOADERS = ['pxelinux.0', 'ldlinux.c32'];
/** Locally administered: no card has it. */
const PROBE_MAC = '02:62:6d:73:00:01';

export async function preflight(world: Surroundings, options: PreflightOptions): Promise<Finding[]> {
  const { config, interfaces, bmc, access, listenMs = LISTEN_MS, isDevice = (name) => existsSync(`/sys/class/net/${name}`) } = options;
  const findings = [...addresses(config, interfaces, isDevice), ...bootFiles(config)];
  const own = provisioningAddresses(config, interfaces);
  findings.push(...(await ports(world, config, own)));
  findings.push(...(await leases(world, config, access)));
  findings.push(await dhcpRivals(world, config, own, listenMs));
  if (bmc) findings.push(await bmcAnswers(world, config, bmc));
  return findings;
}

/** Where machines will ask from: the provisioning address first, then those of [dhcp] interfaces. */
function provisioningAddresses(config: BmsCoreConfig, interfaces: PreflightOptions['interfaces']): string[] {
  const own = provisioningAddress(config, interfaces);
  const named = config.dhcp.interfaces.flatMap((name) => interfaces[name]?.find(({ family }) => family === 'IPv4')?.address ?? []);
  return [...new Set([...(own === undefined ? [] : [own]), ...named])];
}

function addresses(config: BmsCoreConfig, interfaces: PreflightOptions['interfaces'], isDevice: (name: string) => boolean): Finding[] {
  const own = provisioningAddress(config, interfaces);
  const present = Object.values(interfaces).flatMap((infos) => infos?.map(({ address }) => address) ?? []);
  const there = own !== undefined && (present.includes(own) || own.startsWith('127.'));
  return [
    there
      ? ok('provisioning address', `${own} is up on this machine`)
      : bad(
          'provisioning address',
          own === undefined ? 'no address of this machine is on the provisioning network' : `${own} is not up on this machine`,
          'Bring the VLAN interface up, or set [dhcp] server_ip',
        ),
    ...config.dhcp.interfaces.map((name) =>
      interfaces[name]
        ? ok('interface', `${name} is up`)
        : isDevice(name)
          ? bad('interface', `${name} is down, or has no address`, `ip link set ${name} up, and give it an address of the VLAN`)
          : bad('interface', `there is no interface ${name}`, `Make the VLAN interface ${name}, or correct [dhcp] interfaces`),
    ),
  ];
}

function bootFiles(config: BmsCoreConfig): Finding[] {
  const { deploy_image_dir: deploy, user_image_dir: images } = config.pxe;
  const { root, loader_dir: shipped } = config.tftp;
  const readable = (file: string, cure: string): Finding => {
    try {
      accessSync(file, constants.R_OK);
      return statSync(file).size > 0 ? ok('boot file', file) : bad('boot file', `${file} is empty`, 'Copy it again');
    } catch (error) {
      return bad('boot file', `${file} cannot be read (${codeOf(error)})`, cure);
    }
  };
  // as the TFTP server looks for loaders: a file below the root wins
  const loader = (file: string): string => [root, shipped].map((place) => join(place, file)).find(existsSync) ?? join(root, file);
  const loaders = `Put it there, or into ${shipped}; the image of bms-core has it`;
  const ramdisk = 'Put it there: npm run build:ramdisk builds one (docs/images.md)';
  const uefi = loader(UEFI_LOADER);
  return [
    ...BIOS_LOADERS.map((file) => readable(loader(file), loaders)),
    ...['deploy_kernel', 'deploy_ramdisk'].map((file) => readable(join(deploy, file), ramdisk)),
    // no fault by itself: a site of BIOS machines needs none
    ok('boot file', existsSync(uefi) ? uefi : `there is no ${uefi}: machines with UEFI will not boot`),
    existsSync(images) ? ok('image folder', images) : bad('image folder', `there is no ${images}`, 'Make it, and put images into it'),
  ];
}

async function ports({ network }: Surroundings, config: BmsCoreConfig, own: readonly string[]): Promise<Finding[]> {
  const { dhcp, tftp, http_boot: http, deploy_helper: helper, api } = config;
  const udp = async (address: string, port: number): Promise<void> =>
    (await network.udp({ address, port }, { onMessage: () => undefined })).close();
  const tcp = async (address: string, port: number): Promise<void> =>
    (await network.listen({ address, port }, (one) => one.destroy())).close();
  const proxies = dhcp.enabled && dhcp.mode === 'proxy' ? own : [];
  const wanted = [
    ...(dhcp.enabled ? [{ role: 'DHCP', address: dhcp.listen, port: dhcp.port, kind: 'udp', open: udp }] : []),
    ...proxies.map((address) => ({ role: 'DHCP boot server', address, port: dhcp.proxy_port, kind: 'udp', open: udp })),
    ...(tftp.enabled ? [{ role: 'TFTP', address: tftp.address, port: tftp.port, kind: 'udp', open: udp }] : []),
    ...(http.enabled ? [{ role: 'HTTP boot', address: http.address, port: http.port, kind: 'tcp', open: tcp }] : []),
    ...(helper.enabled ? [{ role: 'deploy-helper', address: helper.address, port: helper.port, kind: 'tcp', open: tcp }] : []),
    ...(api.enabled ? [{ role: 'API', address: api.address, port: config.DEFAULT.server_port, kind: 'tcp', open: tcp }] : []),
  ];
  const findings: Finding[] = [];
  for (const { role, address, port, kind, open } of wanted) {
    const where = `${role} on ${address}:${port}/${kind}`;
    try {
      await open(address, port);
      findings.push(ok('port', `${where} is free`));
    } catch (error) {
      const code = codeOf(error);
      const cure =
        code === 'EACCES'
          ? 'Run bms-core, and this, with the right to bind ports below 1024'
          : code === 'EADDRNOTAVAIL'
            ? 'Correct the address'
            : 'Stop what uses it (bms-core itself, dnsmasq, tftpd?)';
      findings.push(bad('port', `${where} cannot be used (${code})`, cure));
    }
  }
  return findings;
}

/**
 * Asks as a machine would, on every provisioning network, and listens who answers. Only our own server may lease addresses; beside a proxy there must
 * be one other.
 */
async function dhcpRivals(
  { network, clock, random }: Surroundings,
  config: BmsCoreConfig,
  own: readonly string[],
  listenMs: number,
): Promise<Finding> {
  const { mode, enabled } = config.dhcp;
  if (!enabled) return ok('DHCP servers', 'DHCP is switched off here');
  const xid = Buffer.from(random.bytes(4)).readUInt32BE();
  const servers = new Set<string>();
  const sockets: UdpSocket[] = [];
  try {
    const port = config.dhcp.port === 67 ? 68 : 0;
    const socket = await network.udp(
      { address: '0.0.0.0', port, broadcast: true, reuseAddress: true },
      {
        onMessage: (data, from) => {
          try {
            const message = decodeDhcp(data);
            if (message.xid === xid && messageType(message) === 'offer' && message.yiaddr !== '0.0.0.0') servers.add(from.address);
          } catch {
            // no DHCP: not what is looked for
          }
        },
      },
    );
    sockets.push(socket);
    const none = '0.0.0.0';
    const discover = encodeDhcp({
      op: 'request',
      hardwareType: 1,
      hardwareAddress: macBytes(PROBE_MAC),
      hops: 0,
      xid,
      secs: 0,
      broadcast: true,
      ciaddr: none,
      yiaddr: none,
      siaddr: none,
      giaddr: none,
      sname: '',
      file: '',
      options: new Map([[OPTION.messageType, typeOption('discover')]]),
    });
    // The kernel sends a broadcast where the default route goes, or where the address is that the socket is bound to: so one socket per network. What
    // comes back is a broadcast as well, which only the socket without an address hears.
    const senders = own.filter((address) => !address.startsWith('127.'));
    const heard = socket.local.port;
    for (const address of senders) {
      const sender = await network.udp({ address, port: heard, broadcast: true, reuseAddress: true }, { onMessage: () => undefined });
      sockets.push(sender);
      sender.send(discover, { address: '255.255.255.255', port: config.dhcp.port });
    }
    if (senders.length === 0) socket.send(discover, { address: '255.255.255.255', port: config.dhcp.port });
    await sleep(clock, listenMs);
  } catch (error) {
    return bad('DHCP servers', `nobody could be asked (${codeOf(error)})`, 'Run this with the right to bind port 68');
  } finally {
    for (const socket of sockets) await socket.close();
  }
  const others = [...servers].filter((address) => !own.includes(address));
  if (mode === 'server')
    return others.length === 0
      ? ok('DHCP servers', 'no other one answers')
      : bad(
          'DHCP servers',
          `${others.join(', ')} lease${others.length === 1 ? 's' : ''} addresses here already`,
          'Stop it on this VLAN, or use [dhcp] mode = proxy beside it',
        );
  return others.length === 1
    ? ok('DHCP servers', `${others[0]} leases addresses, as a proxy needs`)
    : bad(
        'DHCP servers',
        others.length === 0
          ? 'nobody leases addresses, and a proxy leases none'
          : `${others.join(' and ')} lease addresses against each other`,
        'Let exactly one server lease addresses, or use [dhcp] mode = server',
      );
}

/** Of a site that coordinates by Kubernetes Leases: may they be kept? Nothing is written. */
async function leases(
  { network, clock, random, env }: Surroundings,
  config: BmsCoreConfig,
  access: ApiAccess | undefined,
): Promise<Finding[]> {
  const { backend_url: url } = config.sw_coordination;
  if (!url.startsWith('kubernetes://')) return [];
  let source: ClusterLeases | undefined;
  try {
    const { namespace, scope = 'default' } = parseLeasesUrl(url);
    const leaseMs = config.membership.session_timeout * 1000;
    source = openClusterLeases({ namespace, scope }, { env, access, network, clock, random, leaseMs });
    await source.tryOut();
    return [ok('coordination', `Leases may be kept in the namespace ${source.namespace}`)];
  } catch (error) {
    return [refused('coordination', error, 'Check that the API server runs and answers from here')];
  } finally {
    source?.close();
  }
}

async function bmcAnswers(world: Surroundings, config: BmsCoreConfig, bmc: NonNullable<PreflightOptions['bmc']>): Promise<Finding> {
  const { network, clock, random } = world;
  const gateway = new IpmiGateway({ clock, random, network, logger: silentLogger });
  const { port, cipher_suite: suite } = config.ipmi;
  const power = new IpmiPower(gateway, { ...(suite !== 'auto' && { cipherSuite: suite === '3' ? 3 : 17 }), port, ...bmc });
  try {
    const late = (): Error => new Error(`no answer within ${BMC_MS / 1000} s`);
    const state = await withDeadline(clock, BMC_MS, late, (signal) => power.status(signal));
    return ok('BMC', `${bmc.address} lets ${bmc.username} in: the machine is ${state}`);
  } catch (error) {
    return refused('BMC', error, 'Check its address, power and cable');
  } finally {
    await power.close();
    await gateway.close();
  }
}

interface PreflightFlags {
  readonly config: string;
  readonly listen: number;
  readonly bmc?: string;
  readonly bmcPort?: number;
  readonly user: string;
  readonly passwordFile?: string;
}

export function registerPreflight(program: Command, world: Surroundings): void {
  program
    .command('preflight')
    .description(
      'looks at this management node before the first boot: addresses, ports, boot files, other DHCP servers, Leases of a cluster, a BMC',
    )
    .option('--config <file>', 'of bms-core', path.configFile)
    .option('--listen <seconds>', 'how long to listen for other DHCP servers', wholeNumber, LISTEN_MS / 1000)
    .option('--bmc <address>', 'also ask this BMC')
    .option('--bmc-port <port>', 'where it is not the usual one', wholeNumber)
    .option('--user <name>', 'of the BMC', 'admin')
    .option('--password-file <file>', 'of the BMC; - for standard input; or BMCTL_BMC_PASSWORD')
    .action(async ({ config: file, bmc: address, bmcPort, listen, user: username, passwordFile }: PreflightFlags) => {
      if (!existsSync(file)) throw new ExitError(exitCode.usage, commandErrors.BMCTL_NO_CONFIG({ file }));
      const config = bmsCoreConfig.parse(readNamedFile(file), { file, env: world.env });
      const password = address === undefined ? undefined : await readSecret(world, passwordFile, 'BMCTL_BMC_PASSWORD');
      const findings = await preflight(world, {
        config,
        interfaces: networkInterfaces(),
        listenMs: listen * 1000,
        ...(address !== undefined && {
          bmc: { address, ...(bmcPort !== undefined && { port: bmcPort }), username, password: new PowerSecret(password?.reveal() ?? '') },
        }),
      });
      if (program.opts<{ json?: boolean }>().json) world.print(JSON.stringify({ findings }, undefined, 2));
      else
        for (const { ok: fine, check, what, cure } of findings)
          world.print(`${fine ? 'ok ' : 'BAD'} ${check}: ${what}${cure === undefined ? '' : `\n    → ${cure}`}`);
      const faults = findings.filter(({ ok: fine }) => !fine).length;
      if (faults === 0) return;
      throw new ExitError(exitCode.preflight, commandErrors.BMCTL_PREFLIGHT({ faults, checks: findings.length }));
    });
}

function ok(check: string, what: string): Finding {
  return { check, ok: true, what };
}

function bad(check: string, what: string, cure: string): Finding {
  return { check, ok: false, what, cure };
}

/** `cure` where the error has none of its own. */
function refused(check: string, error: unknown, cure: string): Finding {
  if (error instanceof CodedError) return { ...bad(check, error.message, error.cure), code: error.code };
  return bad(check, error instanceof Error ? error.message : String(error), cure);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : error instanceof Error ? error.message : String(error);
}
