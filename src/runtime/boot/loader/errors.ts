/** What a person may see when a loader configuration cannot be written. Values are not shown: one of them is the deployment key. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const loaderErrors = defineErrors('LOADER', {
  LOADER_BAD_VALUE: entry<{ field: string; character: string; loader: string }>({
    message: ({ field, character, loader }) => `${field} contains ${character}, which a ${loader} configuration cannot carry`,
    cure: 'Remove the character; kernel arguments are separated by single spaces and not quoted.',
  }),
  LOADER_EMPTY_VALUE: entry<{ field: string }>({
    message: ({ field }) => `${field} is empty`,
    cure: 'Give it a value, or change what the machine shall boot.',
  }),
  LOADER_FILES_MISSING: entry<{ firmware: string; files: readonly string[]; root: string }>({
    message: ({ firmware, files, root }) =>
      `${firmware} machines cannot be booted: ${files.join(', ')} ${files.length > 1 ? 'are' : 'is'} neither in ${root} nor in the image`,
    cure: ({ root }) =>
      `Take an image of bms-core, which has them; or run images/bms-core/loaders FOLDER on a Debian system with pxelinux, syslinux-common, grub-common and grub-efi-amd64-bin, and copy what it makes to ${root}`,
  }),
  LOADER_COMMAND_LINE_TOO_LONG: entry<{ label: string; bytes: number; limit: number }>({
    message: ({ label, bytes, limit }) => `the kernel command line of "${label}" has ${bytes} bytes, and kernels cut it at ${limit}`,
    cure: 'Shorten the additional kernel arguments.',
  }),
});
