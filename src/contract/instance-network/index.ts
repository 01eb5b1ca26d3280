/** The network of an instance: model, and every form in which it is handed over (row 002-16). */
export * from './config-drive-files.ts';
export * from './interfaces-file.ts';
export * from './kernel-arguments.ts';
export * from './model.ts';
export * from './netplan.ts';
export * from './network-data.ts';
export * from './resolve.ts';
