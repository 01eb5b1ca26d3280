/** Whether the loaders that machines are pointed to are there: looked at once, at the start, rather than by the first machine at night. */
import type { CodedError } from 'cdk8s-baremetal-contract';
import { closeQuietly } from '../tftp/session.ts';
import { type FileSource, isRefusal } from '../tftp/source.ts';
import { LOADERS } from './arch.ts';
import { loaderErrors } from './errors.ts';

/** What nearly every site has; firmware of other kinds is looked for only where its loader is put there. */
const EXPECTED: readonly { readonly firmware: string; readonly arch: number; readonly with: readonly string[] }[] = [
  { firmware: 'BIOS', arch: 0, with: ['ldlinux.c32'] }, // pxelinux 5 and later is nothing without it
  { firmware: 'x64 UEFI', arch: 7, with: [] },
];

/** One error for each kind of firmware that lacks files; they are reported, since the other kinds can be served all the same. */
export async function missingLoaders(
  files: FileSource,
  { root, loaderFiles = {} }: { readonly root: string; readonly loaderFiles?: Readonly<Record<number, string>> | undefined },
): Promise<readonly CodedError[]> {
  const nobody = { address: '127.0.0.1', port: 0 };
  const isThere = async (path: string): Promise<boolean> => {
    const answer = await files({ path, remote: nobody, local: nobody });
    if (isRefusal(answer)) return false;
    closeQuietly(answer);
    return true;
  };
  const errors: CodedError[] = [];
  for (const { firmware, arch, with: companions } of EXPECTED) {
    const own = loaderFiles[arch];
    const wanted = own === undefined ? [LOADERS.find((loader) => loader.arch === arch)?.file ?? '', ...companions] : [own];
    const missing: string[] = [];
    for (const path of wanted) if (!(await isThere(path))) missing.push(path);
    if (missing.length > 0) errors.push(loaderErrors.LOADER_FILES_MISSING({ firmware, files: missing, root }));
  }
  return errors;
}
