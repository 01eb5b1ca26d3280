export * from './bare-metal-node.ts';
export * from './bms-record.ts';
export * from './define-crd.ts';
