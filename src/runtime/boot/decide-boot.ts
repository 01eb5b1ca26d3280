/**
 * The one boot decision. DHCP, TFTP and HTTP ask this pure function and nothing else, so they cannot answer differently; it also explains
 * itself (`reasons`), for logs and `bmctl explain`. No reason ever contains the deployment key.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import { formatIpv4 } from 'cdk8s-baremetal-contract/addresses';
import { type LoaderFormat, loaderFor, menuOf, renderLoaderConfig } from './loader/index.ts';
import { type BootIntent, type BootLease, type BootMachine, dashedMac, normalizeMac } from './machine.ts';
import { normalisePath } from './tftp/source.ts';

export interface BootSettings {
  /** Files are served over HTTP too. @default false: firmware and iPXE are pointed to TFTP only */
  readonly http?: boolean;
  /**
   * How a machine that boots its disk is let go: `loader` gives it the loader, whose configuration leaves for the disk at once; `firmware` gives no
   * boot file, for which PXE ROMs wait up to a minute. @default 'loader'
   */
  readonly localBoot?: 'loader' | 'firmware';
  /** See LoaderContext. @default 'localboot' */
  readonly pxelinuxLocal?: 'localboot' | 'chain';
  /**
   * iPXE runs our script by itself (`script`), or is given the same loader as any PXE ROM (`loader`), as the seed's dnsmasq does. @default 'script'
   */
  readonly ipxe?: 'script' | 'loader';
  /** Other loader files by option 93, e.g. { 7: 'grubnetx64.efi.signed' }. */
  readonly loaderFiles?: Readonly<Record<number, string>>;
  /** Directories that clients put before a name. @default ['tftpboot'] */
  readonly stripPrefixes?: readonly string[];
}

export type BootRequest =
  /** Which loader? */
  | {
      readonly protocol: 'dhcp';
      readonly mac: string;
      readonly client: 'pxe' | 'uefi-http' | 'ipxe';
      /** Option 93. */
      readonly arch?: number;
    }
  /** Which bytes? */
  | {
      readonly protocol: 'tftp' | 'http';
      /** As sent. */
      readonly path: string;
      /** The source address of the request. */
      readonly address: string;
      /** What the DHCP service knows of that address. */
      readonly lease?: BootLease;
      readonly nowMs: number;
    };

export type RefusalCode =
  | 'unknown-machine'
  | 'not-booting'
  | 'no-loader'
  | 'no-such-file'
  | 'bad-path'
  | 'not-lease-holder'
  | 'key-expired'
  | 'bad-config';

export type BootDecision =
  /** DHCP: load this file, over this protocol. */
  | { readonly kind: 'loader'; readonly path: string; readonly over: 'tftp' | 'http'; readonly reasons: readonly string[] }
  /** A generated text. `secret`: carries the deployment key, so it is neither cached nor logged. */
  | {
      readonly kind: 'config';
      readonly format: LoaderFormat;
      readonly text: string;
      readonly secret: boolean;
      readonly reasons: readonly string[];
    }
  /** A file below the boot root. */
  | { readonly kind: 'file'; readonly path: string; readonly reasons: readonly string[] }
  /** DHCP: no boot file, the firmware goes on with the disk. */
  | { readonly kind: 'local'; readonly reasons: readonly string[] }
  | { readonly kind: 'refuse'; readonly code: RefusalCode; readonly reasons: readonly string[] };

/** What a path names, before anything is known of the machine. */
export type BootName =
  /** At most one of `mac`, `uuid` and `address`; none: of the machine that asks. */
  | { readonly kind: 'config'; readonly format: LoaderFormat; readonly mac?: string; readonly uuid?: string; readonly address?: string }
  | { readonly kind: 'tree'; readonly uuid: string; readonly entry: TreeEntry }
  | { readonly kind: 'static'; readonly path: string }
  | { readonly kind: 'refused'; readonly code: 'bad-path' | 'no-such-file'; readonly reason: string };

export type TreeEntry = 'kernel' | 'ramdisk' | 'deploy_kernel' | 'deploy_ramdisk' | 'config';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Says which machine a request is about: look it up by this and hand it to decideBoot. */
export function bootName(path: string, settings: BootSettings = {}): BootName {
  const name = normalisePath(path, settings.stripPrefixes ? { stripPrefixes: settings.stripPrefixes } : {});
  if (name === undefined) return { kind: 'refused', code: 'bad-path', reason: 'the path names no file below the boot root' };

  const tree = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/(kernel|ramdisk|deploy_kernel|deploy_ramdisk|config)$/i.exec(name);
  if (tree) return { kind: 'tree', uuid: (tree[1] ?? '').toLowerCase(), entry: tree[2] as TreeEntry };

  // pxelinux asks for its UUID, 01-<mac>, the address in hex cut digit by digit, and `default`. What would fit several machines is not there
  const pxelinux = /^pxelinux\.cfg\/(.*)$/.exec(name);
  if (pxelinux) return configName('pxelinux', pxelinux[1] ?? '');
  // GRUB asks below its own prefix (/grub, /boot/grub, /EFI/debian …) for grub.cfg-01-<mac>, then by address, then plain
  const grub = /^(?:[^/]+\/){0,4}grub\.cfg(?:-(.+))?$/.exec(name);
  if (grub) return grub[1] === undefined ? { kind: 'config', format: 'grub' } : configName('grub', grub[1]);
  const ipxe = macIn(/^(.+)\.ipxe$/.exec(name)?.[1]);
  if (ipxe) return { kind: 'config', format: 'ipxe', mac: ipxe };
  return { kind: 'static', path: name };
}

function configName(format: LoaderFormat, key: string): BootName {
  const mac = macIn(/^01-(.+)$/.exec(key)?.[1]);
  if (mac) return { kind: 'config', format, mac };
  if (UUID.test(key)) return { kind: 'config', format, uuid: key.toLowerCase() };
  if (/^[0-9a-f]{8}$/i.test(key)) return { kind: 'config', format, address: formatIpv4(Number.parseInt(key, 16)) };
  const reason = 'configurations are named after one machine here: 01-<mac>, its UUID, or its whole address in hex';
  return { kind: 'refused', code: 'no-such-file', reason };
}

export function decideBoot(machine: BootMachine | undefined, request: BootRequest, settings: BootSettings = {}): BootDecision {
  if (request.protocol === 'dhcp') return decideLoader(machine, request, settings);

  const name = bootName(request.path, settings);
  switch (name.kind) {
    case 'refused':
      return refuse(name.code, name.reason);
    case 'static':
      return { kind: 'file', path: name.path, reasons: ['a file of the boot root, the same for every machine'] };
    case 'config': {
      if (name.address !== undefined && name.address !== request.address)
        return refuse('no-such-file', `the configuration of ${name.address} is for the machine there, and ${request.address} asks`);
      if (!machine || (name.uuid !== undefined && machine.uuid.toLowerCase() !== name.uuid))
        return unknownMachine(name.mac ? `MAC ${name.mac}` : name.uuid ? `UUID ${name.uuid}` : `address ${request.address}`);
      return decideConfig(machine, name.format, name.mac, request, settings);
    }
    case 'tree': {
      if (!machine || machine.uuid.toLowerCase() !== name.uuid) return unknownMachine(`UUID ${name.uuid}`);
      if (name.entry === 'config') return decideConfig(machine, 'pxelinux', undefined, request, settings);
      const path = treeFile(machine.boot, name.entry);
      if (path === undefined)
        return refuse('no-such-file', `machine ${machine.id} has no ${name.entry}: it shall ${describe(machine.boot)}`);
      return { kind: 'file', path, reasons: [`the ${name.entry} of machine ${machine.id}, which shall ${describe(machine.boot)}`] };
    }
  }
}

function decideLoader(machine: BootMachine | undefined, request: BootRequest & { protocol: 'dhcp' }, settings: BootSettings): BootDecision {
  if (!machine) return unknownMachine(`MAC ${request.mac}`);
  const { boot } = machine;
  const reasons = [`machine ${machine.id} shall ${describe(boot)}`];
  if (boot.kind === 'none') return { kind: 'refuse', code: 'not-booting', reasons };
  if (boot.kind === 'local-disk' && settings.localBoot === 'firmware')
    return { kind: 'local', reasons: [...reasons, 'it is given no boot file'] };

  const client = request.client === 'ipxe' && settings.ipxe === 'loader' ? 'pxe' : request.client;
  const over = settings.http && client !== 'pxe' ? 'http' : 'tftp'; // PXE's own API knows TFTP only
  if (client === 'ipxe')
    return { kind: 'loader', path: `${dashedMac(request.mac)}.ipxe`, over, reasons: [...reasons, 'iPXE runs the script by itself'] };
  if (client === 'uefi-http' && !settings.http)
    return { kind: 'refuse', code: 'no-loader', reasons: [...reasons, 'it boots over HTTP, which is not served here'] };

  const arch = request.arch ?? (machine.firmware === 'uefi' ? defaultUefiArch(machine) : 0);
  if (request.arch === undefined) reasons.push(`it does not tell its architecture (option 93); ${arch} is assumed from its record`);
  const loader = loaderFor(arch);
  if (!loader)
    return { kind: 'refuse', code: 'no-loader', reasons: [...reasons, `there is no loader for architecture ${arch} (option 93)`] };
  if (machine.firmware && machine.firmware !== loader.firmware)
    reasons.push(`its record says ${machine.firmware}, its firmware says ${loader.name}, and the firmware knows better`);
  if (machine.arch && machine.arch !== loader.cpu && !(loader.firmware === 'bios' && machine.arch === 'x86'))
    reasons.push(`its record says ${machine.arch}, its firmware says ${loader.name}, and the firmware knows better`);
  reasons.push(`${loader.name} is given its loader`);
  return { kind: 'loader', path: settings.loaderFiles?.[arch] ?? loader.file, over, reasons };
}

function decideConfig(
  machine: BootMachine,
  format: LoaderFormat,
  namedMac: string | undefined,
  request: BootRequest & { protocol: 'tftp' | 'http' },
  settings: BootSettings,
): BootDecision {
  const { boot } = machine;
  const reasons = [`machine ${machine.id} shall ${describe(boot)}`];
  if (boot.kind === 'none') return { kind: 'refuse', code: 'not-booting', reasons };

  const macs = machine.interfaces.flatMap(({ mac }) => normalizeMac(mac) ?? []);
  const lease = request.lease && macs.includes(request.lease.mac) ? request.lease : undefined;
  const mac = namedMac ?? lease?.mac ?? macs[0];
  if (mac === undefined || !macs.includes(mac)) return unknownMachine(`MAC ${mac ?? 'none'}`);
  const secret = boot.kind === 'deploy';
  if (boot.kind === 'deploy') {
    // N13: the key goes to the machine's own address only, and not for ever
    const denial = denyKey(boot, request, lease, reasons);
    if (denial) return denial;
    reasons.push(`${request.address} holds the lease of ${lease?.mac}`);
  }
  try {
    const menu = menuOf(machine.uuid, boot);
    if (!menu) return { kind: 'refuse', code: 'not-booting', reasons };
    const context = { mac, pxelinuxLocal: settings.pxelinuxLocal ?? 'localboot', ...(lease && { lease }) };
    return { kind: 'config', format, text: renderLoaderConfig(format, menu, context), secret, reasons };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return { kind: 'refuse', code: 'bad-config', reasons: [...reasons, error.toString()] };
  }
}

function denyKey(
  boot: BootIntent & { kind: 'deploy' },
  { address, lease: anyLease, nowMs }: BootRequest & { protocol: 'tftp' | 'http' },
  lease: BootLease | undefined,
  reasons: readonly string[],
): BootDecision | undefined {
  const deny = (code: RefusalCode, reason: string): BootDecision => ({ kind: 'refuse', code, reasons: [...reasons, reason] });
  if (!lease || lease.address !== address) {
    const holder = anyLease ? `which ${anyLease.mac} holds` : 'for which no lease is known';
    return deny('not-lease-holder', `its configuration carries the deployment key and is not given to ${address}, ${holder}`);
  }
  if (boot.allowedAddress !== undefined && boot.allowedAddress !== address)
    return deny('not-lease-holder', `its deployment key is bound to ${boot.allowedAddress}, and ${address} asks`);
  if (boot.keyExpiresAtMs !== undefined && nowMs >= boot.keyExpiresAtMs)
    return deny('key-expired', 'its deployment key is no longer given out');
  return undefined;
}

function treeFile(boot: BootIntent, entry: Exclude<TreeEntry, 'config'>): string | undefined {
  switch (boot.kind) {
    case 'deploy':
      return { deploy_kernel: boot.kernel, deploy_ramdisk: boot.ramdisk, kernel: boot.next?.kernel, ramdisk: boot.next?.ramdisk }[entry];
    case 'network':
      return { deploy_kernel: undefined, deploy_ramdisk: undefined, kernel: boot.kernel, ramdisk: boot.ramdisk }[entry];
    case 'local-disk':
    case 'none':
      return undefined;
  }
}

function describe(boot: BootIntent): string {
  switch (boot.kind) {
    case 'deploy':
      return 'be deployed';
    case 'network':
      return 'boot its own kernel over the network';
    case 'local-disk':
      return 'boot from its disk';
    case 'none':
      return `not boot from here: ${boot.reason}`;
  }
}

function defaultUefiArch(machine: BootMachine): number {
  return { x86: 6, x86_64: 7, arm: 10, arm64: 11 }[machine.arch ?? 'x86_64'];
}

function unknownMachine(key: string): BootDecision {
  return refuse('unknown-machine', `no machine has ${key}`);
}

function refuse(code: RefusalCode, reason: string): BootDecision {
  return { kind: 'refuse', code, reasons: [reason] };
}

function macIn(text: string | undefined): string | undefined {
  return text === undefined ? undefined : normalizeMac(text);
}
