/** Keys and indices from the site down to the value: ['pods', 0, 'vips', '1800']. */
export type DataPath = readonly (string | number)[];

/** pods[0].vips.1800 */
export function formatPath(path: DataPath): string {
  return path.reduce<string>((text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${key}` : key), '');
}
