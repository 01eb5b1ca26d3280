export { Outbox, type OutboxOptions } from './outbox.ts';
export { type DeadNotification, type OutboxRecord, outboxKind } from './outbox-record.ts';
