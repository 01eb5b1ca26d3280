import { describe, expect, it } from 'vitest';
import { ApiError } from '../../../src/operator/engine/api-error.ts';
import { untilAnswered } from '../../../src/operator/engine/until-answered.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { seededRandom } from '../../../src/simulator/random.ts';

const setup = () => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  return { clock, stop, options: { clock, random: seededRandom('answers'), logger: silentLogger, signal: stop.signal } };
};

describe('an API server that comes late', () => {
  it('is asked again with growing pauses until it answers', async () => {
    const { clock, options } = setup();
    const asked: number[] = [];
    const work = async (): Promise<string> => {
      asked.push(clock.monotonic());
      if (asked.length < 6) throw new ApiError('network', 'connect ECONNREFUSED');
      return 'there';
    };
    expect(await clock.run(untilAnswered(work, options))).toBe('there');
    const pauses = asked.slice(1).map((at, index) => at - (asked[index] ?? 0));
    pauses.forEach((pause, index) => {
      expect(pause).toBeGreaterThanOrEqual(250 * 2 ** index);
      expect(pause).toBeLessThanOrEqual(750 * 2 ** index + 1);
    });
  });

  it.each([
    ['what only people can cure', new ApiError('forbidden', 'no')],
    ['what is not the API\u2019s', new TypeError('a mistake')],
  ])('%s ends it at once', async (_, error) => {
    const { clock, options } = setup();
    let asked = 0;
    const work = async (): Promise<never> => {
      asked += 1;
      throw error;
    };
    await expect(clock.run(untilAnswered(work, options))).rejects.toBe(error);
    expect(asked).toBe(1);
  });

  it('ends with the signal, also in a pause', async () => {
    const { clock, stop, options } = setup();
    const reason = new Error('SIGTERM');
    clock.after(5_000, () => stop.abort(reason));
    const work = async (): Promise<never> => {
      throw new ApiError('server', 'HTTP 503');
    };
    await expect(clock.run(untilAnswered(work, options))).rejects.toBe(reason);
    expect(clock.monotonic()).toBe(5_000);
  });
});
