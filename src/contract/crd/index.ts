export * from './bare-metal-node.ts';
export * from './define-crd.ts';
