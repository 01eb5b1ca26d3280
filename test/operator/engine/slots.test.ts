import { describe, expect, it } from 'vitest';
import { Slots } from '../../../src/operator/engine/slots.ts';

describe('slots', () => {
  it('so many at once, the others in the order in which they asked', async () => {
    const slots = new Slots(2);
    const order: number[] = [];
    let running = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 9 }, async (_, index) => {
        const leave = await slots.take();
        order.push(index);
        running += 1;
        most = Math.max(most, running);
        await Promise.resolve();
        running -= 1;
        leave();
      }),
    );
    expect(most).toBe(2);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    const leave = await slots.take();
    leave();
  });
});
