/** Who may do what over the API: three roles, each with everything that the one before it may. */
export const roles = ['reader', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

export const roleHelp: Readonly<Record<Role, string>> = {
  reader: 'looks at machines, images, flavors, events and metrics',
  operator: 'also works with machines: instances, power, maintenance',
  admin: 'also adds and removes machines, images and flavors, and decides about notifications that could not be delivered',
};

export function roleCovers(held: Role, needed: Role): boolean {
  return roles.indexOf(held) >= roles.indexOf(needed);
}
