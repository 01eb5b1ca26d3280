import { checksum } from '../checksum.ts';

/**
 * Checksum of a ConfigMap's data. When it is not that of the ConfigMap's annotation `generated-checksum`, somebody edited the
 * content since it was generated.
 */
export function configChecksum(data: Readonly<Record<string, string>>): string {
  return checksum([data]);
}
