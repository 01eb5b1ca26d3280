/**
 * What is known to be different on one manufacturer's BMCs. An entry needs a public source. What helps everywhere is not here but in the code that every BMC meets: it
 * ignores impossible SOL sizes and ports, error answers that are cut short, pad bytes of zero, boot flags that read back as not valid, and pieces of SDRs that are too
 * large (ipmiconsole(8) of FreeIPMI, section WORKAROUNDS, names boards for the first two).
 */
import type { DeviceId } from './commands.ts';

export interface Quirk {
  /** IANA enterprise number, as Get Device ID tells it. */
  readonly manufacturer: number;
  /** Absent: all products. */
  readonly products?: readonly number[];
  readonly what: string;
  readonly source: string;
  /** Boot device selector (bits 5:2) that means the disk when booting by UEFI; 2 by the specification. */
  readonly uefiDiskSelector?: number;
}

export const QUIRKS: readonly Quirk[] = [
  {
    manufacturer: 10876, // Super Micro Computer
    what: 'booting the disk by UEFI is selector 9 (data byte 24h), not 2',
    source:
      'https://www.supermicro.com/support/faqs/faq.cfm?faq=25559, and GetBootOrderQualifiers in https://github.com/metal-stack/go-hal',
    uefiDiskSelector: 9,
  },
];

export function quirksOf({ manufacturer, product }: Pick<DeviceId, 'manufacturer' | 'product'>): readonly Quirk[] {
  return QUIRKS.filter((quirk) => quirk.manufacturer === manufacturer && (quirk.products?.includes(product) ?? true));
}
