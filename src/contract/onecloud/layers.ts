/** The order in which components come up: whoever needs another stands in a later layer. */
import type { Component } from './component.ts';
import { onecloudErrors } from './errors.ts';

/**
 * Layers in order; the members of one do not need each other. Inside a layer the catalog's order is kept.
 * @throws CodedError ONECLOUD_CATALOG_DEPENDENCY, ONECLOUD_CATALOG_CYCLE
 */
export function layersOf(components: readonly Component[]): readonly (readonly Component[])[] {
  const keys = new Set(components.map(({ key }) => key));
  for (const { key, after } of components) {
    const stranger = after.find((dependency) => !keys.has(dependency));
    if (stranger !== undefined) throw onecloudErrors.ONECLOUD_CATALOG_DEPENDENCY({ component: key, dependency: stranger });
  }
  const layers: Component[][] = [];
  const placed = new Set<string>();
  while (placed.size < components.length) {
    const layer = components.filter(({ key, after }) => !placed.has(key) && after.every((dependency) => placed.has(dependency)));
    if (layer.length === 0) {
      const rest = components.filter(({ key }) => !placed.has(key));
      throw onecloudErrors.ONECLOUD_CATALOG_CYCLE({ components: rest.map(({ key }) => key) });
    }
    for (const { key } of layer) placed.add(key);
    layers.push(layer);
  }
  return layers;
}
