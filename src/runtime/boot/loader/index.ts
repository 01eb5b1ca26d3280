import { renderGrub } from './grub.ts';
import { renderIpxe } from './ipxe.ts';
import type { LoaderContext, LoaderFormat, LoaderMenu } from './menu.ts';
import { renderPxelinux } from './pxelinux.ts';

export * from './arch.ts';
export * from './check.ts';
export * from './errors.ts';
export * from './grub.ts';
export * from './ipxe.ts';
export * from './menu.ts';
export * from './pxelinux.ts';

/** Throws a LOADER_ error when a value cannot be written in the loader's language. */
export function renderLoaderConfig(format: LoaderFormat, menu: LoaderMenu, context: LoaderContext): string {
  switch (format) {
    case 'pxelinux':
      return renderPxelinux(menu, context);
    case 'grub':
      return renderGrub(menu, context);
    case 'ipxe':
      return renderIpxe(menu, context);
  }
}
