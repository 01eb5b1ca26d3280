export * from './clock.ts';
export * from './logger.ts';
export * from './network.ts';
export * from './random.ts';
