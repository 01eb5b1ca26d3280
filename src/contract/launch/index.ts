export * from './environment-service.ts';
export * from './environments.ts';
export * from './kolla.ts';
export * from './programs.ts';
