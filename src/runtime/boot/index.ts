export * from './boot-content.ts';
export * from './decide-boot.ts';
export * from './dhcp/index.ts';
export * from './http-boot.ts';
export * from './loader/index.ts';
export * from './machine.ts';
export * from './tftp/index.ts';
export * from './tftp-content.ts';
