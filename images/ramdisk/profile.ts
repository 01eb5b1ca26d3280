/** Which kernel a ramdisk is built around, and which of its drivers it carries. */
import type { ModuleChoice } from '../debian/modules.ts';
import type { ProgramChoice } from '../debian/programs.ts';

export interface Profile {
  /** The Debian metapackage of the kernel, per architecture. */
  readonly kernel: Readonly<Record<'amd64' | 'arm64', string>>;
  readonly modules: ModuleChoice;
  readonly about: string;
}

/** What a ramdisk may be given beyond its profile. */
export interface Extra {
  /** By name. */
  readonly modules: readonly string[];
  readonly programs: readonly ProgramChoice[];
}

/** What exports the disk: the kernel's own, or Debian's tgtd for kernels that have none. */
export const targets = {
  lio: { modules: ['configfs', 'target_core_mod', 'target_core_iblock', 'iscsi_target_mod'], programs: [] },
  tgt: { modules: [], programs: [{ package: 'tgt', programs: ['usr/sbin/tgtd', 'usr/sbin/tgtadm'] }] },
} as const satisfies Readonly<Record<string, Extra>>;

/** For a restart without the firmware: kexec itself, and the file systems on which kernels lie. */
export const kexec = {
  modules: ['ext4', 'xfs', 'vfat', 'nls_ascii', 'nls_cp437', 'nls_iso8859_1'],
  programs: [{ package: 'kexec-tools', programs: ['sbin/kexec'] }],
} as const satisfies Extra;

/** What inspection hears switches with, and virtual machines. */
const EVERYWHERE = ['macvtap', 'virtio_pci', 'virtio_mmio', 'virtio_blk', 'virtio_scsi', 'virtio_net', 'sd_mod', 'nvme'];

export const profiles: Readonly<Record<'cloud' | 'hardware', Profile>> = {
  cloud: {
    kernel: { amd64: 'linux-image-cloud-amd64', arm64: 'linux-image-cloud-arm64' },
    modules: { names: EVERYWHERE },
    about: 'virtual machines: virtio, NVMe',
  },
  hardware: {
    kernel: { amd64: 'linux-image-amd64', arm64: 'linux-image-arm64' },
    modules: {
      names: [
        ...EVERYWHERE,
        'usb_storage',
        'uas',
        'xhci_pci',
        'ehci_pci',
        'uhci_hcd',
        'ohci_pci',
        'usbhid',
        'hid_generic',
        'mmc_block',
        'sdhci_pci',
      ],
      folders: [
        'drivers/net/ethernet',
        'drivers/ata',
        'drivers/nvme/host',
        'drivers/scsi',
        'drivers/message/fusion',
        'drivers/block/mtip32xx',
        'drivers/net/mdio',
        'drivers/net/phy',
      ],
      // clusters' and tapes' protocols, targets and test drivers, and cards of before PCI Express
      without:
        /\/(libfc|fcoe|bnx2fc|qla4xxx|cxgbi|be2iscsi|bnx2i|pcmcia|isci|aic94xx|arm|osd|device_handler|ufs)\/|scsi_debug|\/(st|ch|ses|osst)\.ko|pata_|\/8390\/|\/dec\/|\/fujitsu\//,
    },
    about: 'real machines: network cards, SATA, SAS, RAID controllers, NVMe, USB',
  },
};
