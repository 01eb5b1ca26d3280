export { storeErrors } from './errors.ts';
export { MemoryStore } from './memory-store.ts';
export { openStore, sqlitePath } from './open-store.ts';
export { newestSchema } from './sqlite-migrations.ts';
export { SqliteStore, type SqliteStoreOptions, sqliteSchemaVersion } from './sqlite-store.ts';
export * from './store.ts';
