export type { KollaFile, KollaFiles, SecretReference } from './config-directory.ts';
export { KollaDefaultsError, type KollaDefaultsOptions, parseKollaDefaults, parseKollaService } from './defaults.ts';
export type { KollaDefinition, KollaDimensions, KollaHealthcheck } from './definition.ts';
export { kollaErrors } from './errors.ts';
export { type ImageLayer, type ImageLayersOptions, renderImageLayers } from './image-layers.ts';
export type { KollaJobKind } from './jobs.ts';
export { KollaService, type KollaServiceFromDefaultsProps, type KollaServiceProps } from './kolla-service.ts';
export { groupLabel } from './placement.ts';
export type { KollaLaunch, NamedVolume } from './pod.ts';
