import type { HandlersOf } from '../call.ts';
import type { HandlerContext } from './context.ts';

const NOTHING = { problems: [], strangers: [], discovered: [], missingLoaders: [] };

export function bootHandlers({ bootReport }: HandlerContext): HandlersOf<'bootReport'> {
  return { bootReport: async () => ({ answer: (await bootReport?.()) ?? NOTHING }) };
}
