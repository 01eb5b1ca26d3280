import type { CheckedAccess } from './access.ts';
import { sameSession } from './access.ts';
import type { IpmiCommand } from './commands.ts';

/** One look under way, which others may share until it is over. */
export interface Look {
  readonly key: number | string;
  readonly access: CheckedAccess;
  answer: Promise<unknown> | undefined;
  over: boolean;
}

/** Ten who look at the same moment cost the BMC one look. */
export class SharedLooks {
  readonly #looks = new Map<number | string, Look>();

  /** The answer of a look under way, or of the one that `start` begins; `start` calls `end` when it is over. */
  share<T>(access: CheckedAccess, command: IpmiCommand<T>, start: (look: Look) => Promise<T>): Promise<T> {
    const key = keyOf(command);
    const under = this.#looks.get(key);
    if (under?.answer && sameSession(under.access, access)) return under.answer as Promise<T>;
    const look: Look = { key, access, answer: undefined, over: false };
    const answer = start(look);
    look.answer = answer;
    if (!look.over) this.#looks.set(key, look); // it may have failed at once
    return answer;
  }

  end(look: Look): void {
    look.over = true;
    if (this.#looks.get(look.key) === look) this.#looks.delete(look.key);
  }

  /** Something changes what they see: who looks from now on looks anew. */
  forget(): void {
    if (this.#looks.size > 0) this.#looks.clear();
  }
}

function keyOf({ netFn, lun = 0, command, data }: IpmiCommand<unknown>): number | string {
  const number = (((netFn << 2) | lun) << 8) | command;
  return data.length === 0 ? number : `${number}.${Buffer.from(data).toString('hex')}`;
}
