/** File modes as kolla's config files write them: "600", "0644", "0o2775". */
const PERM = /^(?:0o)?([0-7]{3,4})$/;

/** The mode's number, or undefined when `text` is not 3 or 4 octal digits with an optional 0o. */
export function parseMode(text: string): number | undefined {
  const digits = PERM.exec(text)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

/** A directory that may be read must also be entered: x is set wherever r is (0644 becomes 0755). */
export function directoryMode(mode: number): number {
  return mode | ((mode & 0o444) >> 2);
}

/** Four octal digits, as people write them. */
export function formatMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}
