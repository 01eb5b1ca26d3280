export * from './services.ts';
export * from './template.ts';
export * from './texts.ts';
