export * from './cluster-controller.ts';
export * from './config-drift.ts';
export * from './databases.ts';
export * from './identity.ts';
export * from './names.ts';
export * from './rollout.ts';
export * from './update-window.ts';
