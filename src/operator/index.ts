export * from './engine/index.ts';
export { type Operator, type OperatorOptions, startOperator } from './main.ts';
export * from './onecloud/index.ts';
