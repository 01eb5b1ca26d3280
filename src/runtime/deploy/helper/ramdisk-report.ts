/**
 * The second form of POST on the deploy-helper's port, for ramdisks that export no disk: `POST /v1/ramdisk` with JSON
 * `{ "node": 12, "key": "…", "facts": { … }, "error": "…" }`. The kernel command line says which form is wanted: `bms_action=inspect` posts
 * facts, `bms_action=rescue` only that it is up; without it (or with `clean`) the ramdisk exports its disk and posts as ever. The answer is
 * `{ "authorizedKeys": [ … ] }`: public keys that may log in during a rescue.
 */
import { z } from 'zod';
import type { ClaimOutcome } from './claim.ts';
import { type HardwareFacts, hardwareFacts, readLldp } from './facts.ts';

export const RAMDISK_REPORT_PATH = '/v1/ramdisk';

export interface RamdiskReport {
  /** The machine's number, the `i` of the original protocol. */
  readonly id: number;
  /** Never logged. */
  readonly key: string;
  readonly remoteAddress: string;
  readonly facts?: HardwareFacts;
  readonly error?: string;
}

export type ReportOutcome =
  | { readonly kind: 'accepted'; readonly authorizedKeys: readonly string[] }
  | Exclude<ClaimOutcome, { kind: 'accepted' | 'wrong-target' | 'wrong-method' }>
  /** This machine's ramdisk was started for something else. */
  | { readonly kind: 'wrong-purpose'; readonly purpose: string }
  | { readonly kind: 'facts-missing' };

/** Atomic, as ClaimDeployment. */
export type AcceptReport = (report: RamdiskReport) => Promise<ReportOutcome>;

export type ParsedReport =
  | { readonly kind: 'report'; readonly report: Omit<RamdiskReport, 'remoteAddress'> }
  | { readonly kind: 'invalid'; readonly reason: string };

const body = z.object({
  node: z.number().int().positive(),
  key: z.string().min(1).max(200),
  facts: hardwareFacts.optional(),
  error: z.string().max(4_096).optional(),
});

/** No reason ever repeats a value: one of them is the key. */
export function parseReport(bytes: Uint8Array): ParsedReport {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return { kind: 'invalid', reason: 'the body is not JSON' };
  }
  const parsed = body.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return { kind: 'invalid', reason: `"${issue?.path.join('.') ?? ''}" is missing or not valid` };
  }
  const { node, key, facts, error } = parsed.data;
  return { kind: 'report', report: { id: node, key, ...(facts && { facts: readLldp(facts) }), ...(error !== undefined && { error }) } };
}
