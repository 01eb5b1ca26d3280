/** What a role has begun is ended, whatever fails on the way. */
import { startRole } from 'cdk8s-baremetal-runtime/roles/role';
import { describe, expect, it } from 'vitest';

describe('the end of a role', () => {
  const broken = new Error('the database is gone');

  it('is that of everything it began, last begun first, also where one of these fails', async () => {
    const ended: string[] = [];
    const role = await startRole((closing) => {
      closing(() => ended.push('store'));
      closing(() => Promise.reject(broken));
      closing(() => ended.push('server'));
      return {};
    });
    await expect(role.close()).rejects.toBe(broken);
    expect(ended).toEqual(['server', 'store']);
  });

  it('that could not start says why it could not, whatever its end met', async () => {
    const ended: string[] = [];
    const cause = new Error('the port is taken');
    const starting = startRole((closing) => {
      closing(() => ended.push('store'));
      closing(() => Promise.reject(broken));
      throw cause;
    });
    await expect(starting).rejects.toBe(cause);
    expect(ended).toEqual(['store']);
  });
});
