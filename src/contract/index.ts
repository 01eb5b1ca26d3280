export * from './addresses.ts';
export * from './errors.ts';
export * from './names.ts';
export * from './paths.ts';
export * from './ports.ts';
export * from './site-errors.ts';
export * from './site-spec.ts';
export * from './validate-sites.ts';
