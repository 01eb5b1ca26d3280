/** A BMC as somebody writes it, and as a record keeps it: an address may be a URL that names its driver. */
import { isPowerUrl, type PowerDriverName, parseNovaIBoot, parsePowerUrl } from '../power/index.ts';
import { apiErrors, Refusal } from './errors.ts';

export interface WrittenBmc {
  readonly driver?: PowerDriverName | undefined;
  readonly address?: string | undefined;
  readonly port?: number | undefined;
  readonly username?: string | undefined;
}

/**
 * ipmi:// is taken apart, so that no two machines have one BMC in two spellings; the other drivers keep their URL, which says which of many machines behind one
 * address is meant. Refuses what cannot be read.
 */
export function recordedBmc<T extends WrittenBmc>(bmc: T): T {
  const { driver, address, username } = bmc;
  if (address === undefined) return bmc;
  const refuse = (problem: string): never => {
    throw new Refusal(apiErrors.API_INVALID({ problems: [`bmc.address: ${problem}`] }));
  };
  try {
    if (!isPowerUrl(address)) {
      if (driver === 'iboot') parseNovaIBoot(address, username);
      if (driver === 'virtual') refuse('a virtual machine needs virtual+ssh:// or virtual+exec://');
      return bmc;
    }
    const target = parsePowerUrl(address);
    if (target.driver !== 'ipmi') return { ...bmc, driver: target.driver };
    if (target.cipherSuite !== undefined || target.privilege !== undefined)
      refuse('cipher and privilege are for all BMCs: [ipmi] cipher_suite');
    const named = { username: username || (target.username ?? '') };
    return { ...bmc, driver: 'ipmi', address: target.address, ...(target.port !== undefined && { port: target.port }), ...named };
  } catch (error) {
    if (error instanceof Refusal) throw error;
    return refuse(error instanceof Error ? error.message : String(error));
  }
}
