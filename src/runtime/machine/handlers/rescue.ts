import type { Handler } from '../handler.ts';
import { waitFor } from '../results.ts';

/** Somebody is at work on the machine: nothing is done to it until they say so. */
export const rescue: Handler = async () => waitFor();
