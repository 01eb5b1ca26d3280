/** What a disk says of itself: INQUIRY, its vital product data pages, READ CAPACITY. */
import type { Endpoint } from 'cdk8s-baremetal-runtime/core/index';
import { iscsiErrors, portalName } from './errors.ts';
import { PduError } from './pdu.ts';
import { type RunContext, runCommand } from './run-command.ts';
import {
  type BlockLimits,
  type Capacity,
  type Identifier,
  type InquiryData,
  inquiry,
  type NamedCdb,
  NO_LIMITS,
  NO_PROVISIONING,
  type Provisioning,
  parseBlockLimits,
  parseCapacity10,
  parseCapacity16,
  parseIdentifiers,
  parseInquiry,
  parseProvisioning,
  parseVpd,
  readCapacity10,
  readCapacity16,
  testUnitReady,
  VPD,
} from './scsi.ts';
import { isIllegalRequest } from './sense.ts';

export interface DiskIdentity extends Capacity {
  readonly inquiry: InquiryData;
  readonly serial: string;
  readonly identifiers: readonly Identifier[];
  readonly limits: BlockLimits;
  readonly provisioning: Provisioning;
}

const LONGEST_INQUIRY_BYTES = 255;
const LONGEST_VPD_BYTES = 4096;

/** Throws ISCSI_NOT_A_DISK, the errors of the commands, and `PduError` for answers that cannot be. */
export async function identify(
  context: RunContext,
  { lun, portal }: { readonly lun: number; readonly portal: Endpoint },
): Promise<DiskIdentity> {
  const ask = async (command: NamedCdb, bytes: number): Promise<Buffer> => {
    const dataIn = Buffer.alloc(bytes);
    return dataIn.subarray(0, await runCommand(context, { ...command, lun, dataIn }));
  };
  /** Pages are optional: a disk without one answers ILLEGAL REQUEST, and some answer with nothing. */
  const page = async <T>(number: number, parse: (body: Buffer) => T): Promise<T | undefined> => {
    try {
      return parse(parseVpd(await ask(inquiry(LONGEST_VPD_BYTES, number), LONGEST_VPD_BYTES), number));
    } catch (error) {
      if (isIllegalRequest(error) || error instanceof PduError) return undefined;
      throw error;
    }
  };
  const about = parseInquiry(await ask(inquiry(LONGEST_INQUIRY_BYTES), LONGEST_INQUIRY_BYTES));
  if (about.qualifier !== 0 || about.deviceType !== 0) {
    const found =
      about.qualifier === 3 ? 'there is no such LUN' : `${about.vendor} ${about.product}, device type ${about.deviceType.toString(16)}h`;
    throw iscsiErrors.ISCSI_NOT_A_DISK({ portal: portalName(portal), lun, found });
  }
  await runCommand(context, { ...testUnitReady(), lun });
  const pages = new Set((await page(VPD.supported, (body) => [...body])) ?? []);
  const optional = async <T>(number: number, parse: (body: Buffer) => T, otherwise: T): Promise<T> =>
    pages.has(number) ? ((await page(number, parse)) ?? otherwise) : otherwise;
  return {
    ...(await capacity(ask)),
    inquiry: about,
    serial: await optional(VPD.serial, (body) => body.toString('latin1').replaceAll('\0', '').trim(), ''),
    identifiers: await optional(VPD.identifiers, parseIdentifiers, []),
    limits: await optional(VPD.blockLimits, parseBlockLimits, NO_LIMITS),
    provisioning: await optional(VPD.provisioning, parseProvisioning, NO_PROVISIONING),
  };
}

async function capacity(ask: (command: NamedCdb, bytes: number) => Promise<Buffer>): Promise<Capacity> {
  try {
    return checked(parseCapacity16(await ask(readCapacity16(), 32)));
  } catch (error) {
    if (!isIllegalRequest(error)) throw error;
    const small = parseCapacity10(await ask(readCapacity10(), 8));
    if (!small) throw error;
    return checked(small);
  }
}

function checked(capacity: Capacity): Capacity {
  const { blocks, blockBytes } = capacity;
  if (blockBytes < 512 || blockBytes > 65536 || (blockBytes & (blockBytes - 1)) !== 0 || !Number.isSafeInteger(blocks * blockBytes))
    throw new PduError(`a disk of ${blocks} blocks of ${blockBytes} bytes cannot be`);
  return capacity;
}
