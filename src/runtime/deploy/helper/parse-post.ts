/** The body of a deploy ramdisk's POST: application/x-www-form-urlencoded, whatever its Content-Type says (wget and curl differ). */
import { isIPv4, isIPv6 } from './ip-address.ts';

export interface DeployPost {
  readonly id: number;
  readonly key: string;
  readonly address: string;
  readonly iqn: string;
  readonly port: number;
  readonly lun: number;
  readonly error?: string;
  readonly disk?: { readonly sizeBytes: number; readonly serial?: string; readonly blockBytes?: number; readonly holds?: string };
}

export type ParsedPost = { readonly kind: 'post'; readonly post: DeployPost } | { readonly kind: 'invalid'; readonly reason: string };

/** The port that the original took when a ramdisk named none. */
const DEFAULT_PORT = 3260;
/** tgtd's LUN 0 is a controller; the first disk is LUN 1. */
const DEFAULT_LUN = 1;
/** What eight bytes of LUN can address with flat numbering (SAM-5 section 4.7). */
const LARGEST_LUN = 16_383;
/** Disks have 512 or 4,096; Linux takes no more than a page of 64 KiB. */
const LARGEST_BLOCK_BYTES = 65_536;

export function parsePost(body: Uint8Array): ParsedPost {
  const form = new URLSearchParams(Buffer.from(body).toString('utf8'));
  for (const name of ['i', 'k', 'a', 'n']) {
    if (!form.get(name)) return invalid(`parameter '${name}' is not defined`);
  }
  // Which of two is meant? A ramdisk never sends two, so this is somebody else.
  const twice = ['i', 'k', 'a', 'n', 'p', 'l', 'e', 'b', 's', 'z', 'h'].find((name) => form.getAll(name).length > 1);
  if (twice !== undefined) return invalid(`parameter '${twice}' is given twice`);

  const id = wholeNumber(form.get('i'), 1, Number.MAX_SAFE_INTEGER);
  if (id === undefined) return invalid("parameter 'i' is not a positive whole number");
  const address = form.get('a') ?? '';
  if (!isIPv4(address) && !isIPv6(address)) return invalid("parameter 'a' is not an IP address");
  const iqn = form.get('n') ?? '';
  // RFC 7143 section 4.2.7.1: at most 223 bytes; of the characters, those that a name may have after normalization, in ASCII.
  if (!/^[A-Za-z0-9.:_-]{1,223}$/.test(iqn)) return invalid("parameter 'n' is not the name of an iSCSI target");
  const port = form.get('p') ? wholeNumber(form.get('p'), 1, 65_535) : DEFAULT_PORT;
  if (port === undefined) return invalid("parameter 'p' is not a TCP port");
  const lun = form.get('l') ? wholeNumber(form.get('l'), 0, LARGEST_LUN) : DEFAULT_LUN;
  if (lun === undefined) return invalid("parameter 'l' is not a logical unit number");
  const sizeBytes = wholeNumber(form.get('b'), 1, Number.MAX_SAFE_INTEGER);
  if (form.get('b') && sizeBytes === undefined) return invalid("parameter 'b' is not the size of a disk in bytes");
  const serial = (form.get('s') ?? '').trim();
  if (!/^[\x20-\x7e]{0,255}$/.test(serial)) return invalid("parameter 's' is not the serial number of a disk");
  const blockBytes = wholeNumber(form.get('z'), 512, LARGEST_BLOCK_BYTES);
  if (form.get('z') && (blockBytes === undefined || !Number.isInteger(Math.log2(blockBytes))))
    return invalid("parameter 'z' is not the size of a disk's blocks in bytes");
  const disk =
    sizeBytes === undefined
      ? undefined
      : {
          sizeBytes,
          ...(serial !== '' && { serial }),
          ...(blockBytes !== undefined && { blockBytes }),
          ...(form.get('h') === '1' && { holds: 'data' }),
        };
  const error = form.get('e');
  return { kind: 'post', post: { id, key: form.get('k') ?? '', address, iqn, port, lun, ...(disk && { disk }), ...(error && { error }) } };
}

function wholeNumber(text: string | null, least: number, most: number): number | undefined {
  if (text === null || !/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= least && value <= most ? value : undefined;
}

function invalid(reason: string): ParsedPost {
  return { kind: 'invalid', reason };
}
