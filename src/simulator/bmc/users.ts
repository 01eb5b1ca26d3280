/** The users of a simulated BMC, in numbered slots as IPMI has them; slot 1 is the null user. */

export type BmcPrivilege = 'callback' | 'user' | 'operator' | 'administrator';

export interface BmcUser {
  readonly name: string;
  readonly password: string;
  readonly privilege: BmcPrivilege;
}

export interface UserSlot {
  name: string;
  password: Buffer;
  /** How the password was set: a test must use the same size. */
  passwordBytes: 16 | 20;
  /** 1 callback … 4 administrator; 15 none. */
  privilege: number;
  enabled: boolean;
  ipmi: boolean;
}

export const USER_SLOTS = 10;
const PRIVILEGES = { callback: 1, user: 2, operator: 3, administrator: 4 } as const;
const NO_ACCESS = 15;

export class BmcUsers {
  readonly #slots = new Map<number, UserSlot>();

  constructor(users: readonly BmcUser[]) {
    let next = 2;
    for (const { name, password, privilege } of users) {
      const bytes = Buffer.from(password);
      const slot = { name, password: bytes, passwordBytes: bytes.length > 16 ? 20 : 16, enabled: true, ipmi: true } as const;
      this.#slots.set(name === '' ? 1 : next++, { ...slot, privilege: PRIVILEGES[privilege] });
    }
  }

  slot(id: number): UserSlot | undefined {
    return this.#slots.get(id);
  }

  /** Makes it when it is not there yet. */
  edit(id: number): UserSlot {
    const slot = this.#slots.get(id) ?? {
      name: '',
      password: Buffer.alloc(0),
      passwordBytes: 16,
      privilege: NO_ACCESS,
      enabled: false,
      ipmi: false,
    };
    this.#slots.set(id, slot);
    return slot;
  }

  get enabledCount(): number {
    return [...this.#slots.values()].filter(({ enabled }) => enabled).length;
  }

  /** Who may log in by this name. */
  find(name: string): UserSlot | undefined {
    return [...this.#slots.values()].find((slot) => slot.name === name && slot.enabled && slot.ipmi && slot.privilege < NO_ACCESS);
  }
}
